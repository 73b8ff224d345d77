//! `mesh-six events tail`: server-sent events, resumed at the last position after a broken connection.

use std::{process::ExitCode, time::Duration};

use mesh_six_core::StoredEvent;
use reqwest::{Method, Response};

use crate::{cli::TailArgs, client::Client, output};

/// Follows until Ctrl-C.
pub(crate) async fn run(args: TailArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(args.target.clone())?;
    tokio::select! {
        done = follow(&client, &args) => done,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
    }
}

async fn follow(client: &Client, args: &TailArgs) -> anyhow::Result<ExitCode> {
    let mut position = args.after.clone();
    // Only the first connection must succeed: later the mesh may be restarting.
    let mut lines = open(client, args, position.as_deref()).await?;
    loop {
        match lines.next().await {
            Ok(Some(line)) => {
                if let Some(id) = line.strip_prefix("id:") {
                    position = Some(id.trim().to_owned());
                } else if let Some(data) = line.strip_prefix("data:") {
                    print(data.trim(), args.output.json)?;
                }
            }
            Ok(None) | Err(_) => {
                lines = loop {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    match open(client, args, position.as_deref()).await {
                        Ok(lines) => break lines,
                        Err(error)
                            if error.downcast_ref::<mesh_six_core::ApiError>().is_some_and(|e| !e.is_transient()) =>
                        {
                            return Err(error);
                        }
                        Err(_) => {}
                    }
                };
            }
        }
    }
}

fn print(data: &str, json: bool) -> anyhow::Result<()> {
    let event: StoredEvent = serde_json::from_str(data)?;
    if json { output::json(&event) } else { output::print_line(&output::event::line(&event)) }
}

async fn open(client: &Client, args: &TailArgs, position: Option<&str>) -> anyhow::Result<Lines> {
    let request = client.request(Method::GET, "/api/v1/events/tail").query(&super::parameters(&args.conditions));
    let request = match position {
        Some(position) => request.header("Last-Event-ID", position),
        None => request,
    };
    Ok(Lines::new(client.send(request).await?))
}

/// The longest line that is read: an event is at most 64 KiB of payload.
const MAX_LINE: usize = 1024 * 1024;

/// The lines of a streaming answer.
pub(crate) struct Lines {
    response: Response,
    buffer: Vec<u8>,
    ended: bool,
}

impl Lines {
    pub(crate) fn new(response: Response) -> Self {
        Self { response, buffer: Vec::new(), ended: false }
    }

    /// The next line that is not empty; `None` at the end.
    pub(crate) async fn next(&mut self) -> reqwest::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.ended || self.buffer.len() > MAX_LINE {
                return Ok(None);
            }
            if let Some(chunk) = self.response.chunk().await? {
                self.buffer.extend_from_slice(&chunk);
            } else {
                self.ended = true;
                self.buffer.push(b'\n');
            }
        }
    }
}
