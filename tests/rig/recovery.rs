//! Two of everything under load, each told to end or killed in turn: what was accepted is done once.

use std::{cell::Cell, collections::BTreeSet, time::Duration};

use mesh_six_core::names::ORCHESTRATOR;
use mesh_six_testing::{
    Reply, StubModel,
    rig::{InstanceSpec, Rig, RigSpec},
    wait_for, wait_until,
};
use serde_json::{Value, json};

use crate::support::{SOON, all, finished, http, sql, start};

const AGENT: &str = "simple-agent";
const ORCHESTRATORS: [&str; 2] = [ORCHESTRATOR, "orchestrator-2"];
const AGENTS: [&str; 2] = [AGENT, "simple-agent-2"];
/// Tasks that are waited for while the next one is sent.
const UNDER_WAY: usize = 16;

/// Two of each but the event logger, and a model of our own.
async fn pairs(model: &StubModel) -> Rig {
    let [_, orchestrator] = ORCHESTRATORS;
    let [_, agent] = AGENTS;
    let spec = RigSpec { model_url: Some(model.url().to_owned()), ..all() };
    start(spec.with(InstanceSpec::replica(ORCHESTRATOR, orchestrator)).with(InstanceSpec::replica(AGENT, agent))).await
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn two_of_each_do_nothing_twice_and_lose_nothing_when_told_to_end_under_load() {
    /// Kubernetes kills what has not ended by then.
    const GRACE: Duration = Duration::from_secs(30);
    let model = StubModel::start().await;
    model.always(Reply::text("done").after(Duration::from_millis(100)));
    let rig = pairs(&model).await;
    let enough = Cell::new(false);
    let ends = async {
        for part in [AGENT, ORCHESTRATOR, "event-logger", "simple-agent-2", "orchestrator-2"] {
            // Somewhere in the middle of its work.
            let calls = model.calls().len();
            model.wait_for_calls(calls + UNDER_WAY, SOON).await;
            rig.terminate(part).await.unwrap();
            let ended = rig.ended(part, GRACE).await.unwrap();
            assert!(ended.is_some_and(|status| status.success()), "{part}: {ended:?}");
            rig.start_again(part).await.unwrap();
            rig.wait_ready(part).await.unwrap();
        }
        enough.set(true);
    };
    let (tasks, ()) = tokio::join!(load(&rig, &model, &enough), ends);
    let url = rig.url(ORCHESTRATOR);
    for task in &tasks {
        let ended = finished(&url, task).await;
        assert_eq!(ended["status"], "completed", "{ended:#}");
    }
    // One model request, one answer and one end for each, whoever did it; and no attempt was given up.
    let asked: Vec<String> = model.calls().iter().filter_map(|call| call.last("user").map(str::to_owned)).collect();
    assert_eq!((asked.len(), asked.iter().collect::<BTreeSet<_>>().len()), (tasks.len(), tasks.len()));
    let all = i64::try_from(tasks.len()).unwrap();
    let sql = sql(&rig).await;
    for kind in ["task.submitted", "task.dispatched", "task.result", "task.completed", "llm.call", "llm.response"] {
        let count = "SELECT count(*), count(DISTINCT task_id) FROM mesh_six_events WHERE event_type = $1";
        let row = sql.query_one(count, &[&kind]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (all, all), "{kind}");
    }
    let history = sql.query_one("SELECT count(*) FROM agent_task_history WHERE success", &[]).await.unwrap();
    assert_eq!(history.get::<_, i64>(0), all);
    rig.shut_down().await;
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn two_of_each_do_no_attempt_twice_and_lose_nothing_when_killed_under_load() {
    let model = StubModel::start().await;
    model.always(Reply::text("done").after(Duration::from_millis(100)));
    let rig = pairs(&model).await;
    let enough = Cell::new(false);
    let kills = async {
        // Orchestrators last: a lease is judged only by those that have been up for longer than one.
        for part in ["simple-agent-2", "simple-agent-2.daprd", "orchestrator-2.daprd", "orchestrator-2"] {
            let calls = model.calls().len();
            model.wait_for_calls(calls + UNDER_WAY, SOON).await;
            rig.kill_nine(part).await.unwrap();
            rig.start_again(part).await.unwrap();
            rig.wait_ready(part.trim_end_matches(".daprd")).await.unwrap();
        }
        enough.set(true);
    };
    let (tasks, ()) = tokio::join!(load(&rig, &model, &enough), kills);
    let asked = model.calls();
    let mut again = 0;
    for (n, task) in tasks.iter().enumerate() {
        let ended = finished(&rig.url(ORCHESTRATOR), task).await;
        assert_eq!(ended["status"], "completed", "{ended:#}");
        let attempts = usize::try_from(ended["attempts"].as_u64().unwrap()).unwrap();
        let runs = asked.iter().filter(|call| call.last("user") == Some(&query(n))).count();
        assert!(runs <= attempts && attempts <= 3, "{runs} runs of the model for {ended:#}");
        again += attempts - 1;
    }
    println!("{} tasks, {again} attempts that died with their process", tasks.len());
    let all = i64::try_from(tasks.len()).unwrap();
    let sql = sql(&rig).await;
    for kind in ["task.submitted", "task.completed"] {
        let count = "SELECT count(*), count(DISTINCT task_id) FROM mesh_six_events WHERE event_type = $1";
        let row = sql.query_one(count, &[&kind]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (all, all), "{kind}");
    }
    let history = "SELECT count(*), count(*) FILTER (WHERE success) FROM agent_task_history";
    let history = sql.query_one(history, &[]).await.unwrap();
    assert_eq!((history.get::<_, i64>(0), history.get::<_, i64>(1)), (all + i64::try_from(again).unwrap(), all));
    rig.shut_down().await;
}

/// Sends tasks, so many at once that some are always under way, until it is `enough`.
async fn load(rig: &Rig, model: &StubModel, enough: &Cell<bool>) -> Vec<String> {
    let mut tasks = Vec::new();
    while !enough.get() {
        wait_until(SOON, async || model.calls().len() + UNDER_WAY > tasks.len()).await;
        tasks.push(submit_somewhere(rig, tasks.len()).await);
    }
    tasks
}

/// What the model is asked for the n-th task.
fn query(n: usize) -> String {
    format!("load {n:03}")
}

/// Sends a task to one orchestrator, else to the other, until one has taken it. It is one task, whoever takes it.
async fn submit_somewhere(rig: &Rig, n: usize) -> String {
    let body = json!({ "capability": "general-query", "payload": { "query": query(n) } });
    let key = query(n);
    wait_for(SOON, async || {
        for name in [ORCHESTRATORS[n % 2], ORCHESTRATORS[(n + 1) % 2]] {
            let request = http().post(format!("{}/api/v1/tasks", rig.url(name))).header("idempotency-key", &key);
            let Ok(answer) = request.json(&body).send().await else { continue };
            if answer.status().is_success() {
                let answer: Value = answer.json().await.ok()?;
                return answer["taskId"].as_str().map(str::to_owned);
            }
        }
        None
    })
    .await
}
