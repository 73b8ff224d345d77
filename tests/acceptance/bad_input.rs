//! Bad input through the front door: 400 or 413 that names the field, and nothing accepted.

use mesh_six_testing::TestDatabase;
use serde_json::{Value, json};

use crate::mesh::{Mesh, http};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused_by_field() {
    let database = TestDatabase::new().await;
    let mesh = Mesh::start(&[], &[("DATABASE_URL", database.url())]);
    let client = http();
    let tasks = format!("{}/api/v1/tasks", mesh.url);
    let good = json!({"capability": "general-query", "payload": {"query": "x"}});
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    for (body, field) in [
        ("{".to_owned(), "body"),
        ("[]".to_owned(), "body"),
        (with("payload", json!("text")), "payload"),
        (with("capability", json!(7)), "capability"),
        (with("capability", json!("")), "capability"),
        (with("priority", json!(11)), "priority"),
        (with("priority", json!("high")), "priority"),
        (with("timeout", json!(0)), "timeout"),
        (with("timeout", json!(901)), "timeout"),
        (with("traceId", json!("zz")), "traceId"),
        (with("payload", json!({"query": "a\u{0}b"})), "payload"),
        (with("prioritty", json!(7)), "prioritty"),
        (json!({"payload": {}}).to_string(), "capability"),
    ] {
        let answer = client.post(&tasks).body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{body}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["error"]["type"], "validation", "{body}: {answer}");
        let named = answer["error"]["field"].as_str().unwrap();
        assert!(named == field || named.starts_with(&format!("{field}.")), "{body}: {answer}");
    }
    let large = with("payload", json!({"query": "x".repeat(2 * 1024 * 1024)}));
    assert_eq!(client.post(&tasks).body(large).send().await.unwrap().status(), 413);
    let large = with("payload", json!({"query": "x".repeat(300 * 1024)}));
    assert_eq!(client.post(&tasks).body(large).send().await.unwrap().status(), 413);
    let answer = client.get(format!("{tasks}/no-uuid")).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let unknown = with("capability", json!("juggling"));
    let answer = client.post(&tasks).body(unknown).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["error"]["type"], &answer["error"]["details"]["scores"]), (&json!("no_agent"), &json!([])));
    // Another site's page must not be able to use a mesh on somebody's laptop.
    let foreign = client.post(&tasks).header("Origin", "https://example.org").body(good.to_string());
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    let rebound = client.post(&tasks).header("Host", "example.org").body(good.to_string());
    assert_eq!(rebound.send().await.unwrap().status(), 403);
    assert_eq!(mesh.json(&["tasks", "--json"]).len(), 0, "nothing was accepted");
    // The same at the terminal: text for people, for programs one object with all that the mesh said.
    let output = mesh.run(&["tasks"]);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b""[..], &b"no tasks yet\n"[..]));
    let output = mesh.run(&["submit", "x", "--capability", "juggling", "--json"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let told: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&told["error"]["type"], &told["error"]["details"]["scores"]), (&json!("no_agent"), &json!([])));
    // Deliveries need the sidecar's token.
    let forged = client.post(format!("{}/_svc/event-logger/events/task-results", mesh.url)).body("{}");
    let status = forged.send().await.unwrap().status();
    assert!(status == 401 || status == 403, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_nobody_gets_in_without_it() {
    let database = TestDatabase::new().await;
    let mesh = Mesh::start(&[], &[("DATABASE_URL", database.url()), ("API_TOKEN", "s3cret")]);
    assert_eq!(mesh.run(&["tasks"]).status.code(), Some(2));
    let output = mesh.run(&["submit", "hello", "--api-token", "s3cret"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for open in ["healthz", "readyz", "version", "metrics"] {
        assert_eq!(http().get(format!("{}/{open}", mesh.url)).send().await.unwrap().status(), 200, "{open}");
    }
}
