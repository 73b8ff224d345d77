//! The log with 1,000,000 rows: what the smaller tests show holds there too. Some minutes, so only in
//! `cargo xtask test --all`, which also shows the figures that these tests print.

mod explain;
mod story;

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use chrono::Utc;
use diesel_async::AsyncPgConnection;
use futures_util::future::join_all;
use mesh_six_core::{Event, StoredEvent, TraceId, event::EventFilter, id::new_id};
use mesh_six_db::{
    Database, DbConfig,
    events::{Appended, EventLog, append_in},
};
use mesh_six_testing::{TestServer, wait_for};
use serde_json::json;
use tokio::sync::Mutex;
use tokio_postgres::Client;
use uuid::Uuid;

/// Statement by statement, since VACUUM runs outside of transactions.
const LOAD: &str = include_str!("load.sql");
const ROWS: i64 = 1_000_000;
const SOON: Duration = Duration::from_mins(1);

/// A server with a million rows, for all tests that run at the same time.
struct Million {
    server: TestServer,
}

impl Million {
    async fn get() -> Arc<Self> {
        static SHARED: Mutex<Weak<Million>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(million) = shared.upgrade() {
            return million;
        }
        let million = Arc::new(Self { server: TestServer::start().await });
        let (client, begun) = (million.server.client().await, Instant::now());
        for statement in LOAD.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            client.batch_execute(statement).await.unwrap();
        }
        assert_eq!(count(&client, "true").await, ROWS);
        eprintln!("{ROWS} rows loaded in {:.1} s", begun.elapsed().as_secs_f64());
        *shared = Arc::downgrade(&million);
        million
    }
}

async fn count(client: &Client, condition: &str) -> i64 {
    let query = format!("SELECT count(*) FROM mesh_six_events WHERE {condition}");
    client.query_one(&query, &[]).await.unwrap().get(0)
}

