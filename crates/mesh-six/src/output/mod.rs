//! Printing: text for people, JSON for programs. Colours vanish where the output is no terminal (anstream).

pub(crate) mod event;
pub(crate) mod progress;
pub(crate) mod table;

use serde::Serialize;

/// Prints `value` as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    print_line(&serde_json::to_string(value)?)
}

/// Prints one line; a closed pipe (`| head`) ends the command quietly instead of panicking.
pub(crate) fn print_line(line: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match writeln!(anstream::stdout(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => Ok(done?),
    }
}

/// Milliseconds as a person reads them.
pub(crate) fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {:02} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations() {
        for (ms, text) in [(0, "0 ms"), (999, "999 ms"), (1_250, "1.2 s"), (61_500, "1 min 01 s")] {
            assert_eq!(super::duration(ms), text);
        }
    }
}
