//! Lines of a file, one at a time and bounded.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The longest line: a payload of 64 KiB, each byte escaped at worst, and the rest of the event.
const MAX_LINE: u64 = 1024 * 1024;

/// What [`next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line that ends in a newline.
    Whole,
    /// The file ends without a newline.
    Half,
    /// The file has ended.
    End,
}

/// Reads the next line, newline included, into `line`.
pub(crate) async fn next(input: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    input.take(MAX_LINE).read_until(b'\n', line).await?;
    if line.is_empty() {
        return Ok(Line::End);
    }
    if line.ends_with(b"\n") {
        return Ok(Line::Whole);
    }
    if u64::try_from(line.len()).is_ok_and(|length| length >= MAX_LINE) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of more than 1 MiB is no event"));
    }
    Ok(Line::Half)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whole_lines_a_half_one_and_the_end() {
        let mut input: &[u8] = b"{}\n\n[";
        let mut line = Vec::new();
        let mut found = Vec::new();
        loop {
            let kind = next(&mut input, &mut line).await.unwrap();
            found.push((kind, String::from_utf8(line.clone()).unwrap()));
            if kind == Line::End {
                break;
            }
        }
        let expected = [(Line::Whole, "{}\n"), (Line::Whole, "\n"), (Line::Half, "["), (Line::End, "")];
        assert_eq!(found, expected.map(|(kind, text)| (kind, text.to_owned())));
        let long = vec![b'x'; 1024 * 1024 + 1];
        assert!(next(&mut long.as_slice(), &mut line).await.is_err());
    }
}
