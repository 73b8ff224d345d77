//! Generated malformed messages: none is stored as an event, none ends the service, each is counted.

use futures_util::future::join_all;
use mesh_six_core::names::{TASK_EVENTS, TASK_PROGRESS, TASK_RESULTS};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use crate::{
    ask,
    rig::{Rig, TOKEN, fill_inbox},
    samples::{AGENT, dispatched, envelope, message, note, request, result},
};

/// Each comes alone and in a batch.
const CASES: usize = 5_001;
/// Messages that are under way at once, and entries of a batch.
const AT_ONCE: usize = 64;

/// What the counter of refused messages says, whatever the topic and cause.
pub(crate) fn refused(metrics: &PrometheusHandle) -> usize {
    let text = metrics.render();
    let lines = text.lines().filter(|l| l.starts_with("mesh_six_messages_refused_total{"));
    lines.map(|l| l.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

/// A topic's route, a good message, and the members that its content cannot do without.
struct Topic {
    route: &'static str,
    good: Value,
    needed: &'static [&'static str],
}

#[derive(Clone, Debug)]
enum Damage {
    /// Not even an object.
    Instead(Value),
    /// A member of the envelope that must be a text.
    Envelope(&'static str, Option<Value>),
    /// Content that is no object.
    Content(Value),
    /// A member of the content (counted modulo their number).
    Member(usize, Option<Value>),
    /// A member whose text is JSON, but not such that a parser of ours takes it.
    Text(&'static str),
}

/// Half of a surrogate pair, a number that no type holds, and text that is deeper than it is ever meant.
fn texts() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["\"\\ud800\"", "[\"\\udc00\\ud800\"]", "1e999", "-2e400", "DEEP"])
}

/// What no member of ours takes: each has another type, or is no such text.
fn wrong() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<f64>().prop_filter("JSON has no others", |f| f.is_finite() && f.fract() != 0.0).prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..5).prop_map(Value::from),
        prop::collection::btree_map(".{0,5}", any::<bool>(), 0..3).prop_map(|map| json!(map)),
        Just(json!("\u{0}")),
        Just(json!("")),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let scalar = || {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            prop::collection::vec(".{0,5}", 0..6).prop_map(|list| json!(list)),
        ]
    };
    let no_text = || {
        prop::option::of(prop_oneof![
            any::<i64>().prop_map(Value::from),
            prop::collection::vec(any::<bool>(), 0..3).prop_map(|list| json!(list)),
            Just(json!({})),
            Just(json!("")),
        ])
    };
    prop_oneof![
        1 => scalar().prop_map(Damage::Instead),
        2 => (prop::sample::select(vec!["id", "source"]), no_text()).prop_map(|(name, value)| Damage::Envelope(name, value)),
        1 => scalar().prop_map(Damage::Content),
        6 => (any::<usize>(), prop::option::of(wrong())).prop_map(|(at, value)| Damage::Member(at, value)),
        1 => texts().prop_map(Damage::Text),
    ]
}

fn change(object: &mut Value, name: &str, value: Option<Value>) {
    match value {
        Some(value) => object[name] = value,
        None => drop(object.as_object_mut().unwrap().remove(name)),
    }
}

fn damaged(topic: &Topic, number: usize, damage: Damage) -> String {
    let mut event = topic.good.clone();
    event["id"] = json!(format!("case {number}"));
    match damage {
        Damage::Instead(value) => return value.to_string(),
        Damage::Envelope(name, value) => change(&mut event, name, value),
        Damage::Content(value) => event["data"] = value,
        Damage::Member(at, value) => change(&mut event["data"], topic.needed[at % topic.needed.len()], value),
        Damage::Text(text) => {
            let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
            event["data"][topic.needed[0]] = json!("HERE");
            return event.to_string().replace("\"HERE\"", if text == "DEEP" { &deep } else { text });
        }
    }
    event.to_string()
}

#[tokio::test]
async fn e_5_no_malformed_message_is_stored_crashes_or_goes_uncounted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counted_here = metrics::set_default_local_recorder(&recorder);
    let counted = recorder.handle();
    let rig = Rig::start().await;
    let answer = result(&request());
    fill_inbox(&rig.database.client().await, std::slice::from_ref(&answer), true).await;
    let topics = [
        Topic {
            route: "/events/task-results",
            good: envelope(AGENT, message(TASK_RESULTS, json!(answer))),
            needed: &[
                "taskId",
                "agentId",
                "capability",
                "traceId",
                "success",
                "resultHash",
                "durationMs",
                "completedAt",
            ],
        },
        Topic {
            route: "/events/task-progress",
            good: envelope(AGENT, message(TASK_PROGRESS, json!(note(&request(), "good")))),
            needed: &["taskId", "agentId", "traceId", "status"],
        },
        Topic {
            route: "/events/task-events",
            good: envelope("orchestrator", message(TASK_EVENTS, json!(dispatched(&request())))),
            needed: &["traceId", "agentId", "eventType", "idempotencyKey"],
        },
    ];
    let mut runner =
        TestRunner::new_with_rng(ProptestConfig::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let strategy = damage();
    for topic in &topics {
        let cases: Vec<String> = (0..CASES / topics.len())
            .map(|number| damaged(topic, number, strategy.new_tree(&mut runner).unwrap().current()))
            .collect();
        for part in cases.chunks(AT_ONCE) {
            let alone = part.iter().map(|case| ask::post(rig.router(), topic.route, TOKEN, case.clone()));
            for (case, answer) in part.iter().zip(join_all(alone).await) {
                assert_eq!(answer.json(), json!({"status": "DROP"}), "{case}");
            }
            let entries: Vec<&str> = part.iter().map(String::as_str).collect();
            let answer = ask::post(rig.router(), topic.route, TOKEN, ask::bulk_of_texts(&entries)).await;
            for (case, status) in part.iter().zip(ask::statuses(&answer)) {
                assert_eq!(status, "DROP", "{case}");
            }
        }
    }
    assert_eq!(rig.events().await.len(), 0);
    assert_eq!(refused(&counted), 2 * CASES);
    let letters = rig.letters().await;
    assert_eq!(usize::try_from(letters.iter().map(|l| l.tries).sum::<i32>()).unwrap(), 2 * CASES);
    assert!(letters.iter().all(|l| l.reason.contains(": ")), "each reason names a field");
    // The undamaged ones are good.
    for topic in &topics {
        assert_eq!(rig.deliver(topic.route, std::slice::from_ref(&topic.good)).await, ["SUCCESS"]);
    }
    assert_eq!(rig.events().await.len(), topics.len());
}
