use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use mesh_six_core::{
    agent::{AgentCapability, AgentRegistration, AgentStatus},
    time,
};
use mesh_six_runtime::{Registry, RegistryError};
use serde_json::json;
use tokio::task::JoinSet;
use tracing_subscriber::fmt::MakeWriter;

use crate::memory::MemoryStore;

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn agent(app_id: &str) -> AgentRegistration {
    AgentRegistration {
        name: "An Agent".to_owned(),
        app_id: app_id.to_owned(),
        capabilities: vec![AgentCapability::new("general-query", 0.8)],
        status: AgentStatus::Online,
        health_checks: BTreeMap::new(),
        last_heartbeat: String::new(),
        metadata: None,
    }
}

fn empty() -> (Arc<MemoryStore>, Registry) {
    let store = Arc::new(MemoryStore::default());
    (store.clone(), Registry::new(store))
}

/// Makes the stored heartbeat of `app_id` `seconds` old.
fn age(store: &MemoryStore, app_id: &str, seconds: i64) {
    let then = time::format(time::now() - chrono::Duration::seconds(seconds));
    store.values().get_mut(&format!("agent:{app_id}")).unwrap().0["lastHeartbeat"] = then.into();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn m1_1_twenty_agents_that_register_at_once_are_all_there_and_in_the_index_once() {
    let (store, registry) = empty();
    let mut all = JoinSet::new();
    for n in 0..20 {
        let registry = registry.clone();
        all.spawn(async move { registry.register(&agent(&format!("agent-{n}"))).await.unwrap() });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    assert_eq!(registry.list_all().await.unwrap().len(), 20);
    registry.register(&agent("agent-7")).await.unwrap();
    let index = store.values()["agent:_index"].0.clone();
    let mut names: Vec<String> = serde_json::from_value(index).unwrap();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20);
}

#[tokio::test]
async fn m1_1_a_registration_is_what_the_agent_said_with_a_fresh_heartbeat_and_a_time_to_live() {
    let (store, registry) = empty();
    registry.register(&agent("simple-agent")).await.unwrap();
    let found = registry.get("simple-agent").await.unwrap().unwrap();
    assert_eq!(found.status, AgentStatus::Online);
    assert_eq!(found.capability("general-query"), Some(&AgentCapability::new("general-query", 0.8)));
    assert!(found.last_heartbeat.ends_with('Z'));
    let values = store.values();
    assert_eq!(values["agent:simple-agent"].2, Some(Duration::from_mins(3)));
    assert_eq!((&values["agent:_index"].0, values["agent:_index"].2), (&json!(["simple-agent"]), None));
}

#[tokio::test]
async fn m1_1_a_heartbeat_advances_and_keeps_the_status_that_the_agent_gives_itself() {
    let (store, registry) = empty();
    let mut own = agent("a");
    own.status = AgentStatus::Degraded;
    registry.register(&own).await.unwrap();
    age(&store, "a", 50);
    let before = registry.get("a").await.unwrap().unwrap();
    registry.heartbeat(&own).await.unwrap();
    let after = registry.get("a").await.unwrap().unwrap();
    assert!(after.last_heartbeat > before.last_heartbeat);
    assert_eq!(after.status, AgentStatus::Degraded);
}

#[tokio::test]
async fn a_store_that_lost_everything_is_filled_again_by_heartbeats() {
    let (store, registry) = empty();
    for name in ["a", "b"] {
        registry.register(&agent(name)).await.unwrap();
    }
    store.values().clear();
    assert!(registry.list_all().await.unwrap().is_empty());
    registry.heartbeat(&agent("b")).await.unwrap();
    registry.heartbeat(&agent("a")).await.unwrap();
    let names: Vec<String> = registry.list_all().await.unwrap().into_iter().map(|a| a.app_id).collect();
    assert_eq!(names, ["b", "a"]);
}

#[tokio::test]
async fn status_follows_the_age_of_the_heartbeat() {
    let (store, registry) = empty();
    for (name, seconds) in [("fresh", 30), ("late", 61), ("gone", 121)] {
        registry.register(&agent(name)).await.unwrap();
        age(&store, name, seconds);
    }
    registry.register(&agent("broken")).await.unwrap();
    store.values().get_mut("agent:broken").unwrap().0["lastHeartbeat"] = "yesterday".into();
    let found: Vec<_> = registry.list_all().await.unwrap().into_iter().map(|a| (a.app_id, a.status)).collect();
    let expected = [
        ("fresh", AgentStatus::Online),
        ("late", AgentStatus::Degraded),
        ("gone", AgentStatus::Offline),
        ("broken", AgentStatus::Offline),
    ];
    assert_eq!(found, expected.map(|(name, status)| (name.to_owned(), status)));
    let able = registry.find_by_capability("general-query").await.unwrap();
    assert_eq!(able.iter().map(|a| a.app_id.as_str()).collect::<Vec<_>>(), ["fresh", "late"]);
    assert!(registry.find_by_capability("deploy-service").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_missing_or_unreadable_is_left_out() {
    let (store, registry) = empty();
    for name in ["a", "b", "c"] {
        registry.register(&agent(name)).await.unwrap();
    }
    store.values().remove("agent:a");
    store.values().get_mut("agent:b").unwrap().0 = json!("not a record");
    assert_eq!(registry.list_all().await.unwrap().len(), 1);
    assert_eq!(registry.get("nobody").await.unwrap(), None);
    store.values().get_mut("agent:_index").unwrap().0 = json!({ "not": "a list" });
    assert!(registry.list_all().await.unwrap().is_empty());
    registry.heartbeat(&agent("c")).await.unwrap();
    assert_eq!(registry.list_all().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_record_that_would_not_be_registered_is_left_out_and_the_warning_names_the_field() {
    let (store, registry) = empty();
    for name in ["well", "heavy", "another"] {
        registry.register(&agent(name)).await.unwrap();
    }
    store.values().get_mut("agent:heavy").unwrap().0["capabilities"][0]["weight"] = json!(1e6);
    store.values().get_mut("agent:another").unwrap().0["appId"] = json!("well");
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let able = registry.find_by_capability("general-query").await.unwrap();
    assert_eq!(able.iter().map(|a| a.app_id.as_str()).collect::<Vec<_>>(), ["well"]);
    for (name, field) in [("heavy", "capabilities[0].weight"), ("another", "appId")] {
        assert_eq!(registry.get(name).await.unwrap(), None, "{name}");
        registry.mark_offline(name).await.unwrap();
        assert_eq!(store.values()[&format!("agent:{name}")].0["status"], "online", "{name} is left as it is");
        let named = format!("agent.id=\"{name}\" field=\"{field}\"");
        assert_eq!(log.text().matches(&named).count(), 3, "{}", log.text());
    }
    drop(guard);
    registry.heartbeat(&agent("heavy")).await.unwrap();
    assert!(registry.get("heavy").await.unwrap().is_some(), "the next heartbeat mends it");
}

#[tokio::test]
async fn m1_1_an_agent_that_ends_is_offline_and_one_that_leaves_is_gone() {
    let (store, registry) = empty();
    for name in ["a", "b"] {
        registry.register(&agent(name)).await.unwrap();
    }
    registry.mark_offline("a").await.unwrap();
    registry.mark_offline("nobody").await.unwrap();
    assert_eq!(registry.get("a").await.unwrap().unwrap().status, AgentStatus::Offline);
    registry.deregister("a").await.unwrap();
    registry.deregister("nobody").await.unwrap();
    assert_eq!(registry.get("a").await.unwrap(), None);
    assert_eq!(store.values()["agent:_index"].0, json!(["b"]));
}

#[tokio::test]
async fn an_invalid_registration_is_refused_by_field() {
    let (store, registry) = empty();
    let mut bad = agent("a");
    bad.capabilities[0].weight = 1.2;
    let Err(RegistryError::Invalid(error)) = registry.register(&bad).await else { panic!("it was accepted") };
    assert_eq!(error.field.as_deref(), Some("capabilities[0].weight"));
    assert!(store.values().is_empty());
}
