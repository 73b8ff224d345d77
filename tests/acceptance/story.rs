//! What a person does first, and what the log has of it.

use std::io::{BufRead, BufReader};

use mesh_six_testing::{Reply, StubModel, TestDatabase};
use serde_json::Value;

use crate::mesh::{self, Mesh, command, data_folder};

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|e| e["eventType"].as_str().unwrap()).collect()
}

/// The task's life without progress notes, which are best effort and come by another path.
fn life<'a>(types: &[&'a str]) -> Vec<&'a str> {
    types.iter().copied().filter(|t| *t != "task.progress").collect()
}

const STORY: [&str; 6] =
    ["task.submitted", "task.dispatched", "llm.call", "llm.response", "task.result", "task.completed"];

#[tokio::test(flavor = "multi_thread")]
async fn m1_11_one_task_through_the_whole_mesh_every_step_on_the_record() {
    let (database, model) = (TestDatabase::new().await, StubModel::start().await);
    model.always(Reply::text("Because of Rayleigh scattering."));
    let mesh = Mesh::start(&["--llm-url", model.url(), "--model", "stub"], &[("DATABASE_URL", database.url())]);
    assert!(mesh.banner.ends_with("(PostgreSQL from DATABASE_URL, model: stub)"), "{}", mesh.banner);

    let told = mesh.run(&["submit", "Why is the sky blue?"]);
    assert_eq!(told.status.code(), Some(0));
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.starts_with("Because of Rayleigh scattering.\n\ntask "), "{told}");
    assert!(told.contains("agent simple-agent  score 0.800"), "{told}");

    let task = &mesh.json(&["submit", "And the sea?", "--json"])[0];
    for field in ["taskId", "status", "agentId", "score", "attempts", "durationMs", "traceId", "usage", "result"] {
        assert!(!task[field].is_null(), "{field} is missing: {task}");
    }
    assert_eq!(task["status"], "completed");
    assert_eq!(task["result"]["response"], "Because of Rayleigh scattering.");
    let calls = model.calls();
    assert_eq!(calls.len(), 2, "one model request a task");
    assert_eq!(calls[1].last("user"), Some("And the sea?"));

    // The log: by task, by trace, and replayed.
    let (id, trace) = (task["taskId"].as_str().unwrap(), task["traceId"].as_str().unwrap());
    let by_task = mesh.json(&["events", "query", "--task", id, "--json"]);
    assert_eq!(life(&types(&by_task)), STORY);
    let by_trace = mesh.json(&["events", "query", "--trace", trace, "--json"]);
    assert_eq!(by_task, by_trace, "one trace id from the entry to the end");
    assert!(!serde_json::to_string(&by_task).unwrap().contains("Rayleigh"), "no answers in the log");
    assert!(!serde_json::to_string(&by_task).unwrap().contains("the sea"), "no prompts in the log");
    let replayed = mesh.json(&["events", "replay", &format!("task:{id}"), "--json"]);
    let (state, events) = replayed.split_last().unwrap();
    assert_eq!(events, by_task);
    assert_eq!(state["state"]["status"], "completed");
    // Step by step, over HTTP: the same events, and after the last the same state.
    let timeline = format!("{}/api/v1/tasks/{id}/timeline", mesh.url);
    let timeline: Value = mesh::http().get(timeline).send().await.unwrap().json().await.unwrap();
    let steps: Vec<&Value> = timeline["steps"].as_array().unwrap().iter().map(|step| &step["event"]).collect();
    assert_eq!(steps, by_task.iter().collect::<Vec<_>>());
    assert_eq!(timeline["state"], state["state"]);
    let unknown = format!("{}/api/v1/tasks/{trace}/timeline", mesh.url);
    assert_eq!(mesh::http().get(unknown).send().await.unwrap().status(), 404);

    // Tokens in the log equal those that the model's server counted.
    let responses = mesh.json(&["events", "query", "--type", "llm.response", "--json"]);
    let sum = |field: &str| responses.iter().map(|e| e["payload"]["usage"][field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("inputTokens"), sum("outputTokens")), model.tokens());

    let rows = database.client().await;
    let history = rows.query("SELECT agent_id, success, attempt FROM agent_task_history", &[]).await.unwrap();
    assert_eq!(history.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_commands_print() {
    let (database, model) = (TestDatabase::new().await, StubModel::start().await);
    model.always(Reply::text("Because of Rayleigh scattering."));
    // Without the event logger nothing comes by a second path, so the order of the lines is fixed.
    let args = ["--llm-url", model.url(), "--model", "stub", "--without", "event-logger"];
    let mesh = Mesh::start(&args, &[("DATABASE_URL", database.url())]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "{\"payload\": {\"query\": \"one\"}}\n\n{\"payload\": {\"query\": \"two\"}, \"priority\": 9}\n",
    )
    .unwrap();
    let file = file.path().display().to_string();
    let mut settings = insta::Settings::clone_current();
    for (pattern, redacted) in [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "[task]"),
        (r"\b[0-9]+(\.[0-9])? m?s\b *", "[time] "),
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}", "[created]"),
        (r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?", "[clock]"),
        // A column is as wide as what was redacted in it.
        (r" {2,}", "  "),
    ] {
        settings.add_filter(pattern, redacted);
    }
    let printed = |args: &[&str]| {
        let output = mesh.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    settings.bind(|| {
        insta::assert_snapshot!("prints submit", printed(&["submit", "Why is the sky blue?"]));
        insta::assert_snapshot!("prints submit --file", printed(&["submit", "--concurrency", "1", "--file", &file]));
        insta::assert_snapshot!("prints tasks", printed(&["tasks"]));
        insta::assert_snapshot!("prints agents", printed(&["agents"]));
        insta::assert_snapshot!("prints agents --score", printed(&["agents", "--score", "general-query"]));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_event_logger_a_tasks_story_is_complete() {
    let database = TestDatabase::new().await;
    let mesh = Mesh::start(&["--without", "event-logger"], &[("DATABASE_URL", database.url())]);
    let task = &mesh.json(&["submit", "hello", "--json"])[0];
    let id: String = task["taskId"].as_str().unwrap().to_owned();
    let client = database.client().await;
    let rows = client
        .query("SELECT event_type FROM mesh_six_events WHERE task_id = $1::text::uuid ORDER BY txid, seq", &[&id])
        .await
        .unwrap();
    let types: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
    assert_eq!(types, STORY);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_paths_together_give_one_row_a_fact() {
    let database = TestDatabase::new().await;
    let mesh = Mesh::start(&[], &[("DATABASE_URL", database.url())]);
    let (code, out) = {
        let output =
            mesh.run(&["submit", "--file", concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/tasks.jsonl")]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("20 of 20 completed"), "{out}");
    drop(mesh);
    let client = database.client().await;
    let doubled = client
        .query("SELECT idempotency_key FROM mesh_six_events WHERE idempotency_key IS NOT NULL GROUP BY 1 HAVING count(*) > 1", &[])
        .await
        .unwrap();
    assert!(doubled.is_empty(), "{} keys are there twice", doubled.len());
    for (event_type, count) in [
        ("task.submitted", 20_i64),
        ("task.dispatched", 20),
        ("task.result", 20),
        ("task.completed", 20),
        ("llm.call", 20),
        ("llm.response", 20),
    ] {
        let row = client
            .query_one("SELECT count(*) FROM mesh_six_events WHERE event_type = $1", &[&event_type])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), count, "{event_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_shows_what_happens_and_every_command_prints_json() {
    let database = TestDatabase::new().await;
    let mesh = Mesh::start(&[], &[("DATABASE_URL", database.url())]);
    let mut tail = command(&["events", "tail", "--type", "task.completed", "--after", "start", "--json"])
        .env("MESH_SIX_URL", &mesh.url)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let task = mesh.json(&["submit", "hello", "--json"]).remove(0);
        let seen: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(seen["taskId"], task["taskId"]);
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_eq!(mesh.json(&["tasks", "--json"]).len(), 3);
    assert_eq!(mesh.json(&["tasks", "--status", "failed", "--json"]).len(), 0);
    assert_eq!(mesh.json(&["agents", "--json"])[0]["appId"], "simple-agent");
    assert_eq!(mesh.json(&["agents", "--score", "general-query", "--json"])[0]["agentId"], "simple-agent");
    let newest = mesh.json(&["events", "query", "--desc", "--limit", "1", "--since", "1h", "--json"]);
    assert_eq!(newest.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_database_is_made_kept_and_found_by_the_tools() {
    let folder = data_folder();
    let data = folder.path().join("data").display().to_string();
    let task = {
        let mut mesh = Mesh::private(folder.path(), 0, &[]);
        assert!(mesh.banner.contains("(PostgreSQL ") && mesh.banner.contains(&data), "{}", mesh.banner);
        let task = mesh.json(&["submit", "hello", "--json"]).remove(0);
        // While it runs, the tools use its server.
        let tools = |args: &[&str]| {
            let mut all = args.to_vec();
            all.extend(["--data-dir", &data, "--json"]);
            let output = command(&all).output().unwrap();
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let status = tools(&["migrate", "--status"]);
        assert!(status.lines().count() >= 2 && !status.contains("\"applied\":false"), "{status}");
        assert_eq!(tools(&["migrate", "--dry-run"]), "");
        assert!(tools(&["partitions", "--ensure", "3"]).contains("mesh_six_events_default"));
        mesh.signal("INT");
        assert_eq!(mesh.wait(std::time::Duration::from_mins(1)), Some(0));
        // And when it does not run, they start the server themselves.
        assert!(tools(&["partitions"]).contains("mesh_six_events_default"));
        task
    };
    let mesh = Mesh::private(folder.path(), 0, &[]);
    let again = mesh.json(&["tasks", task["taskId"].as_str().unwrap(), "--json"]).remove(0);
    assert_eq!(again["status"], "completed", "tasks outlive the mesh");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_tells_programs_where_it_is() {
    let database = TestDatabase::new().await;
    let mut up = command(&["up", "--port", "0", "--json"]).env("DATABASE_URL", database.url()).spawn().unwrap();
    let line = BufReader::new(up.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&told["database"], &told["model"]), (&"PostgreSQL from DATABASE_URL".into(), &"offline".into()));
    let output = command(&["agents", "--json", "--url", told["url"].as_str().unwrap()]).output().unwrap();
    assert!(output.status.success());
    let ended = std::process::Command::new("kill").args(["-INT", &up.id().to_string()]).status().unwrap();
    assert!(ended.success());
    assert_eq!(up.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_before_the_first_start() {
    let (folder, exported) = (data_folder(), tempfile::tempdir().unwrap());
    let file = exported.path().join("log.jsonl").display().to_string();
    let task = {
        let database = TestDatabase::new().await;
        let mesh = Mesh::start(&[], &[("DATABASE_URL", database.url())]);
        let task = mesh.json(&["submit", "hello", "--json"]).remove(0);
        drop(mesh);
        let output = command(&["events", "export", "--out", &file]).env("DATABASE_URL", database.url()).output();
        assert!(output.unwrap().status.success());
        task
    };
    // The folder is named by the environment, for the tool as for the mesh.
    let data = folder.path().join("data").display().to_string();
    let import = || command(&["events", "import", &file, "--json"]).env("MESH_SIX_DATA_DIR", &data).output().unwrap();
    let output = import();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let again = import();
    assert_eq!(again.status.code(), Some(1), "only into an empty log");
    assert!(String::from_utf8_lossy(&again.stderr).contains("before a mesh starts"), "what to do is said");
    let mesh = Mesh::start(&[], &[("MESH_SIX_DATA_DIR", &data)]);
    let id = task["taskId"].as_str().unwrap();
    assert_eq!(life(&types(&mesh.json(&["events", "query", "--task", id, "--json"]))), STORY);
    let newest = mesh.json(&["events", "query", "--desc", "--limit", "1", "--json"]);
    assert_eq!(newest[0]["eventType"], "agent.registered", "what comes now follows what was");
    let output = command(&["events", "verify"]).env("MESH_SIX_DATA_DIR", &data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_without_a_model_says_which_one_is_asked() {
    let (database, model) = (TestDatabase::new().await, StubModel::start().await);
    let mesh = Mesh::start(&["--llm-url", model.url()], &[("DATABASE_URL", database.url())]);
    let says = "model: anthropic/claude-sonnet-4-20250514, by default: choose with --model NAME)";
    assert!(mesh.banner.ends_with(says), "{}", mesh.banner);
}
