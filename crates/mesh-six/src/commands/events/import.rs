//! `mesh-six events import`.

use std::{os::fd::AsFd, path::Path, process::ExitCode};

use mesh_six_db::{
    export::TransferError,
    import::{self, Imported},
    owner,
};
use tokio::{
    fs::File,
    io::{AsyncBufRead, BufReader},
};

use crate::{
    cli::ImportArgs,
    exit::{Exit, FAILED},
    output::{self, progress},
    up::database,
};

const BUFFER: usize = 256 * 1024;

/// Restores the log from an export.
pub(crate) async fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    // Before anything is made for it.
    let source = open(&args.file).await.map_err(|e| Exit::usage(format!("{:#}", anyhow::Error::new(e))))?;
    let database = database::for_import(&args.database).await?;
    let done = tokio::select! {
        done = import(database.owner_url(), source) => done.map(Some),
        _ = tokio::signal::ctrl_c() => Ok(None),
    };
    database.stop().await;
    let Some(done) = done.map_err(Exit::transfer)? else {
        anstream::eprintln!("stopped: nothing was imported");
        return Ok(ExitCode::from(FAILED));
    };
    if args.output.json {
        output::json(&done)?;
    } else {
        let last = done.last.map(|last| format!("; last position {last}")).unwrap_or_default();
        output::print_line(&format!("imported {} events{last}", done.rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is imported, and its length where it is known.
type Source = (Option<u64>, Box<dyn AsyncBufRead + Unpin + Send>);

async fn import(owner_url: &str, (length, mut input): Source) -> Result<Imported, TransferError> {
    let mut conn = owner::connect(owner_url, "mesh-six events import").await?;
    let bar = progress::bytes(length);
    let done = import::import(&mut conn, &mut input, |so_far| bar.set_position(so_far.bytes)).await;
    bar.finish_and_clear();
    done
}

async fn open(path: &Path) -> Result<Source, TransferError> {
    let failed = |source| TransferError::File { path: path.to_owned(), source };
    if path == Path::new("-") {
        let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        return Ok((None, Box::new(BufReader::with_capacity(BUFFER, File::from_std(input.into())))));
    }
    let file = File::open(path).await.map_err(failed)?;
    let length = file.metadata().await.map_err(failed)?.len();
    Ok((Some(length), Box::new(BufReader::with_capacity(BUFFER, file))))
}
