//! `mesh-six events query`.

use std::process::ExitCode;

use mesh_six_core::{StoredEvent, time};
use reqwest::Method;
use serde::Deserialize;

use crate::{cli::QueryArgs, client::Client, output};

#[derive(Deserialize)]
struct Page {
    events: Vec<StoredEvent>,
}

/// Prints what was found, one event a line.
pub(crate) async fn run(args: QueryArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(args.target)?;
    let mut query = super::parameters(&args.conditions);
    query.extend(args.aggregate.map(|a| ("aggregateId", a)));
    query.extend(args.since.map(|t| ("since", time::format(t))));
    query.extend(args.until.map(|t| ("until", time::format(t))));
    query.extend(args.after.map(|p| ("after", p.to_string())));
    query.extend(args.before.map(|p| ("before", p.to_string())));
    query.push(("limit", args.limit.to_string()));
    query.push(("desc", args.desc.to_string()));
    let request = client.request(Method::GET, "/api/v1/events").query(&query);
    let page: Page = client.send(request).await?.json().await.map_err(|e| client.unreachable(&e))?;
    if page.events.is_empty() && !args.output.json {
        anstream::eprintln!("no such events");
    }
    for event in &page.events {
        if args.output.json {
            output::json(event)?;
        } else {
            output::print_line(&output::event::line(event))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
