//! A small HTTP/1.1 client: what it costs is not to be mistaken for what the server costs.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The largest answer that is read.
const MAX_ANSWER: usize = 1024 * 1024;

/// One connection that is kept.
pub(super) struct Connection {
    stream: TcpStream,
    head: String,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, head: format!("HTTP/1.1\r\nHost: {address}\r\n"), buffer: Vec::new() })
    }

    /// Sends a JSON body and returns the body of the answer; anything but a success is an error.
    pub(super) async fn post(&mut self, path: &str, body: &str) -> anyhow::Result<&[u8]> {
        let head = &self.head;
        let length = body.len();
        let request =
            format!("POST {path} {head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        self.exchange(&request).await
    }

    pub(super) async fn get(&mut self, path: &str) -> anyhow::Result<&[u8]> {
        let request = format!("GET {path} {}\r\n", self.head);
        self.exchange(&request).await
    }

    async fn exchange(&mut self, request: &str) -> anyhow::Result<&[u8]> {
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if let Some((status, begin, end)) = parse(&self.buffer)?
                && self.buffer.len() >= end
            {
                let body = &self.buffer[begin..end];
                ensure!((200..300).contains(&status), "HTTP {status}: {}", String::from_utf8_lossy(body));
                return Ok(body);
            }
            ensure!(self.buffer.len() < MAX_ANSWER, "an answer of more than {MAX_ANSWER} bytes");
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }
}

/// Status, and where the body begins and ends, once the head is there. The answers asked for all tell their length.
fn parse(answer: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..head])?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("an answer without a status")?.parse()?;
    let length = lines.filter_map(|line| line.split_once(':'));
    let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value.trim());
    let length: usize = length.last().context("an answer without a length")?.parse()?;
    Ok(Some((status, head + 4, head + 4 + length)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

    use super::*;

    #[test]
    fn answers_are_complete_or_not_yet() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\n{}";
        assert_eq!(parse(answer).unwrap(), Some((200, answer.len() - 2, answer.len())));
        assert_eq!(parse(&answer[..20]).unwrap(), None);
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
