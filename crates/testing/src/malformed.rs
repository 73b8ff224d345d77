//! Generated messages that nobody should take: each a good one with one thing wrong.

use mesh_six_core::{
    names::{ORCHESTRATOR, TASK_EVENTS, TASK_PROGRESS, TASK_RESULTS, task_topic},
    task::TaskResult,
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use crate::samples::{AGENT, dispatched, envelope, message, note, request};

/// A topic, a good message, and the members that its content cannot do without.
pub struct Pattern {
    /// The topic.
    pub topic: String,
    /// A message that is taken.
    pub good: Value,
    /// Members of its content whose loss or change is noticed.
    pub needed: &'static [&'static str],
}

impl Pattern {
    /// An agent's answer.
    pub fn result(answer: &TaskResult) -> Self {
        let needed = &["taskId", "agentId", "capability", "success", "resultHash", "durationMs", "completedAt"];
        Self { good: envelope(AGENT, message(TASK_RESULTS, json!(answer))), topic: TASK_RESULTS.to_owned(), needed }
    }

    /// An agent's note.
    pub fn note() -> Self {
        let good = envelope(AGENT, message(TASK_PROGRESS, json!(note(&request(), "good"))));
        Self { good, topic: TASK_PROGRESS.to_owned(), needed: &["taskId", "agentId", "status"] }
    }

    /// A fact of the orchestrator's.
    pub fn fact() -> Self {
        let good = envelope(ORCHESTRATOR, message(TASK_EVENTS, json!(dispatched(&request()))));
        let needed = &["traceId", "agentId", "eventType", "idempotencyKey"];
        Self { good, topic: TASK_EVENTS.to_owned(), needed }
    }

    /// A request to the agent.
    pub fn request() -> Self {
        let topic = task_topic(AGENT);
        let good = envelope(ORCHESTRATOR, message(&topic, json!(request())));
        Self { good, topic, needed: &["id", "capability", "createdAt"] }
    }
}

/// A message to be refused.
pub struct Malformed {
    /// Its bytes, which are JSON.
    pub text: String,
    /// Whether Dapr reads it as an event, and so brings it to an app at all. It takes null for one without members.
    pub reaches_apps: bool,
}

/// Makes them, the same for the same seed.
pub struct Generator {
    runner: TestRunner,
    damage: BoxedStrategy<Damage>,
}

impl Generator {
    /// From this seed.
    pub fn new(seed: u8) -> Self {
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        Self { runner: TestRunner::new_with_rng(ProptestConfig::default(), random), damage: damage().boxed() }
    }

    /// The next one; where its id is not what is wrong with it, that is `case {number}`.
    pub fn next(&mut self, pattern: &Pattern, number: usize) -> Malformed {
        let made = self.damage.new_tree(&mut self.runner);
        let damage = made.unwrap_or_else(|error| panic!("nothing was generated: {error}")).current();
        let reaches_apps = match &damage {
            Damage::Instead(value) => value.is_null(),
            Damage::Text(text) => !OUT_OF_RANGE.contains(text),
            _ => true,
        };
        Malformed { text: damaged(pattern, number, damage), reaches_apps }
    }
}

/// Numbers that no type holds.
const OUT_OF_RANGE: [&str; 2] = ["1e999", "-2e400"];

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
    prop::sample::select(vec!["\"\\ud800\"", "[\"\\udc00\\ud800\"]", OUT_OF_RANGE[0], OUT_OF_RANGE[1], "DEEP"])
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
    match (value, object.as_object_mut()) {
        (Some(value), _) => object[name] = value,
        (None, Some(members)) => drop(members.remove(name)),
        (None, None) => {}
    }
}

fn damaged(pattern: &Pattern, number: usize, damage: Damage) -> String {
    let mut event = pattern.good.clone();
    event["id"] = json!(format!("case {number}"));
    match damage {
        Damage::Instead(value) => return value.to_string(),
        Damage::Envelope(name, value) => change(&mut event, name, value),
        Damage::Content(value) => event["data"] = value,
        Damage::Member(at, value) => change(&mut event["data"], pattern.needed[at % pattern.needed.len()], value),
        Damage::Text(text) => {
            let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
            event["data"][pattern.needed[0]] = json!("HERE");
            return event.to_string().replace("\"HERE\"", if text == "DEEP" { &deep } else { text });
        }
    }
    event.to_string()
}
