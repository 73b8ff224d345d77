//! `mesh-six events tail`: server-sent events, resumed at the last position after a broken connection.

use std::{process::ExitCode, time::Duration};

use mesh_six_core::StoredEvent;
use mesh_six_db::events::{HorizonHolder, HorizonReport};
use reqwest::{Method, Response};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::{cli::TailArgs, client::Client, output};

/// How often it is asked whether somebody's open transaction holds the tail back.
const LOOK: Duration = Duration::from_secs(10);
/// Our own transactions are over long before.
const LONG_SECONDS: f64 = 10.0;

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
    let mut look = interval_at(Instant::now() + LOOK, LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            _ = look.tick() => {
                told = tell_holder(client, told).await;
                continue;
            }
        };
        match line {
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

/// Says once who holds the tail back, since nothing else would tell that from a quiet mesh. Returns whom it has told of.
async fn tell_holder(client: &Client, told: Option<String>) -> Option<String> {
    let asked = timeout(LOOK, client.get::<HorizonReport>(&["api", "v1", "events", "horizon"])).await;
    let Ok(Ok(horizon)) = asked else { return told };
    if horizon.age_seconds < LONG_SECONDS {
        return None;
    }
    let holder = horizon.holder.as_ref();
    let who = holder.map_or_else(|| "somebody".to_owned(), HorizonHolder::to_string);
    if told.as_ref() != Some(&who) {
        let seconds = horizon.age_seconds.round();
        anstream::eprintln!("held back for {seconds} s: newer events are shown once {who} has ended its transaction");
    }
    Some(who)
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
