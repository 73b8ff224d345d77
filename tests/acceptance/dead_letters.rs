//! `mesh-six dead-letters`: what failed for good is seen, sent again and taken out of the queue.

use std::time::Duration;

use mesh_six_core::event::key::cloud_event_key;
use mesh_six_testing::{TestDatabase, wait_until};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::mesh::Mesh;

const LONG: Duration = Duration::from_mins(1);

/// A letter of the event logger, which waits since a day of its own.
async fn letter(client: &Client, topic: &str, id: &str, envelope: &[u8], day: u8) {
    let insert = format!(
        "INSERT INTO dead_letters (app_id, topic, source, id, envelope, reason, first_at, last_at) \
         VALUES ('event-logger', '{topic}', 'simple-agent', '{id}', $1, 'the database was full', \
             '2026-11-{day}T08:00:00Z', '2026-11-{day}T08:00:00Z')"
    );
    client.execute(&insert, &[&envelope]).await.unwrap();
}

/// A progress note of `task`, in its envelope.
fn note(task: &str, trace: &str, id: &str, data: Option<Value>) -> Vec<u8> {
    let note = json!({"taskId": task, "agentId": "simple-agent", "traceId": trace, "status": "replayed"});
    let time = task_time(task);
    json!({"id": id, "source": "simple-agent", "type": "com.dapr.event.sent", "specversion": "1.0", "time": time,
        "data": data.unwrap_or(note)})
    .to_string()
    .into_bytes()
}

/// When the task was made, which its id tells: a key of today.
fn task_time(task: &str) -> String {
    let millis = i64::from_str_radix(&task.replace('-', "")[..12], 16).unwrap();
    mesh_six_core::time::format(chrono::DateTime::from_timestamp_millis(millis).unwrap())
}

/// Standard output of a command that ends with this exit code.
fn told(mesh: &Mesh, args: &[&str], code: i32) -> String {
    let output = mesh.run(args);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
    let out = String::from_utf8(output.stdout).unwrap();
    if out.is_empty() { err } else { out }
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_5_dead_letters_are_listed_shown_replayed_and_discarded() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let mesh = Mesh::start(&[], &[("DATABASE_URL", database.url())]);
    let task = &mesh.json(&["submit", "hello", "--json"])[0];
    let (task, trace) = (task["taskId"].as_str().unwrap(), task["traceId"].as_str().unwrap());
    assert_eq!(told(&mesh, &["dead-letters", "list"], 0), "no dead letters are waiting\n");

    letter(&client, "task-progress", "good", &note(task, trace, "good", None), 21).await;
    letter(&client, "task-progress", "bad", &note(task, trace, "bad", Some(json!({"status": "x"}))), 22).await;
    letter(&client, "dead-letter", "bytes", b"\xff no JSON", 23).await;
    let letters = mesh.json(&["dead-letters", "list", "--json"]);
    let ids: Vec<&str> = letters.iter().map(|letter| letter["id"].as_str().unwrap()).collect();
    let [bytes, bad, good] = ids[..] else { panic!("{letters:?}") };
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(task, "[task]");
    settings.add_filter(trace, "[trace]");
    settings.add_filter(&task_time(task), "[time]");
    settings.bind(|| {
        insta::assert_snapshot!("letters", told(&mesh, &["dead-letters", "list"], 0));
        insta::assert_snapshot!("letter that is JSON", told(&mesh, &["dead-letters", "show", &good[..8]], 0));
        insta::assert_snapshot!("letter that is none", told(&mesh, &["dead-letters", "show", bytes], 0));
    });
    let raw = mesh.run(&["dead-letters", "show", bytes, "--raw"]).stdout;
    assert_eq!(raw, b"\xff no JSON");
    let by_topic = mesh.json(&["dead-letters", "list", "--topic", "dead-letter", "--app", "event-logger", "--json"]);
    assert_eq!((by_topic.len(), &by_topic[0]["id"]), (1, &json!(bytes)));

    // The good one becomes an event, under the id and the time that its message had.
    told(&mesh, &["dead-letters", "replay", good], 0);
    let replayed = ["events", "query", "--task", task, "--type", "task.progress", "--json"];
    wait_until(LONG, async || mesh.json(&replayed).iter().any(|e| e["payload"]["status"] == "replayed")).await;
    let event = mesh.json(&replayed).into_iter().find(|e| e["payload"]["status"] == "replayed").unwrap();
    assert_eq!((&event["occurredAt"], &event["agentId"]), (&json!(task_time(task)), &json!("simple-agent")));
    let key = cloud_event_key("simple-agent", "good", task_time(task).parse().unwrap());
    assert_eq!(event["idempotencyKey"], key);
    let again = told(&mesh, &["dead-letters", "replay", good], 1);
    assert!(again.contains("refused: it was replayed at "), "{again}");

    // All that wait: one fails again and waits again, one can never be sent.
    let asked = told(&mesh, &["dead-letters", "replay", "--all"], 2);
    assert!(asked.contains("replay 2 dead letters?") && asked.contains("--yes"), "{asked}");
    let all = told(&mesh, &["dead-letters", "replay", "--all", "--yes"], 1);
    assert!(all.contains("no CloudEvent") && all.ends_with("1 replayed, 1 refused\n"), "{all}");
    let failed_again = || mesh.json(&["dead-letters", "list", "--topic", "task-progress", "--json"]);
    wait_until(LONG, async || failed_again().first().is_some_and(|letter| letter["tries"] == 2)).await;
    let letter = failed_again().remove(0);
    assert_eq!((&letter["id"], &letter["state"]), (&json!(bad), &json!("waiting")));
    assert!(letter["reason"].as_str().unwrap().starts_with("taskId: "), "{letter}");

    let decided = mesh.json(&["dead-letters", "discard", bad, &bytes[..10], "--json"]);
    assert!(decided.iter().all(|decision| decision["letter"]["state"] == "discarded"), "{decided:?}");
    assert_eq!(told(&mesh, &["dead-letters", "discard", "--all", "--yes"], 0), "no dead letters are waiting\n");
    assert_eq!(mesh.json(&["dead-letters", "list", "--state", "discarded", "--json"]).len(), 2);
    let kept: Vec<u8> =
        client.query_one("SELECT envelope FROM dead_letters WHERE id = 'bytes'", &[]).await.unwrap().get(0);
    assert_eq!(kept, b"\xff no JSON", "the bytes are kept");
}
