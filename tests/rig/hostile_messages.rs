//! Ten thousand messages that nobody should take, straight into the broker and to the apps: none is taken, none ends
//! anything, each is counted and kept with its reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mesh_six_core::{
    names::{EVENT_LOGGER, MAX_MESSAGE_BYTES, ORCHESTRATOR, TASK_EVENTS, TASK_PROGRESS, TASK_RESULTS, task_topic},
    task::TaskRequest,
};
use mesh_six_testing::{
    Reply, StubModel,
    launch::AmqpPublisher,
    malformed::{Generator, Pattern},
    rig::{Rig, RigSpec},
    samples::{self, AGENT, dispatched, envelope, message, note},
    wait_until,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::{
    record::{counted, ends, events, history, rejected, request_of},
    support::{SOON, all, finished, finished_within, http, sql, start, submit},
};

/// Generated ones to each topic.
const MALFORMED: usize = 1_800;
/// Bytes that are no JSON to each topic.
const BYTES: usize = 100;
/// Good messages on a topic that they are not for.
const ASTRAY: usize = 150;
/// Of each kind that is well made and untrue.
const FORGED: usize = 300;
/// Too large, to each topic.
const OVERSIZED: usize = 3;
/// Good ones in between, on each topic where somebody else than a running task may send them.
const GOOD: usize = 300;
/// To each route of an app, without and with a wrong token.
const KNOCKS: usize = 40;
/// All of them are read, written down and counted within this time.
const DONE: Duration = Duration::from_mins(4);

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// It is taken.
    Good,
    /// No app sees it: Dapr puts it among the dead letters as it is.
    Unseen,
    /// All apps that listen refuse it, for a reason of their own.
    Refused,
    /// The same, as too large.
    TooLarge,
    /// Only the event logger refuses it; the orchestrator looks it up and does not take it.
    Unvouched,
}

/// A topic's load.
struct Load {
    topic: String,
    listeners: &'static [&'static str],
    messages: Vec<(Fate, Vec<u8>)>,
}

impl Load {
    /// What is wrong with all topics alike.
    fn new(pattern: &Pattern, listeners: &'static [&'static str], seed: u8) -> Self {
        let mut generator = Generator::new(seed);
        let mut load = Self { topic: pattern.topic.clone(), listeners, messages: Vec::new() };
        for number in 0..MALFORMED {
            let made = generator.next(pattern, number);
            let fate = if made.reaches_apps { Fate::Refused } else { Fate::Unseen };
            load.messages.push((fate, made.text.into_bytes()));
        }
        for number in 0..BYTES {
            load.messages.push((Fate::Unseen, format!("\u{0}{{ {} no JSON {number}", load.topic).into_bytes()));
        }
        for number in 0..OVERSIZED {
            let mut large = named("large", number, pattern.good.clone());
            large["more"] = json!("x".repeat(2 * MAX_MESSAGE_BYTES));
            load.messages.push((Fate::TooLarge, large.to_string().into_bytes()));
        }
        load
    }

    fn add(&mut self, fate: Fate, kind: &str, count: usize, make: impl Fn() -> Value) {
        for number in 0..count {
            self.messages.push((fate, named(kind, number, make()).to_string().into_bytes()));
        }
    }

    fn count(&self, fates: &[Fate]) -> u64 {
        u64::try_from(self.messages.iter().filter(|(fate, _)| fates.contains(fate)).count()).unwrap()
    }

    /// How many dead letters an app writes about this topic.
    fn refusals(&self, app: &str) -> u64 {
        let fates = [Fate::Refused, Fate::TooLarge, Fate::Unvouched];
        self.count(if app == ORCHESTRATOR { &fates[..2] } else { &fates })
    }
}

fn named(kind: &str, number: usize, mut event: Value) -> Value {
    event["id"] = json!(format!("{kind} {number}"));
    event
}

