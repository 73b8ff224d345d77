//! `mesh-six events replay`: an aggregate's events as a stream, then what they add up to.

use std::process::ExitCode;

use mesh_six_core::{ApiError, StoredEvent, event::replay::TaskState};
use owo_colors::OwoColorize;
use reqwest::Method;

use super::tail::Lines;
use crate::{
    cli::ReplayArgs,
    client::{self, Client},
    output,
};

/// Prints the events in order; for a task also the state that they fold to.
pub(crate) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(args.target)?;
    let path = client::path(&["api", "v1", "events", "replay", &args.aggregate]);
    let response = client.send(client.request(Method::GET, &path)).await?;
    let mut lines = Lines::new(response);
    let (mut state, mut count) = (TaskState::default(), 0_u64);
    while let Some(line) = lines.next().await.map_err(|e| client.unreachable(&e))? {
        let event: StoredEvent = serde_json::from_str(&line)?;
        state.apply(&event);
        count += 1;
        if args.output.json {
            output::json(&event)?;
        } else {
            output::print_line(&output::event::line(&event))?;
        }
    }
    if count == 0 {
        return Err(ApiError::not_found(format!("the log has no event of {}", args.aggregate)).into());
    }
    if args.aggregate.starts_with("task:") {
        if args.output.json {
            output::json(&serde_json::json!({ "state": state }))?;
        } else {
            output::print_line(&format!("\n{}", "state".bold()))?;
            output::print_line(&serde_json::to_string_pretty(&state)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
