//! Traces and metrics of the mesh beside real Dapr.

use std::collections::BTreeSet;

use mesh_six_testing::{
    OtlpReceiver, Prometheus, ReceivedSpan, StubModel, TaskTrace, Trace, is_of_sidecar, rig::RigSpec,
};
use serde_json::{Value, json};

use crate::support::{SOON, all, finished, http, start, submit};

const OURS: TaskTrace<'static> = TaskTrace { agent: "simple-agent", model: "stub" };

/// What the sidecars send too: each message's publish, and its delivery.
const MESSAGES: [(&str, &str, &str); 2] =
    [("tasks.simple-agent", "orchestrator", "simple-agent"), ("task-results", "simple-agent", "orchestrator")];

/// Whether the sidecars' part has been received: each message's publish and delivery is below ours, and the request that
/// brings it to the app is below its delivery.
fn sidecars_are_in(trace: &Trace) -> bool {
    MESSAGES.into_iter().all(|(topic, from, to)| {
        let delivery = format!("pubsub/{topic}");
        let of_a_sidecar = |service: &'static str| {
            trace.spans.iter().filter(move |span| is_of_sidecar(span) && span.service() == service)
        };
        let ours = trace.named(&format!("publish {topic}"));
        let below_ours = |parent: &str| ours.iter().any(|span| span.span_id == parent);
        let published = of_a_sidecar(from).any(|span| span.name != delivery && below_ours(&span.parent_id));
        let delivered = of_a_sidecar(to).any(|span| {
            let mut below = trace.spans.iter().filter(|child| child.parent_id == span.span_id);
            let handled = below.any(|child| !is_of_sidecar(child) && child.service() == to);
            span.name == delivery && below_ours(&span.parent_id) && handled
        });
        published && delivered
    })
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn m1_12_one_trace_over_services_and_sidecars() {
    let (model, receiver) = (StubModel::start().await, OtlpReceiver::start().await);
    let spec = RigSpec { model_url: Some(model.url().to_owned()), otlp: Some(receiver.url().to_owned()), ..all() };
    let names: Vec<String> = spec.instances.iter().map(|instance| instance.name.clone()).collect();
    let spec = names.iter().fold(spec, |spec, name| spec.with_env(name, "OTEL_BSP_SCHEDULE_DELAY", "50"));
    let rig = start(spec.with_env("simple-agent", "LLM_MODEL", "stub")).await;
    let (caller, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let url = rig.url("orchestrator");
    let body = json!({"capability": "general-query", "payload": {"query": "Why?"}, "wait": 60});
    let request = http().post(format!("{url}/api/v1/tasks")).json(&body);
    let answer = request.header("traceparent", format!("00-{caller}-{span}-01")).send().await.unwrap();
    let done: Value = answer.json().await.unwrap();
    assert_eq!((&done["status"], &done["traceId"]), (&"completed".into(), &caller.into()), "{done:#}");

    let whole = |trace: &Trace| OURS.is_whole(trace) && sidecars_are_in(trace);
    let trace = receiver.wait_for_trace(caller, SOON, whole).await;
    assert_eq!(trace.roots()[0].parent_id, span, "the caller's own span is above ours\n{trace}");
    let services: BTreeSet<&str> = trace.spans.iter().map(ReceivedSpan::service).collect();
    assert_eq!(services, BTreeSet::from(["event-logger", "orchestrator", "simple-agent"]), "\n{trace}");
    let instances: BTreeSet<&str> =
        trace.spans.iter().filter_map(|span| span.resource.get("service.instance.id")).map(String::as_str).collect();
    assert!(instances.len() >= 3, "each process has an id of its own: {instances:?}");
    rig.shut_down().await;
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn m1_13_prometheus_reads_services_and_sidecars() {
    let rig = start(all()).await;
    let url = rig.url("orchestrator");
    let address = |url: &str| url.trim_start_matches("http://").to_owned();
    let instances = ["orchestrator", "simple-agent", "event-logger"];
    let mut targets: Vec<(String, String)> = Vec::new();
    for name in instances {
        targets.push((name.to_owned(), address(&rig.url(name))));
        targets.push((format!("{name}-sidecar"), format!("127.0.0.1:{}", rig.sidecar_ports(name).metrics)));
    }
    let targets: Vec<(&str, &str)> = targets.iter().map(|(job, address)| (job.as_str(), address.as_str())).collect();
    let prometheus = Prometheus::scraping(&targets).await;
    for question in ["one", "two", "three"] {
        let accepted = submit(&url, "general-query", question).await;
        assert_eq!(finished(&url, accepted["taskId"].as_str().unwrap()).await["status"], "completed");
    }
    for (query, value) in [
        ("sum(up)", 6.0),
        (r#"mesh_six_tasks_total{job="orchestrator",capability="general-query",outcome="completed"}"#, 3.0),
        (r#"sum(mesh_six_agent_tasks_total{job="simple-agent",outcome="success"})"#, 3.0),
        (r#"sum(gen_ai_client_operation_duration_seconds_count{job="simple-agent"})"#, 3.0),
        (r#"count(count by (app_id) (dapr_http_server_request_count{job=~".*-sidecar"}))"#, 3.0),
        (r#"sum(dapr_component_pubsub_egress_count{app_id="orchestrator",topic="tasks.simple-agent"}) >= bool 3"#, 1.0),
    ] {
        prometheus.wait_for(query, value, SOON).await;
    }
    rig.shut_down().await;
}