/// All that is sent, in an order that is the same each time. `open` is a request that its agent is at work on.
fn loads(open: &TaskRequest) -> [Load; 4] {
    let requests = task_topic(AGENT);
    let note = || envelope(AGENT, message(TASK_PROGRESS, json!(note(&samples::request(), "good"))));
    let result = || envelope(AGENT, message(TASK_RESULTS, json!(samples::result(&samples::request()))));
    let fact = || envelope(ORCHESTRATOR, message(TASK_EVENTS, json!(dispatched(&samples::request()))));
    let request = || envelope(ORCHESTRATOR, message(&requests, json!(samples::request())));
    let answer = samples::result(&samples::request());
    let mut results = Load::new(&Pattern::result(&answer), &[ORCHESTRATOR, EVENT_LOGGER], 1);
    results.add(Fate::Refused, "astray", ASTRAY, note);
    results.add(Fate::Unvouched, "forged", FORGED, result);
    results.add(Fate::Unvouched, "claimed", FORGED, || {
        envelope(AGENT, message(TASK_RESULTS, json!(samples::result(open))))
    });
    let mut notes = Load::new(&Pattern::note(), &[EVENT_LOGGER], 2);
    notes.add(Fate::Refused, "astray", ASTRAY, result);
    notes.add(Fate::Good, "good", GOOD, note);
    let mut facts = Load::new(&Pattern::fact(), &[EVENT_LOGGER], 3);
    facts.add(Fate::Refused, "astray", ASTRAY, request);
    facts.add(Fate::Refused, "forged", FORGED, || {
        envelope(AGENT, message(TASK_EVENTS, json!(dispatched(&samples::request()))))
    });
    facts.add(Fate::Good, "good", GOOD, fact);
    let mut tasks = Load::new(&Pattern::request(), &[AGENT], 4);
    tasks.add(Fate::Refused, "astray", ASTRAY, note);
    tasks.add(Fate::Refused, "forged", FORGED, request);
    let mut loads = [results, notes, facts, tasks];
    let mut random = fastrand::Rng::with_seed(5);
    for load in &mut loads {
        random.shuffle(&mut load.messages);
    }
    loads
}

/// Each is in the broker when this returns.
async fn publish(rig: &Rig, load: &Load) {
    let mut publisher = AmqpPublisher::new(rig.broker_url());
    for part in load.messages.chunks(100) {
        let bodies: Vec<Vec<u8>> = part.iter().map(|(_, body)| body.clone()).collect();
        let confirmed = publisher.publish(&load.topic, &bodies, SOON).await;
        assert!(confirmed.iter().all(|confirmed| *confirmed), "the broker has all of {}", load.topic);
    }
}

/// Posts to each route of each app as if it were the sidecar, without its token.
async fn knock(rig: &Rig, loads: &[Load]) {
    let (http, mut requests) = (http(), Vec::new());
    let routes = [
        (ORCHESTRATOR, "/results", 0),
        (EVENT_LOGGER, "/events/task-results", 0),
        (EVENT_LOGGER, "/events/task-progress", 1),
        (EVENT_LOGGER, "/events/task-events", 2),
        (EVENT_LOGGER, "/events/dead-letter", 0),
        (AGENT, "/tasks", 3),
    ];
    for (app, route, load) in routes {
        let small = loads[load].messages.iter().filter(|(fate, _)| *fate != Fate::TooLarge);
        for (number, (_, body)) in small.take(KNOCKS).enumerate() {
            let request = http.post(format!("{}{route}", rig.url(app))).body(body.clone());
            requests.push(match number % 4 {
                0 => (403, request.header("dapr-api-token", "a guess")),
                1 => (403, request.header("dapr-api-token", rig.api_token())),
                2 => (401, request.bearer_auth(rig.app_token())),
                _ => (401, request),
            });
        }
    }
    for app in [ORCHESTRATOR, EVENT_LOGGER, AGENT] {
        requests.push((401, http.get(format!("{}/dapr/subscribe", rig.url(app)))));
    }
    let mut wrong = Vec::new();
    for (wanted, request) in requests {
        let got = request.send().await.unwrap().status();
        if got != wanted {
            wrong.push((wanted, got));
        }
    }
    assert_eq!(wrong, []);
}

/// A metric of one app and one topic.
async fn of_topic(rig: &Rig, app: &str, metric: &str, topic: &str, more: &[&str]) -> u64 {
    let topic = format!("topic=\"{topic}\"");
    let labels: Vec<&str> = [&*topic].iter().chain(more).copied().collect();
    counted(rig, app, metric, &labels).await
}

/// How often messages of a topic failed in an app, by the first word of their ids where those tell their kind.
async fn letters(sql: &Client, app: &str, topic: &str) -> BTreeMap<String, u64> {
    let query = "SELECT CASE WHEN split_part(id, ' ', 1) IN ('large', 'astray', 'forged', 'claimed', 'good') \
        THEN split_part(id, ' ', 1) ELSE 'malformed' END, sum(tries) FROM dead_letters \
        WHERE app_id = $1 AND topic = $2 AND state = 'waiting' GROUP BY 1";
    let rows = sql.query(query, &[&app, &topic]).await.unwrap();
    rows.iter().map(|row| (row.get(0), u64::try_from(row.get::<_, i64>(1)).unwrap())).collect()
}

