//! `mesh-six trace`: a task as a waterfall, from the log alone.

use mesh_six_testing::{Reply, StubModel, TestDatabase};

use crate::mesh::Mesh;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_drawn_from_the_log_alone_by_its_id_or_its_trace() {
    let (database, model) = (TestDatabase::new().await, StubModel::start().await);
    model.always(Reply::text("Because of Rayleigh scattering."));
    let args = ["--llm-url", model.url(), "--model", "stub", "--without", "event-logger"];
    let url = database.url();
    let mesh = Mesh::start(&args, &[("DATABASE_URL", url)]);
    let task = mesh.json(&["submit", "Why is the sky blue?", "--json"]).remove(0);
    drop(mesh);
    // A mesh without orchestrator and agents: all that is drawn comes from the log.
    let mesh = Mesh::start(&["--without", "orchestrator", "--without", "simple-agent"], &[("DATABASE_URL", url)]);
    let (id, trace) = (task["taskId"].as_str().unwrap(), task["traceId"].as_str().unwrap());
    let drawn = |id: &str| {
        let output = mesh.run(&["trace", id]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let by_task = drawn(id);
    assert!(!by_task.contains('\u{1b}'), "no colours where there is no terminal: {by_task:?}");
    assert!(by_task.lines().skip(1).all(|line| line.chars().count() <= 100), "{by_task}");
    let mut settings = insta::Settings::clone_current();
    for (pattern, redacted) in [
        (id, "[task]"),
        (trace, "[trace]"),
        (r"\b[0-9]+(\.[0-9])? m?s\b", "[time]"),
        (r"[0-9]+\+[0-9]+ tokens", "[tokens]"),
        // A bar begins and ends where the time wants it.
        (r"[━█░▆]+", "[bar]"),
        (r" {2,}", "  "),
    ] {
        settings.add_filter(pattern, redacted);
    }
    settings.bind(|| insta::assert_snapshot!("drawn", by_task.replace("░█", "██")));
    assert_eq!(drawn(trace), by_task);

    let spans = mesh.json(&["trace", id, "--json"]);
    let kinds: Vec<&str> = spans.iter().map(|span| span["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["task", "attempt", "model"]);
    assert_eq!(spans[2]["usage"]["inputTokens"].as_u64().unwrap(), model.tokens().0);
    assert!(spans.iter().all(|span| span["state"] == "ok" && span["durationMs"].is_i64()), "{spans:?}");

    let unknown = mesh.run(&["trace", "01a206f1-cc8b-7455-b34f-5bc9fe8106a1"]);
    assert_eq!(unknown.status.code(), Some(1));
    let told = String::from_utf8(unknown.stderr).unwrap();
    assert!(told.contains("no event of a task or trace"), "{told}");
}
