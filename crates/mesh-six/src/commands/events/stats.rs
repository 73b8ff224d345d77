//! `mesh-six events stats`.

use std::process::ExitCode;

use mesh_six_core::{Usage, time};
use mesh_six_db::{
    Database, DbResult,
    stats::{self, Group, Stats, StatsFilter},
};

use crate::{cli::StatsArgs, exit::Exit, output, up::database};

/// Prints counts, errors, tokens, cost and latency by type, agent and model.
pub(crate) async fn run(args: StatsArgs) -> anyhow::Result<ExitCode> {
    let database = database::for_tools(&args.database).await?;
    let db = database.open("mesh-six events stats").await?;
    let filter =
        StatsFilter { since: Some(args.since), until: args.until, agent_id: args.agent, event_type: args.event_type };
    let found = read(&db, &filter).await;
    db.close();
    database.stop().await;
    let found = found.map_err(Exit::database)?;
    if args.output.json {
        output::json(&found)?;
    } else {
        print(&found)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(db: &Database, filter: &StatsFilter) -> DbResult<Stats> {
    stats::stats(&mut *db.conn().await?, filter).await
}

const HEADER: [&str; 11] =
    ["TYPE", "AGENT", "MODEL", "COUNT", "ERRORS", "INPUT", "CACHED", "OUTPUT", "COST", "P50", "P95"];

fn print(stats: &Stats) -> anyhow::Result<()> {
    let mut rows: Vec<Vec<String>> = stats.groups.iter().map(row).collect();
    let mut total = vec!["total".to_owned(), String::new(), String::new()];
    total.extend([stats.count.to_string(), stats.errors.to_string()]);
    total.extend(tokens(Some(&stats.usage)));
    rows.push(total);
    output::table::print(&HEADER, rows)?;
    let more = if stats.truncated { "; there are more groups than are shown" } else { "" };
    anstream::eprintln!("from {} to {}{more}", time::format(stats.since), time::format(stats.until));
    Ok(())
}

fn row(group: &Group) -> Vec<String> {
    let mut row = vec![group.event_type.clone(), group.agent_id.clone(), group.model.clone().unwrap_or_default()];
    row.extend([group.count.to_string(), group.errors.to_string()]);
    row.extend(tokens(group.usage.as_ref()));
    row.extend([group.p50_ms, group.p95_ms].map(|ms| ms.map(|ms| format!("{ms:.0} ms")).unwrap_or_default()));
    row
}

/// Tokens read without the cached ones, cached, written, and their cost.
fn tokens(usage: Option<&Usage>) -> [String; 4] {
    let Some(usage) = usage else { return Default::default() };
    let fresh = usage.input_tokens.saturating_sub(usage.cached_input_tokens);
    let cost = usage.cost_usd.map(|cost| format!("${cost:.4}")).unwrap_or_default();
    [fresh.to_string(), usage.cached_input_tokens.to_string(), usage.output_tokens.to_string(), cost]
}
