//! The plans of the statements that queries really send, as PostgreSQL's `auto_explain` reports them.

use std::{fs, time::Instant};

use chrono::{Duration, Utc};
use mesh_six_core::{TraceId, event::EventFilter};
use mesh_six_db::{Database, DbConfig, events::EventLog};
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{Million, milliseconds};

/// A login whose statements are explained, with what they really did.
const EXPLAINED: &str = "CREATE ROLE explained LOGIN PASSWORD 'explained' IN ROLE mesh_six_app; \
    ALTER ROLE explained SET session_preload_libraries = 'auto_explain'; \
    ALTER ROLE explained SET auto_explain.log_min_duration = 0; \
    ALTER ROLE explained SET auto_explain.log_analyze = on; \
    ALTER ROLE explained SET auto_explain.log_timing = off; \
    ALTER ROLE explained SET auto_explain.log_format = 'json'";
/// Rows that one query may look at: what it returns, what it sorts, and what it passes over.
const MOST_ROWS: f64 = 25_000.0;

/// Of the rows that one query looked at, and the indexes it used.
#[derive(Debug, Default)]
struct Seen {
    statements: usize,
    rows: f64,
    indexes: std::collections::BTreeSet<String>,
}

impl Seen {
    /// Adds a node of a plan and all below it.
    fn add(&mut self, node: &Value, query: &str) {
        let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
        let looked_at =
            (number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck"))
                * number("Actual Loops");
        let of_log = node["Relation Name"].as_str().is_some_and(|name| name.starts_with("mesh_six_events"));
        if of_log {
            let scanned = node["Node Type"] == "Seq Scan" && looked_at > 0.0;
            assert!(!scanned, "{query}\nscans {} with {looked_at} rows", node["Relation Name"]);
            self.rows += looked_at;
        }
        if let Some(index) = node["Index Name"].as_str() {
            // By the columns, whatever the month.
            let columns = index.trim_start_matches("mesh_six_events_").trim_start_matches("default_");
            let columns = columns.trim_start_matches(|c: char| !c.is_alphabetic());
            self.indexes.insert(columns.trim_end_matches("_idx").to_owned());
        }
        for child in node["Plans"].as_array().into_iter().flatten() {
            self.add(child, query);
        }
    }
}

/// What the server's log says from `begin` on.
fn explained(log: &str) -> Seen {
    let mut seen = Seen::default();
    for report in log.split(" plan:\n").skip(1) {
        let plan: String = report.lines().take_while(|line| line.starts_with('\t')).collect();
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let query = plan["Query Text"].as_str().unwrap();
        if query.contains("mesh_six_events") {
            seen.statements += 1;
            seen.add(&plan["Plan"], query);
        }
    }
    seen
}

async fn filters(client: &Client) -> Vec<(&'static str, EventFilter)> {
    let sample = "SELECT task_id::text, trace_id::text FROM mesh_six_events WHERE txid = 77777 LIMIT 1";
    let sample = client.query_one(sample, &[]).await.unwrap();
    let [task, trace] = [0, 1].map(|column| sample.get::<_, &str>(column).parse::<Uuid>().unwrap());
    let ago = |hours: i64| Some(Utc::now() - Duration::hours(hours));
    let some = |text: &str| Some(text.to_owned());
    let default = EventFilter::default;
    vec![
        ("trace", EventFilter { trace_id: Some(TraceId::from_uuid(trace)), ..default() }),
        ("trace of nothing", EventFilter { trace_id: Some(TraceId::new()), ..default() }),
        ("task", EventFilter { task_id: Some(task), ..default() }),
        ("aggregate", EventFilter { aggregate_id: Some(format!("task:{task}")), ..default() }),
        ("task and type", EventFilter { task_id: Some(task), event_type: some("task.result"), ..default() }),
        ("agent", EventFilter { agent_id: some("agent-3"), ..default() }),
        ("agent that is new", EventFilter { agent_id: some("agent-new"), ..default() }),
        ("agent of nothing", EventFilter { agent_id: some("nobody"), ..default() }),
        ("type", EventFilter { event_type: some("llm.response"), ..default() }),
        ("type that is rare", EventFilter { event_type: some("approval.requested"), ..default() }),
        ("type that is early", EventFilter { event_type: some("test.early"), ..default() }),
        ("type that is late", EventFilter { event_type: some("test.late"), ..default() }),
        ("type of nothing", EventFilter { event_type: some("test.none"), ..default() }),
        ("type and agent", EventFilter { event_type: some("llm.call"), agent_id: some("agent-7"), ..default() }),
        ("type, last hours", EventFilter { event_type: some("llm.response"), since: ago(48), ..default() }),
        ("last hours", EventFilter { since: ago(48), ..default() }),
        ("an hour long ago", EventFilter { since: ago(701), until: ago(700), ..default() }),
        ("until long ago", EventFilter { until: ago(700), ..default() }),
        ("everything", default()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a million rows: cargo xtask test --all"]
async fn e_6_every_query_uses_an_index_with_a_million_rows() {
    let million = Million::get().await;
    let client = million.server.client().await;
    client.batch_execute(EXPLAINED).await.unwrap();
    let url = million.server.url();
    let (_, address) = url.split_once('@').unwrap();
    let config = DbConfig {
        max_connections: 1,
        ..DbConfig::new(format!("postgres://explained:explained@{address}"), "mesh-six-explained")
    };
    let plain = EventLog::start(million.server.database().await);
    let log = EventLog::start(Database::connect(config).await.unwrap());
    let said = million.server.folder().join("postgres.log");
    eprintln!("{:<24}{:>10}{:>10}{:>12}  indexes", "E.6: query by", "ms", "ms desc", "rows seen");
    for (name, filter) in filters(&client).await {
        let mut seen = Seen::default();
        let mut times = Vec::new();
        for desc in [false, true] {
            let filter = EventFilter { desc, ..filter.clone() };
            // The figure is that of a connection that has sent the statement before, without the explaining.
            let expected = plain.query(&filter).await.unwrap();
            let begun = Instant::now();
            plain.query(&filter).await.unwrap();
            times.push(milliseconds(begun));
            // Six times, since from then on PostgreSQL may plan once for all values.
            for _ in 0..6 {
                let before = fs::read(&said).unwrap().len();
                let found = log.query(&filter).await.unwrap();
                assert_eq!(found.len(), expected.len(), "{name}");
                let text = fs::read(&said).unwrap();
                seen = explained(&String::from_utf8_lossy(&text[before..]));
                assert!(seen.statements > 0, "{name}: nothing was explained");
                assert!(seen.rows < MOST_ROWS, "{name}, desc {desc}: {seen:?}");
            }
        }
        let indexes: Vec<_> = seen.indexes.into_iter().collect();
        eprintln!("{name:<24}{:>10.1}{:>10.1}{:>12}  {}", times[0], times[1], seen.rows, indexes.join(" "));
    }
    log.close().await;
    plain.close().await;
}