fn event(agent: &str, number: i64) -> Event {
    Event::new("test.event", agent, TraceId::new(), json!({ "number": number }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a million rows: cargo xtask test --all"]
async fn e_3_appends_and_queries_with_a_million_rows() {
    let million = Million::get().await;
    let (client, db) = (million.server.client().await, million.server.database().await);
    let log = EventLog::start(db.clone());
    assert_eq!(log.append(Vec::new()).await.unwrap(), []);
    assert_eq!(log.append(vec![event("e-3", 0)]).await.unwrap().len(), 1);
    let begun = Instant::now();
    let written = log.append((1..=10_000).map(|n| event("e-3", n)).collect()).await.unwrap();
    eprintln!("E.3: 10,000 events appended in {:.0} ms", milliseconds(begun));
    assert_eq!(written.len(), 10_000);
    let numbers = "SELECT (payload->>'number')::bigint FROM mesh_six_events WHERE agent_id = 'e-3' ORDER BY txid, seq";
    let numbers: Vec<i64> = client.query(numbers, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(numbers, (0..=10_000).collect::<Vec<_>>());

    // Each filter and combinations, against SQL of their own.
    let sample = "SELECT task_id::text, trace_id::text FROM mesh_six_events WHERE txid = 77777 LIMIT 1";
    let sample = client.query_one(sample, &[]).await.unwrap();
    let [task, trace] = [0, 1].map(|column| sample.get::<_, &str>(column).parse::<Uuid>().unwrap());
    let (since, until) = (Utc::now() - chrono::Duration::days(20), Utc::now() - chrono::Duration::days(19));
    let day = format!("timestamp >= '{since}' AND timestamp <= '{until}'");
    let default = EventFilter::default;
    let agent = |agent: &str| Some(agent.to_owned());
    let cases = [
        (default(), "true".to_owned()),
        (EventFilter { trace_id: Some(TraceId::from_uuid(trace)), ..default() }, format!("trace_id = '{trace}'")),
        (EventFilter { task_id: Some(task), ..default() }, format!("task_id = '{task}'")),
        (EventFilter { aggregate_id: Some(format!("task:{task}")), ..default() }, format!("task_id = '{task}'")),
        (EventFilter { agent_id: agent("agent-3"), ..default() }, "agent_id = 'agent-3'".to_owned()),
        (EventFilter { event_type: agent("llm.call"), ..default() }, "event_type = 'llm.call'".to_owned()),
        (EventFilter { event_type: agent("test.early"), ..default() }, "event_type = 'test.early'".to_owned()),
        (EventFilter { since: Some(since), until: Some(until), ..default() }, day.clone()),
        (
            EventFilter { agent_id: agent("agent-3"), event_type: agent("llm.call"), since: Some(since), ..default() },
            format!("agent_id = 'agent-3' AND event_type = 'llm.call' AND timestamp >= '{since}'"),
        ),
        (
            EventFilter {
                event_type: agent("approval.requested"),
                since: Some(since),
                until: Some(until),
                ..default()
            },
            format!("event_type = 'approval.requested' AND {day}"),
        ),
        (
            EventFilter { task_id: Some(task), event_type: agent("task.result"), ..default() },
            format!("task_id = '{task}' AND event_type = 'task.result'"),
        ),
    ];
    for (filter, condition) in cases {
        for (desc, limit) in [(false, None), (true, Some(1_000))] {
            // Only loaded rows: other tests write meanwhile.
            let before = Some(mesh_six_core::event::Position { txid: 125_001, seq: 0, floor: 0 });
            let filter = EventFilter { desc, limit, before, ..filter.clone() };
            let order = if desc { "DESC" } else { "ASC" };
            let expected = format!(
                "SELECT id::text FROM mesh_six_events WHERE {condition} AND txid < 125001 \
                ORDER BY txid {order}, seq {order} LIMIT {}",
                limit.unwrap_or(100)
            );
            let expected: Vec<String> =
                client.query(&expected, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
            let found = log.query(&filter).await.unwrap();
            assert!(!expected.is_empty() || condition.contains("approval"), "{condition}");
            assert_eq!(ids(&found), expected, "{condition} {order}");
        }
    }
    log.close().await;
}

fn ids(events: &[StoredEvent]) -> Vec<String> {
    events.iter().map(|event| event.event.id.to_string()).collect()
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1_000.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a million rows: cargo xtask test --all"]
async fn e_11_one_row_a_key_with_a_million_rows() {
    let million = Million::get().await;
    let client = million.server.client().await;
    // Two processes share nothing but the server.
    let url = million.server.app_url().await;
    let config = || DbConfig { max_connections: 8, ..DbConfig::new(&url, "e-11") };
    let databases = [config(), config()].map(|config| Database::lazy(config).unwrap());
    let logs = databases.clone().map(EventLog::start);
    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        let task = new_id();
        let key = if round % 2 == 0 { format!("end:{task}") } else { format!("a caller's own key {task}") };
        // Each with its own id and its own idea of when it happened: this month, or the last.
        let appends = (0..50_i64).map(|n| {
            let month = chrono::Duration::days(31 * (n % 2));
            let event = event("e-11", n).of_task(task).keyed(key.clone()).at(Utc::now() - month);
            let place = usize::from(n % 3 == 0);
            let (log, db) = (&logs[place], &databases[place]);
            async move {
                if n % 5 == 0 {
                    // Logins are slow where much else goes on; whoever gets none within two seconds asks again.
                    let mut conn = wait_for(SOON, async || db.conn().await.ok()).await;
                    let conn: &mut AsyncPgConnection = &mut conn;
                    append_in(conn, &[event]).await.unwrap()
                } else {
                    log.append(vec![event]).await.unwrap()
                }
            }
        });
        let begun = Instant::now();
        let answers = join_all(appends).await;
        slowest = slowest.max(begun.elapsed());
        assert_eq!(answers.iter().filter(|a| matches!(a[0], Appended::Written(_))).count(), 1);
        assert_eq!(count(&client, &format!("task_id = '{task}'")).await, 1);

        // A row of the same fact in another month's partition counts just as well.
        let moved = format!(
            "SET session_replication_role = replica; UPDATE mesh_six_events \
            SET timestamp = timestamp - interval '1 month' WHERE task_id = '{task}'; RESET session_replication_role"
        );
        client.batch_execute(&moved).await.unwrap();
        let again = (0..50).map(|n| logs[n % 2].append(vec![event("e-11", 0).of_task(task).keyed(key.clone())]));
        assert!(join_all(again).await.into_iter().all(|answer| answer.unwrap() == [Appended::Duplicate]));
        assert_eq!(count(&client, &format!("task_id = '{task}'")).await, 1);
    }
    eprintln!("E.11: 50 appends of one key took {:.0} ms at most", slowest.as_secs_f64() * 1_000.0);
    for log in logs {
        log.close().await;
    }
}
