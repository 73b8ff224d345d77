//! What the commands on the log print: stats, seal, verify, export, import, erase.

use std::{fs, path::Path};

use mesh_six_testing::{TestServer, temporary_folder};
use serde_json::Value;

use crate::mesh::command;

/// Ten events of October 2020 with content, a task, and a dead letter.
const FILL: &str = "SELECT mesh_six_ensure_partitions(0, '2020-10-01');
    INSERT INTO mesh_six_events (seq, txid, timestamp, occurred_at, id, trace_id, task_id, agent_id, event_type, payload)
    SELECT n, 1 + n / 3, at, at, ('018f0000-0000-7000-8000-00000000000' || n)::uuid,
        '018f0000-0000-7000-8000-000000000100', '018f0000-0000-7000-8000-000000000200', 'agent-' || n % 2,
        CASE WHEN n % 3 = 2 THEN 'llm.response' ELSE 'llm.call' END,
        CASE WHEN n % 3 = 2 THEN jsonb_build_object('model', 'stub', 'durationMs', 10 * n, 'attempt', 1,
            'finishReason', CASE WHEN n = 8 THEN 'error' ELSE 'stop' END, 'usage', jsonb_build_object('inputTokens',
            100, 'cachedInputTokens', 40, 'outputTokens', 7, 'costUsd', 0.001))
        ELSE '{\"model\": \"stub\", \"attempt\": 1}' END
    FROM generate_series(0, 9) n, LATERAL (SELECT '2020-10-05 10:00:00+00'::timestamptz + n * interval '1 s' AS at) t;
    INSERT INTO event_contents (event_id, task_id, user_id, month, kind, content) VALUES
        ('018f0000-0000-7000-8000-000000000000', '018f0000-0000-7000-8000-000000000200', 'ann', 202010, 'prompt', 'why'),
        ('018f0000-0000-7000-8000-000000000009', NULL, 'bob', 202010, 'prompt', 'how');
    INSERT INTO orchestrator_tasks (task_id, capability, requested_by, user_id, trace_id, status, ended_at, payload)
        VALUES ('018f0000-0000-7000-8000-000000000200', 'c', 'a-service', 'ann', '018f0000-0000-7000-8000-000000000100',
        'completed', now(), '{\"query\": \"why\"}');
    INSERT INTO dead_letters (app_id, topic, source, id, envelope, reason)
        VALUES ('a', 't', 's', '1', convert_to('{\"data\":{\"userId\":\"ann\"}}', 'UTF8'), 'r')";

