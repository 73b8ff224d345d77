//! `rig logs`.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

use super::{HomeArgs, state::Home};

const POLL: Duration = Duration::from_millis(200);

/// One log and how far it was read.
struct Reading {
    prefix: String,
    file: BufReader<File>,
    line: Vec<u8>,
}

/// Prints the logs of all parts, or of those that are named; goes on with what comes if it is to follow.
pub async fn logs(args: HomeArgs, parts: Vec<String>, follow: bool) -> Result<()> {
    let home = Home::find(args.folder)?;
    let mut found = files(&home)?;
    if let Some(unknown) = parts.iter().find(|part| !found.iter().any(|(name, _)| name == *part)) {
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        bail!("there is no log of {unknown}; there are those of {}", names.join(", "));
    }
    found.retain(|(name, _)| parts.is_empty() || parts.contains(name));
    let one = found.len() == 1;
    let mut readings = Vec::new();
    for (name, file) in found {
        let opened = File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let prefix = if one { String::new() } else { format!("{name}: ") };
        readings.push(Reading { prefix, file: BufReader::new(opened), line: Vec::new() });
    }
    loop {
        for reading in &mut readings {
            if let Err(error) = reading.print(follow) {
                // Whoever read it has enough.
                return if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error.into()) };
            }
        }
        if !follow {
            return Ok(());
        }
        sleep(POLL).await;
    }
}

impl Reading {
    /// Whole lines; a last one without its end only if nothing more is to come.
    fn print(&mut self, follow: bool) -> io::Result<()> {
        let mut output = io::stdout().lock();
        while self.file.read_until(b'\n', &mut self.line)? > 0 {
            if !self.line.ends_with(b"\n") {
                if follow {
                    break;
                }
                self.line.push(b'\n');
            }
            output.write_all(self.prefix.as_bytes())?;
            output.write_all(&self.line)?;
            self.line.clear();
        }
        output.flush()
    }
}

/// The logs of the rig that runs or ran last, found without its state, which may be gone.
fn files(home: &Home) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    let folders = fs::read_dir(home.data()).context("no rig has run here; start one with: cargo xtask rig up")?;
    for folder in folders {
        let folder = folder?;
        let own = folder.file_name().to_string_lossy().into_owned();
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten().map(|file| file.path()) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(".log") else { continue };
            let part = if ["app", "postgres"].contains(&name) { own.clone() } else { name.to_owned() };
            files.push((part, file));
        }
    }
    if home.log().exists() {
        files.push(("supervisor".to_owned(), home.log()));
    }
    files.sort();
    Ok(files)
}
