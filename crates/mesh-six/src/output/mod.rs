//! Printing: text for people, JSON for programs. Colours vanish where the output is no terminal (anstream).

pub(crate) mod event;
pub(crate) mod progress;
pub(crate) mod table;

use serde::Serialize;

/// Columns where the output is no terminal and `COLUMNS` says nothing.
const USUAL_WIDTH: usize = 100;

/// How many columns a line of the output may have.
pub(crate) fn width() -> usize {
    let terminal = rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    let told = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    terminal.filter(|columns| *columns > 0).or_else(told).filter(|columns| *columns > 0).unwrap_or(USUAL_WIDTH)
}

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

/// `text` for a terminal: what strangers wrote must not move the cursor or break the line.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The same for text of several lines.
pub(crate) fn plain_lines(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
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
    fn lines_keep_their_ends_and_nothing_that_moves_the_cursor() {
        assert_eq!(super::plain_lines("a\tb\nc\u{1b}[2J\u{9b}H\r"), "a\tb\nc\u{fffd}[2J\u{fffd}H\u{fffd}");
        assert_eq!(super::plain("a\nb"), "a\u{fffd}b");
    }

    #[test]
    fn durations() {
        for (ms, text) in [(0, "0 ms"), (999, "999 ms"), (1_250, "1.2 s"), (61_500, "1 min 01 s")] {
            assert_eq!(super::duration(ms), text);
        }
    }
}
