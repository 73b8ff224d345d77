//! Which agent gets a task.

use mesh_six_core::agent::AgentStatus;
use mesh_six_orchestrator::OrchestratorConfig;
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use crate::{
    agent::{Act, fine, registration},
    rig::{Rig, settings},
};

#[tokio::test]
async fn an_agent_whose_dependency_is_down_gets_nothing_and_all_down_is_503_with_scores() {
    let rig = Rig::new().await;
    let server = MockServer::start().await;
    Mock::given(path("/well")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    Mock::given(path("/ill")).respond_with(ResponseTemplate::new(503)).mount(&server).await;
    rig.agent("ill", 0.9, |_| Act::Answer(fine())).await;
    rig.agent("well", 0.5, |_| Act::Answer(fine())).await;
    let checked = async |name: &str, weight, url: String| {
        let mut agent = registration(name, weight);
        agent.capabilities[0].requirements = vec!["upstream".to_owned(), "without-url".to_owned()];
        agent.health_checks.insert("upstream".to_owned(), url);
        rig.registry.register(&agent).await.unwrap();
    };
    checked("ill", 0.9, format!("{}/ill", server.uri())).await;
    checked("well", 0.5, format!("{}/well", server.uri())).await;
    let (_, accepted) = rig.post(&json!({"capability": "work", "payload": {}})).await;
    assert_eq!(accepted["dispatchedTo"], "well");
    checked("well", 0.5, "http://169.254.169.254/".to_owned()).await;
    let (status, refused) = rig.post(&json!({"capability": "work", "payload": {}})).await;
    assert_eq!((status.as_u16(), &refused["error"]["type"]), (503, &json!("no_agent")));
    let scores = refused["error"]["details"]["scores"].as_array().unwrap();
    let mut scores: Vec<_> = scores.iter().map(|s| (s["agentId"].as_str().unwrap(), &s["dependencyHealth"])).collect();
    scores.sort_by_key(|(agent, _)| *agent);
    assert_eq!(scores, [("ill", &json!(0.0)), ("well", &json!(0.0))]);
}

#[tokio::test]
async fn probes_are_asked_once_for_many_tasks() {
    let rig = Rig::with(OrchestratorConfig { probe_cache: std::time::Duration::from_mins(1), ..settings() }).await;
    let server = MockServer::start().await;
    Mock::given(path("/well")).respond_with(ResponseTemplate::new(200)).expect(1).mount(&server).await;
    rig.agent("a", 0.5, |_| Act::Queue).await;
    let mut agent = registration("a", 0.5);
    agent.capabilities[0].requirements = vec!["x".to_owned()];
    agent.health_checks.insert("x".to_owned(), format!("{}/well", server.uri()));
    rig.registry.register(&agent).await.unwrap();
    let scores = (0..20).map(|_| rig.get("/agents/score/work"));
    for (_, table) in futures_util::future::join_all(scores).await {
        assert_eq!(table["scores"][0]["dependencyHealth"], 1.0);
    }
    server.verify().await;
}

#[tokio::test]
async fn degraded_agents_lose_at_equal_weight_and_offline_ones_are_left_out() {
    let rig = Rig::new().await;
    for (name, status) in
        [("a-degraded", AgentStatus::Degraded), ("b-online", AgentStatus::Online), ("c-offline", AgentStatus::Offline)]
    {
        let mut agent = registration(name, 0.8);
        agent.status = status;
        rig.registry.register(&agent).await.unwrap();
    }
    let (_, table) = rig.get("/agents/score/work").await;
    let order: Vec<_> = table["scores"].as_array().unwrap().iter().map(|s| s["agentId"].as_str().unwrap()).collect();
    assert_eq!(order, ["b-online", "a-degraded"]);
}

#[tokio::test]
async fn m3_5_m3_6_failures_cost_an_agent_its_place_and_successes_win_it_back() {
    let rig = Rig::new().await;
    for (name, weight, preferred) in [("argocd", 0.9, true), ("kubectl", 0.7, false)] {
        let mut agent = registration(name, weight);
        agent.capabilities[0].preferred = preferred;
        rig.registry.register(&agent).await.unwrap();
    }
    let sql = rig.sql().await;
    let add = async |success: bool| {
        let insert = "INSERT INTO agent_task_history (task_id, agent_id, capability, success, duration_ms) \
            VALUES (gen_random_uuid(), 'argocd', 'work', $1, 1)";
        sql.execute(insert, &[&success]).await.unwrap();
    };
    let best = async || {
        let (_, table) = rig.get("/agents/score/work").await;
        let top = &table["scores"][0];
        let argocd = table["scores"].as_array().unwrap().iter().find(|s| s["agentId"] == "argocd").unwrap();
        (top["agentId"].as_str().unwrap().to_owned(), (argocd["finalScore"].as_f64().unwrap() * 1_000.0).round())
    };
    assert_eq!(best().await, ("argocd".to_owned(), 945.0));
    for _ in 0..20 {
        add(true).await;
    }
    let mut seen = Vec::new();
    for success in [false, false, false, false, true, true, true] {
        add(success).await;
        seen.push(best().await);
    }
    let (agents, scores): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
    assert_eq!(scores, [871.0, 801.0, 735.0, 672.0, 685.0, 698.0, 782.0]);
    assert_eq!(agents, ["argocd", "argocd", "argocd", "kubectl", "kubectl", "kubectl", "argocd"]);
    sql.execute("UPDATE agent_task_history SET created_at = now() - interval '25 hours'", &[]).await.unwrap();
    assert_eq!(best().await, ("argocd".to_owned(), 945.0), "old rows no longer count");
}

#[tokio::test]
async fn a_share_of_the_unurgent_tasks_goes_to_the_second_best() {
    let config = OrchestratorConfig { exploration: 0.3, seed: Some(7), ..settings() };
    let rig = Rig::with(config).await;
    let best = rig.agent("best", 0.9, |_| Act::Queue).await;
    let second = rig.agent("second", 0.5, |_| Act::Queue).await;
    let third = rig.agent("third", 0.4, |_| Act::Queue).await;
    let mut shares = Vec::new();
    for priority in [3, 4] {
        let mut to_second = 0;
        for _ in 0..40 {
            let (_, task) = rig.post(&json!({"capability": "work", "payload": {}, "priority": priority})).await;
            to_second += usize::from(task["dispatchedTo"] == "second");
        }
        shares.push(to_second);
    }
    assert!((4..=20).contains(&shares[0]), "{shares:?}");
    assert_eq!(shares[1], 0, "urgent tasks are no experiment");
    drop((best, second, third));
}