/// The reasons of an app's letters with ids of this kind.
async fn reasons(sql: &Client, app: &str, topic: &str, kind: &str) -> Vec<String> {
    let query =
        "SELECT DISTINCT reason FROM dead_letters WHERE app_id = $1 AND topic = $2 AND id LIKE $3 || ' %' ORDER BY 1";
    sql.query(query, &[&app, &topic, &kind]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn count(sql: &Client, query: &str) -> u64 {
    u64::try_from(sql.query_one(query, &[]).await.unwrap().get::<_, i64>(0)).unwrap()
}

/// Each part's process.
async fn processes(rig: &Rig) -> Vec<(String, Option<u32>)> {
    let mut processes = Vec::new();
    for part in rig.parts() {
        assert!(rig.is_running(&part).await.unwrap(), "{part} has ended:\n{}", rig.log(&part).unwrap());
        processes.push((part.clone(), rig.pid(&part).await.unwrap()));
    }
    processes
}

/// What apps refused is among their dead letters, by kind, and counted.
async fn refused_are_kept(rig: &Rig, sql: &Client, loads: &[Load]) {
    for load in loads {
        let topic = &load.topic;
        for app in load.listeners {
            let kept = letters(sql, app, topic).await;
            assert_eq!(kept.values().sum::<u64>(), load.refusals(app), "{app}, {topic}: {kept:?}");
            assert_eq!(kept.get("large"), Some(&u64::try_from(OVERSIZED).unwrap()), "{app}, {topic}");
            assert_eq!(kept.get("astray"), Some(&u64::try_from(ASTRAY).unwrap()), "{app}, {topic}");
            assert_eq!(kept.get("good"), None, "{app}, {topic}");
            let counted = of_topic(rig, app, "mesh_six_messages_refused_total", topic, &[]).await;
            assert_eq!(counted, load.refusals(app), "{app}, {topic}");
            let large = "body: a message has at most 524288 bytes with its envelope";
            assert_eq!(reasons(sql, app, topic, "large").await, [large], "{app}, {topic}");
        }
    }
    let nobody = "nobody asked this agent for that attempt";
    for (app, topic, kind, reason) in [
        (EVENT_LOGGER, TASK_RESULTS, "forged", format!("agentId: {nobody}")),
        (EVENT_LOGGER, TASK_RESULTS, "claimed", "resultHash: the agent's inbox holds no answer yet".to_owned()),
        (EVENT_LOGGER, TASK_EVENTS, "forged", "source: only the orchestrator's facts come on this topic".to_owned()),
        (AGENT, &task_topic(AGENT), "forged", format!("id: {nobody}")),
    ] {
        let kept = letters(sql, app, topic).await;
        assert_eq!(kept.get(kind), Some(&u64::try_from(FORGED).unwrap()), "{app}, {topic}, {kind}");
        assert_eq!(reasons(sql, app, topic, kind).await, [reason], "{app}, {topic}, {kind}");
    }
    let no_field = "SELECT count(*) FROM dead_letters WHERE app_id <> 'unknown' AND reason NOT LIKE '%: %'";
    assert_eq!(count(sql, no_field).await, 0, "each reason names a field");
}

/// What no app saw is there as it came, once, whoever's sidecar gave it up.
async fn unseen_are_kept(rig: &Rig, sql: &Client, loads: &[Load]) {
    let unseen: BTreeSet<&[u8]> = loads
        .iter()
        .flat_map(|load| &load.messages)
        .filter(|(fate, _)| *fate == Fate::Unseen)
        .map(|(_, body)| &**body)
        .collect();
    let given_up: u64 =
        loads.iter().map(|load| load.count(&[Fate::Unseen]) * u64::try_from(load.listeners.len()).unwrap()).sum();
    wait_until(DONE, async || {
        of_topic(rig, EVENT_LOGGER, "mesh_six_messages_received_total", "dead-letter", &["status=\"success\""]).await
            >= given_up
    })
    .await;
    let kept = sql.query("SELECT envelope FROM dead_letters WHERE app_id = 'unknown'", &[]).await.unwrap();
    let kept: BTreeSet<&[u8]> = kept.iter().map(|row| row.get(0)).collect();
    assert_eq!((kept.difference(&unseen).count(), unseen.difference(&kept).count()), (0, 0));
    let unseen = u64::try_from(unseen.len()).unwrap();
    assert_eq!(count(sql, "SELECT count(*) FROM dead_letters WHERE app_id = 'unknown'").await, unseen);
    let dead = of_topic(rig, EVENT_LOGGER, "mesh_six_messages_received_total", "dead-letter", &[]).await;
    assert_eq!(dead, given_up, "the topic of dead letters carries what no app saw, and nothing else");
    let all = count(sql, "SELECT count(*) FROM dead_letters").await;
    wait_until(SOON, async || {
        let unknown = ["app=\"unknown\""];
        counted(rig, EVENT_LOGGER, "mesh_six_dead_letters_waiting", &unknown).await == unseen
            && counted(rig, EVENT_LOGGER, "mesh_six_dead_letters_waiting", &[]).await == all
    })
    .await;
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn ten_thousand_messages_that_nobody_should_take_are_refused_counted_and_kept() {
    let model = StubModel::start().await;
    let rig = start(RigSpec { model_url: Some(model.url().to_owned()), ..all() }).await;
    let (url, sql) = (rig.url(ORCHESTRATOR), sql(&rig).await);
    let before = processes(&rig).await;
    let (gate, open) = watch::channel(false);
    model.script([Reply::text("the real answer").when(open)]);
    let task = submit(&url, "general-query", "Who answers?").await["taskId"].as_str().unwrap().to_owned();
    let loads = loads(&request_of(&sql, &task).await);
    let sent: usize = loads.iter().map(|load| load.messages.len()).sum();
    eprintln!("{sent} messages, {} of them good", 2 * GOOD);

    let work = async {
        for number in 0..10 {
            let accepted = submit(&url, "general-query", &format!("Meanwhile, {number}?")).await;
            let ended = finished_within(&url, accepted["taskId"].as_str().unwrap(), DONE).await;
            assert_eq!(ended["status"], "completed", "{ended:#}");
        }
    };
    let [results, notes, facts, tasks] = &loads;
    tokio::join!(
        publish(&rig, results),
        publish(&rig, notes),
        publish(&rig, facts),
        publish(&rig, tasks),
        knock(&rig, &loads),
        work
    );

    let real = 11;
    wait_until(DONE, async || {
        for load in &loads {
            for app in load.listeners {
                let refused =
                    of_topic(&rig, app, "mesh_six_messages_received_total", &load.topic, &["status=\"drop\""]).await;
                if refused < load.refusals(app) {
                    return false;
                }
            }
        }
        true
    })
    .await;
    gate.send(true).unwrap();
    let ended = finished_within(&url, &task, DONE).await;
    assert_eq!(ended["result"]["response"], "the real answer", "{ended:#}");
    assert_eq!(processes(&rig).await, before, "nothing has ended");

    refused_are_kept(&rig, &sql, &loads).await;
    for (verdict, expected) in [("unknown_task", FORGED), ("forged", FORGED)] {
        let label = format!("verdict=\"{verdict}\"");
        let counted = counted(&rig, ORCHESTRATOR, "mesh_six_task_results_total", &[&label]).await;
        assert_eq!(counted, u64::try_from(expected).unwrap(), "{verdict}");
    }
    assert_eq!(rejected(&sql, &task).await, [(AGENT.to_owned(), "forged".to_owned())]);

    unseen_are_kept(&rig, &sql, &loads).await;

    // Nothing of it became an event, a task or work; the good ones did.
    let strangers = "SELECT count(*) FROM mesh_six_events e WHERE task_id IS NOT NULL \
        AND NOT EXISTS (SELECT FROM orchestrator_tasks t WHERE t.task_id = e.task_id)";
    let good = u64::try_from(2 * GOOD).unwrap();
    wait_until(DONE, async || count(&sql, strangers).await >= good).await;
    assert_eq!(count(&sql, strangers).await, good);
    assert_eq!(count(&sql, "SELECT count(*) FROM orchestrator_tasks").await, real);
    assert_eq!(count(&sql, "SELECT count(*) FROM agent_inbox").await, real);
    assert_eq!(u64::try_from(model.calls().len()).unwrap(), real);
    assert_eq!(
        (ends(&sql, &task).await, events(&sql, &task, "task.result").await, history(&sql, &task).await.len()),
        (1, 1, 1)
    );
    let accepted = submit(&url, "general-query", "And now?").await;
    assert_eq!(finished(&url, accepted["taskId"].as_str().unwrap()).await["status"], "completed");
    rig.shut_down().await;
}