/// Exit code, standard output and standard error of a command on this database.
fn run(url: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let output = command(args).env("DATABASE_URL", url).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The same as one text, without what is different each time.
fn told(url: &str, args: &[&str], folder: &Path) -> String {
    let (code, out, err) = run(url, args);
    let folder = folder.display().to_string();
    let shown: Vec<String> = args.iter().map(|arg| arg.replace(&folder, "FOLDER")).collect();
    let text = format!("exit code {}\n--- stdout\n{out}--- stderr\n{err}", code.unwrap());
    format!("mesh-six {}\n{}", shown.join(" "), text.replace(&folder, "FOLDER"))
}

/// Seals hold the time at which they were made, so their hashes are never the same.
fn assert_snapshot(name: &str, text: &str) {
    insta::with_settings!({filters => vec![("[0-9a-f]{64}", "[hash]")]}, { insta::assert_snapshot!(name, text) });
}

async fn filled() -> TestServer {
    let server = TestServer::start().await;
    server.client().await.batch_execute(FILL).await.unwrap();
    server
}

const WINDOW: [&str; 4] = ["--since", "2020-10-05T00:00:00Z", "--until", "2020-10-06T00:00:00Z"];

#[tokio::test(flavor = "multi_thread")]
async fn stats_export_and_import_print_this() {
    let server = filled().await;
    let (url, folder) = (server.url(), temporary_folder().unwrap());
    let stats = |more: &[&str]| told(&url, &[&["events", "stats"], &WINDOW[..], more].concat(), folder.path());
    assert_snapshot("stats", &stats(&[]));
    assert_snapshot("stats of a type as JSON", &stats(&["--type", "llm.response", "--json"]));

    let file = folder.path().join("log.jsonl").display().to_string();
    assert_snapshot("export", &told(&url, &["events", "export", "--out", &file], folder.path()));
    let again = &["events", "export", "--out", &file, "--json"];
    assert_snapshot("export again as JSON", &told(&url, again, folder.path()));
    let (code, out, _) = run(&url, &["events", "export"]);
    assert_eq!((code, &out), (Some(0), &fs::read_to_string(&file).unwrap()), "with and without a file the same");
    assert_eq!(out.lines().count(), 10);
    assert_eq!(run(&url, &["events", "export", "--json"]).0, Some(2), "the events are JSON already");

    // Into an empty log, and out again.
    server.client().await.batch_execute("CREATE DATABASE other").await.unwrap();
    let other = format!("{}/other", url.rsplit_once('/').unwrap().0);
    assert_eq!(run(&other, &["migrate"]).0, Some(0));
    assert_snapshot("import", &told(&other, &["events", "import", &file], folder.path()));
    let exported = run(&other, &["events", "export"]).1;
    assert_eq!(exported, out, "the round trip is equal");
    assert_snapshot("import into a log that is not empty", &told(&other, &["events", "import", &file], folder.path()));
    server.client().await.batch_execute("CREATE DATABASE third").await.unwrap();
    let third = format!("{}/third", url.rsplit_once('/').unwrap().0);
    assert_eq!(run(&third, &["migrate"]).0, Some(0));
    assert_snapshot("import as JSON", &told(&third, &["events", "import", &file, "--json"], folder.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn seal_and_verify_print_this() {
    let server = filled().await;
    let (url, folder) = (server.url(), temporary_folder().unwrap());
    let verify = |more: &[&str]| told(&url, &[&["events", "verify"], more].concat(), folder.path());
    assert_snapshot("verify before sealing", &verify(&[]));
    assert_snapshot("seal", &told(&url, &["events", "seal"], folder.path()));
    let sealed = run(&url, &["events", "seal", "--json"]).1;
    let head: Value = serde_json::from_str(&sealed).unwrap();
    let hash = head["head"]["hash"].as_str().unwrap();
    assert_snapshot("seal as JSON", &told(&url, &["events", "seal", "--json"], folder.path()));
    assert_snapshot("verify", &verify(&[]));
    assert_snapshot("verify with a hash", &verify(&["--expect", hash]));
    assert_snapshot("verify with a hash as JSON", &verify(&["--expect", hash, "--json"]));
    assert_snapshot("verify with another hash", &verify(&["--expect", &"0".repeat(64)]));
    let forged =
        "SET session_replication_role = replica; UPDATE mesh_six_events SET agent_id = 'agent-9' WHERE seq = 4";
    server.client().await.batch_execute(forged).await.unwrap();
    assert_snapshot("verify what was changed", &verify(&[]));
    assert_snapshot("verify what was changed as JSON", &verify(&["--json"]));
    assert_eq!(run(&url, &["events", "verify", "--expect", "no-hash"]).0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn erase_prints_this_and_the_chain_stays_whole() {
    let server = filled().await;
    let (url, folder) = (server.url(), temporary_folder().unwrap());
    assert_eq!(run(&url, &["events", "seal"]).0, Some(0));
    let erase = |more: &[&str]| told(&url, &[&["events", "erase"], more].concat(), folder.path());
    assert_snapshot("erase by user, dry run", &erase(&["--user", "ann", "--dry-run"]));
    assert_snapshot("erase by user", &erase(&["--user", "ann"]));
    assert_snapshot("erase by event as JSON", &erase(&["--event", "018f0000-0000-7000-8000-000000000009", "--json"]));
    assert_snapshot("erase nothing", &erase(&["--task", "018f0000-0000-7000-8000-000000000200"]));
    assert_eq!(run(&url, &["events", "erase"]).0, Some(2));
    assert_eq!(run(&url, &["events", "verify"]).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_is_exported_and_dropped_and_programs_are_told_as_json() {
    let server = filled().await;
    let (url, folder) = (server.url(), temporary_folder().unwrap());
    let file = folder.path().join("2020-10.jsonl").display().to_string();
    let export = ["events", "export", "--month", "2020-10", "--out", &file];
    assert_snapshot("export of a month that is not closed", &told(&url, &export, folder.path()));
    assert_eq!(run(&url, &["events", "seal"]).0, Some(0));
    let json = [&export[..], &["--json"]].concat();
    assert_snapshot("export of a month as JSON", &told(&url, &json, folder.path()));
    let drop = ["partitions", "--drop-before", "2020-11"];
    let plan = |more: &[&str]| run(&url, &[&drop[..], more].concat());
    let (code, planned, _) = plan(&["--dry-run", "--json"]);
    let planned: Value = serde_json::from_str(&planned).unwrap();
    assert_eq!((code, &planned["partitions"][0]["blockers"]), (Some(0), &serde_json::json!([])));
    let (code, done, err) = plan(&["--json"]);
    let done: Vec<Value> = done.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, err.as_str(), &done[0]["partitions"][0]["rows"]), (Some(0), "", &10.into()), "the plan first");
    let dropped = &done[1]["dropped"];
    assert_eq!((&dropped["month"], &dropped["rows"]), (&"2020-10".into(), &10.into()));
    assert!(done[2..].iter().all(|line| line["droppedKeysOf"].is_string()), "{done:?}");
    assert_eq!(run(&url, &["events", "verify"]).0, Some(0), "the chain stays whole");
}
