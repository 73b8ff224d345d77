//! `mesh-six events`.

mod erase;
mod export;
mod import;
mod query;
mod replay;
mod seal;
mod stats;
mod tail;
mod verify;

use std::process::ExitCode;

pub(crate) use tail::Lines;

use crate::cli::{Conditions, EventsArgs, EventsCommand};

/// Dispatches.
pub(crate) async fn run(args: EventsArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        EventsCommand::Tail(args) => tail::run(args).await,
        EventsCommand::Query(args) => query::run(args).await,
        EventsCommand::Replay(args) => replay::run(args).await,
        EventsCommand::Verify(args) => verify::run(args).await,
        EventsCommand::Seal(args) => seal::run(args).await,
        EventsCommand::Stats(args) => stats::run(args).await,
        EventsCommand::Export(args) => export::run(args).await,
        EventsCommand::Import(args) => import::run(args).await,
        EventsCommand::Erase(args) => erase::run(args).await,
    }
}

/// The conditions as query parameters.
fn parameters(conditions: &Conditions) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    query.extend(conditions.task.map(|t| ("taskId", t.to_string())));
    query.extend(conditions.trace.map(|t| ("traceId", t.to_string())));
    query.extend(conditions.agent.clone().map(|a| ("agentId", a)));
    query.extend(conditions.event_type.clone().map(|t| ("eventType", t)));
    query
}
