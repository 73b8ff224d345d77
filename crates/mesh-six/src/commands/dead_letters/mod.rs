//! `mesh-six dead-letters`.

mod decide;
mod list;
mod show;

use std::process::ExitCode;

use mesh_six_core::time;
use mesh_six_db::dead_letters::Letter;
use reqwest::Method;
use serde::Deserialize;

use crate::{
    cli::{DeadLettersArgs, DeadLettersCommand, LetterConditions},
    client::Client,
};

/// Digits of an id that are shown where there is little room.
const SHORT: usize = 12;

/// Dispatches.
pub(crate) async fn run(args: DeadLettersArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        DeadLettersCommand::List(args) => list::run(args).await,
        DeadLettersCommand::Show(args) => show::run(args).await,
        DeadLettersCommand::Replay(args) => decide::replay(args).await,
        DeadLettersCommand::Discard(args) => decide::discard(args).await,
    }
}

#[derive(Deserialize)]
struct Page {
    letters: Vec<Letter>,
    next: Option<String>,
}

/// One page of letters.
async fn page(
    client: &Client,
    conditions: &LetterConditions,
    state: Option<&str>,
    limit: u16,
    after: Option<&str>,
) -> anyhow::Result<Page> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(state.map(|s| ("state", s.to_owned())));
    query.extend(conditions.topic.clone().map(|t| ("topic", t)));
    query.extend(conditions.app.clone().map(|a| ("appId", a)));
    query.extend(conditions.since.map(|t| ("since", time::format(t))));
    query.extend(after.map(|a| ("after", a.to_owned())));
    let request = client.request(Method::GET, "/api/v1/dead-letters").query(&query);
    client.send(request).await?.json().await.map_err(|e| client.unreachable(&e))
}

/// The beginning of an id.
fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}
