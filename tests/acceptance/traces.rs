//! One trace from the caller's request to the end of the task, whatever rows and messages it goes through.

use std::time::Duration;

use mesh_six_testing::{OtlpReceiver, Reply, StubModel, TaskTrace, TestDatabase};
use serde_json::{Value, json};

use crate::mesh::{Mesh, http};

const LONG: Duration = Duration::from_mins(1);
const OURS: TaskTrace<'static> = TaskTrace { agent: "simple-agent", model: "stub" };

fn traced(database: &TestDatabase, model: &StubModel, receiver: &OtlpReceiver) -> Mesh {
    let envs = [
        ("DATABASE_URL", database.url()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    Mesh::start(&["--llm-url", model.url(), "--model", "stub"], &envs)
}

/// A task at its end.
async fn task(mesh: &Mesh, traceparent: Option<&str>) -> Value {
    let body = json!({"capability": "general-query", "payload": {"query": "Why?"}, "wait": 60});
    let mut request = http().post(format!("{}/api/v1/tasks", mesh.url)).json(&body);
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_12_one_trace_from_the_callers_span_to_the_end_of_the_task() {
    let (database, model) = (TestDatabase::new().await, StubModel::start().await);
    let receiver = OtlpReceiver::start().await;
    let mesh = traced(&database, &model, &receiver);
    let (caller, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let done = task(&mesh, Some(&format!("00-{caller}-{span}-01"))).await;
    assert_eq!((&done["status"], &done["traceId"]), (&"completed".into(), &caller.into()));

    let trace = receiver.wait_for_trace(caller, LONG, |trace| OURS.is_whole(trace)).await;
    let root = trace.roots()[0];
    assert_eq!((root.name.as_str(), root.kind.as_str()), ("POST /api/v1/tasks", "server"), "\n{trace}");
    assert_eq!(root.parent_id, span, "the caller's own span is above ours");
    for sent in &trace.spans {
        assert_eq!(
            (sent.service(), sent.resource["service.version"].as_str()),
            ("mesh-six", env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(sent.resource["service.instance.id"], root.resource["service.instance.id"]);
        assert!(sent.end >= sent.start && !sent.failed, "{sent:?}");
    }

    let chat = trace.only("chat stub");
    let (input, output) = model.tokens();
    for (name, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "stub"),
        ("gen_ai.response.model", "stub"),
        ("gen_ai.response.id", "chatcmpl-1"),
        ("gen_ai.response.finish_reasons", "stop"),
        ("gen_ai.usage.input_tokens", &input.to_string()),
        ("gen_ai.usage.output_tokens", &output.to_string()),
        ("gen_ai.agent.name", "simple-agent"),
        ("server.address", "127.0.0.1"),
        ("task.id", done["taskId"].as_str().unwrap()),
    ] {
        assert_eq!(chat.attribute(name), value, "{name}");
    }
    assert_eq!(chat.kind, "client");
    let passed_on = model.calls()[0].headers["traceparent"].to_str().unwrap().to_owned();
    assert_eq!(passed_on, format!("00-{caller}-{}-01", chat.span_id), "the model's own spans go below ours");

    let agent = trace.only("invoke_agent simple-agent");
    assert_eq!(
        (agent.attribute("gen_ai.operation.name"), agent.attribute("gen_ai.agent.id")),
        ("invoke_agent", "simple-agent")
    );
    assert_eq!(trace.only("publish tasks.simple-agent").kind, "producer");
    assert_eq!(trace.only("process tasks.simple-agent").kind, "consumer");
    let accepted = trace.named("accept_result");
    assert!(accepted.iter().any(|span| span.attribute("task.verdict") == "accepted"), "\n{trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_12_a_caller_without_a_trace_gets_one_and_a_caller_who_does_not_sample_gets_none() {
    let (database, model) = (TestDatabase::new().await, StubModel::start().await);
    let receiver = OtlpReceiver::start().await;
    let mesh = traced(&database, &model, &receiver);
    let quiet = "4bf92f3577b34da6a3ce929d0e0e4737";
    let done = task(&mesh, Some(&format!("00-{quiet}-00f067aa0ba902b7-00"))).await;
    assert_eq!((&done["status"], &done["traceId"]), (&"completed".into(), &quiet.into()));
    let passed_on = model.calls()[0].headers["traceparent"].to_str().unwrap().to_owned();
    assert!(passed_on.starts_with(&format!("00-{quiet}-")) && passed_on.ends_with("-00"), "{passed_on}");

    let done = task(&mesh, None).await;
    let trace = receiver.wait_for_trace(done["traceId"].as_str().unwrap(), LONG, |trace| OURS.is_whole(trace)).await;
    assert_eq!(trace.roots()[0].parent_id, "", "\n{trace}");
    // Spans are sent in the order in which they end, so whatever was sampled of the first task is here by now.
    assert_eq!(receiver.trace(quiet).spans, [], "the caller said that it is not to be sampled");
    http().get(format!("{}/healthz", mesh.url)).send().await.unwrap();
    drop(mesh);
    let of_a_probe = receiver.spans().into_iter().find(|span| span.name == "GET /healthz");
    assert_eq!(of_a_probe, None, "probes are not worth a trace");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_and_each_failed_request_is_in_the_tasks_trace() {
    let (database, model) = (TestDatabase::new().await, StubModel::start().await);
    let receiver = OtlpReceiver::start().await;
    let mesh = traced(&database, &model, &receiver);
    model.script([Reply::status(400), Reply::text("at last")]);
    let done = task(&mesh, None).await;
    assert_eq!((&done["status"], &done["attempts"]), (&"completed".into(), &2.into()), "{done}");
    let trace = receiver.wait_for_trace(done["traceId"].as_str().unwrap(), LONG, |trace| OURS.is_whole(trace)).await;
    let [first, second] = trace.named("invoke_agent simple-agent")[..] else { panic!("two attempts:\n{trace}") };
    assert_eq!([first, second].map(|span| (span.attribute("task.attempt"), span.failed)), [("1", true), ("2", false)]);
    let [refused, answered] = trace.named("chat stub")[..] else { panic!("two requests:\n{trace}") };
    assert_eq!((&refused.parent_id, refused.failed), (&first.span_id, true), "\n{trace}");
    assert_eq!((&answered.parent_id, answered.failed), (&second.span_id, false), "\n{trace}");
}
