//! The events of a task, or of a trace.

use mesh_six_core::{ApiError, StoredEvent, event::Position};
use reqwest::Method;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    client::{self, Client},
    commands::events::Lines,
};

/// Events that are read at most: a story has some ten a task.
const MAX_EVENTS: usize = 20_000;
/// Events on a page.
const PAGE: usize = 1_000;

/// What was read.
pub(super) struct Loaded {
    pub(super) events: Vec<StoredEvent>,
    /// There are more.
    pub(super) more: bool,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<StoredEvent>,
    next: Option<Position>,
}

/// The events of the task `id`; if there is none, those of the trace.
pub(super) async fn events(client: &Client, id: Uuid) -> anyhow::Result<Loaded> {
    let mut loaded = of_task(client, id).await?;
    if loaded.events.is_empty() {
        loaded = of_trace(client, id).await?;
    }
    if loaded.events.is_empty() {
        return Err(ApiError::not_found(format!("the log has no event of a task or trace {id}")).into());
    }
    Ok(loaded)
}

async fn of_task(client: &Client, task: Uuid) -> anyhow::Result<Loaded> {
    let path = client::path(&["api", "v1", "events", "replay", &format!("task:{task}")]);
    let mut lines = Lines::new(client.send(client.request(Method::GET, &path)).await?);
    let mut events = Vec::new();
    while let Some(line) = lines.next().await.map_err(|e| client.unreachable(&e))? {
        if events.len() == MAX_EVENTS {
            return Ok(Loaded { events, more: true });
        }
        events.push(serde_json::from_str(&line)?);
    }
    Ok(Loaded { events, more: false })
}

async fn of_trace(client: &Client, trace: Uuid) -> anyhow::Result<Loaded> {
    let (mut events, mut after) = (Vec::new(), None::<Position>);
    loop {
        let mut query = vec![("traceId", trace.simple().to_string()), ("limit", PAGE.to_string())];
        query.extend(after.map(|position| ("after", position.to_string())));
        let request = client.request(Method::GET, "/api/v1/events").query(&query);
        let page: Page = client.send(request).await?.json().await.map_err(|e| client.unreachable(&e))?;
        events.extend(page.events);
        after = page.next;
        if after.is_none() || events.len() >= MAX_EVENTS {
            return Ok(Loaded { events, more: after.is_some() });
        }
    }
}
