//! The database as README.md has it made: the roles suffice and have no more rights than they need; criterion E.8.

use std::{collections::BTreeMap, process::Command};

use mesh_six_core::{ErrorType, Event, TraceId, Usage, event::catalogue, event::payload};
use mesh_six_db::{
    Database, DbConfig,
    events::EventLog,
    server::{PostgresServer, ServerConfig},
};
use mesh_six_testing::temporary_folder;
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::support::{BINARY, list, read, root, run, text};

/// What README.md says to run after the first sync, for Grafana.
const GRANT: &str = "GRANT SELECT ON mesh_six_events TO mesh_six_grafana;";

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn response(model: &str, ms: i64, error: Option<Value>) -> Event {
    let payload = payload::LlmResponse {
        call_id: Uuid::now_v7(),
        model: model.to_owned(),
        duration_ms: ms,
        response_length: 10,
        tool_call_count: 0,
        finish_reason: if error.is_some() { "error" } else { "stop" }.to_owned(),
        attempt: 1,
        step: 0,
        structured: false,
        usage: Usage { input_tokens: 100, output_tokens: 20, cost_usd: Some(0.25), requests: 1, ..Usage::default() },
        response_id: None,
        error,
    };
    Event::new(catalogue::LLM_RESPONSE, "simple-agent", TraceId::new(), serde_json::to_value(payload).unwrap())
}

fn seeds() -> Vec<Event> {
    let event = |kind, agent, payload: Value| Event::new(kind, agent, TraceId::new(), payload);
    let timed_out = payload::TimedOut {
        agent_id: "architect-agent".to_owned(),
        attempt: 1,
        timeout_ms: 1_000,
        reason: ErrorType::Timeout,
    };
    let answered = payload::Answered {
        success: false,
        capability: "general-query".to_owned(),
        attempt: 1,
        duration_ms: 5,
        error_type: Some(ErrorType::Validation),
        result_hash: String::new(),
        usage: Usage::default(),
        source: None,
        foreign_trace_id: None,
    };
    let end =
        |error_type| payload::TaskEnd { attempts: 1, agent_id: None, duration_ms: 5, error_type, result_hash: None };
    let value = |payload| serde_json::to_value::<payload::TaskEnd>(payload).unwrap();
    vec![
        response("model-a", 1_000, None),
        response("model-a", 3_000, None),
        response("model-b", 500, Some(json!({ "type": "timeout" }))),
        event(catalogue::TASK_TIMEOUT, "architect-agent", serde_json::to_value(timed_out).unwrap()),
        event(catalogue::TASK_RESULT, "simple-agent", serde_json::to_value(answered).unwrap()),
        event(catalogue::TASK_COMPLETED, "orchestrator", value(end(None))),
        event(catalogue::TASK_FAILED, "orchestrator", value(end(Some(ErrorType::Timeout)))),
        // What strangers write must not break a panel.
        event(catalogue::LLM_RESPONSE, "odd", json!({ "durationMs": "x", "usage": { "inputTokens": "y" } })),
    ]
}

/// Grafana's macros as it writes them out, for one interval that holds everything.
fn expanded(sql: &str) -> String {
    let group = "floor(extract(epoch from timestamp)/10000000000)*10000000000 AS \"time\"";
    let filter = "timestamp BETWEEN '2020-01-01T00:00:00Z' AND '2100-01-01T00:00:00Z'";
    let sql =
        sql.replace("$__timeGroupAlias(timestamp, $__interval)", group).replace("$__timeFilter(timestamp)", filter);
    assert!(!sql.contains("$_"), "an unknown macro: {sql}");
    sql
}

#[tokio::test(flavor = "multi_thread")]
async fn e_8_the_roles_of_the_readme_suffice_and_every_panel_shows_what_was_seeded() {
    let folder = temporary_folder().unwrap();
    let config = ServerConfig { throwaway: true, ..ServerConfig::new(folder.path()) };
    let mut server = PostgresServer::start(config).await.unwrap();
    let maintenance = connect(&server.url_of("postgres")).await;
    maintenance.batch_execute("DROP DATABASE mesh_six").await.unwrap();
    let mut psql = Command::new("psql");
    psql.args(["--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file"]).arg(root().join("k8s/database.sql"));
    run(psql.arg(server.url_of("postgres")), "");
    for role in ["mesh_six", "mesh_six_owner", "mesh_six_grafana"] {
        maintenance.batch_execute(&format!("ALTER ROLE {role} PASSWORD 'x'")).await.unwrap();
    }
    let url = |role: &str| format!("postgres://{role}:x@127.0.0.1:{}/mesh_six", server.port());

    // What the Job and the CronJobs run, as the owner, who is no superuser; twice, since each sync does.
    for args in [&["migrate"][..], &["migrate"], &["partitions", "--ensure", "3"], &["events", "seal", "--json"]] {
        run(Command::new(BINARY).args(args).env_clear().env("DATABASE_DIRECT_URL", url("mesh_six_owner")), "");
    }
    let db = Database::connect(DbConfig::new(url("mesh_six"), "delivery")).await.unwrap();
    mesh_six_db::migrate::check(&db).await.unwrap();
    let log = EventLog::start(db.clone());
    log.append(seeds()).await.unwrap();
    let service = connect(&url("mesh_six")).await;
    assert!(service.batch_execute("DELETE FROM mesh_six_events").await.is_err());
    assert!(service.batch_execute("CREATE TABLE mine ()").await.is_err());
    // Also for sessions that a pooler shares.
    let patience = DbConfig::new(String::new(), "").statement_timeout.as_secs();
    for (setting, value) in [
        ("statement_timeout", format!("{patience}s")),
        ("lock_timeout", "10s".to_owned()),
        ("idle_in_transaction_session_timeout", "30s".to_owned()),
        ("timezone", "UTC".to_owned()),
    ] {
        let set: String = service.query_one(&format!("SHOW {setting}"), &[]).await.unwrap().get(0);
        assert_eq!(set, value, "{setting}");
    }

    assert!(read("README.md").contains(GRANT), "README.md says what Grafana's role needs");
    connect(&url("mesh_six_owner")).await.batch_execute(GRANT).await.unwrap();
    let grafana = connect(&url("mesh_six_grafana")).await;
    assert!(grafana.batch_execute("SELECT FROM event_contents").await.is_err(), "prompts are not for Grafana");
    let dashboard: Value = serde_json::from_str(&read("k8s/base/monitoring/dashboard.json")).unwrap();
    let mut shown = BTreeMap::new();
    for panel in list(&dashboard, "panels") {
        for target in list(panel, "targets") {
            let sql = format!("SELECT row_to_json(q)::text FROM ({}) q", expanded(text(target, "rawSql")));
            let rows = grafana.query(&sql, &[]).await.unwrap_or_else(|error| panic!("{}: {error}", panel["title"]));
            let mut rows: Vec<Value> =
                rows.iter().map(|row| serde_json::from_str(row.get::<_, &str>(0)).unwrap()).collect();
            for row in &mut rows {
                assert!(!row["time"].is_null(), "{row}");
                row.as_object_mut().unwrap().retain(|name, _| name != "time" && name != "task");
            }
            rows.sort_by_key(Value::to_string);
            shown.insert(text(panel, "title").to_owned(), rows);
        }
    }
    log.close().await;
    db.close();
    server.stop().await;
    insta::assert_json_snapshot!(shown);
}
