//! Criteria of agents and tasks, by the orchestrator's API.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use mesh_six_core::{
    agent::{AgentRegistration, AgentStatus},
    id::new_id,
    task::TaskStatus,
};
use mesh_six_db::history;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{finding::Outcome, site::Site};

/// A heartbeat comes every 30 s; what is older than two of them is not alive.
const BEAT: Duration = Duration::from_secs(70);

#[derive(Deserialize)]
struct Agents {
    agents: Vec<AgentRegistration>,
}

/// M1.1: agents are registered, and those online beat.
pub(super) async fn agents_beat(site: &Site) -> anyhow::Result<Outcome> {
    let online = async || {
        let all: Agents = site.mesh.get(&["api", "v1", "agents"]).await?;
        let online = all.agents.into_iter().filter(|agent| agent.status == AgentStatus::Online);
        anyhow::Ok(online.map(|agent| (agent.app_id, agent.last_heartbeat)).collect::<BTreeMap<_, _>>())
    };
    let first = online().await?;
    if first.is_empty() {
        return Ok(Outcome::fail("no agent is online", Value::Null));
    }
    let deadline = Instant::now() + BEAT;
    loop {
        let now = online().await?;
        let silent: Vec<&String> =
            first.iter().filter(|(id, beat)| now.get(*id) == Some(*beat)).map(|(id, _)| id).collect();
        if silent.is_empty() {
            let beats: BTreeMap<_, _> = first.iter().map(|(id, before)| (id, json!([before, now.get(id)]))).collect();
            return Ok(Outcome::pass(json!({ "heartbeats": beats })));
        }
        if Instant::now() >= deadline {
            return Ok(Outcome::fail("online agents without a heartbeat", json!({ "silent": silent })));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// M1.2: one answer per request.
pub(super) async fn one_answer(site: &Site) -> anyhow::Result<Outcome> {
    let story = site.story().await?;
    let results: Vec<_> = story.of_type("task.result").collect();
    let answered = story.task.answer().is_some_and(|text| !text.is_empty());
    let took = results.last().and_then(|event| event.event.payload["durationMs"].as_i64()).unwrap_or(0);
    let expected = usize::try_from(story.task.attempts).unwrap_or(0);
    let evidence = json!({ "taskId": story.task.task_id, "attempts": story.task.attempts, "results": results.len(),
        "durationMs": took, "status": story.task.status });
    let holds = results.len() == expected && took > 0 && answered && story.task.status == TaskStatus::Completed;
    Ok(Outcome::judged(holds, "not one result with an answer and a duration for each attempt", evidence))
}

/// M1.3: accepted with agent and score; no agent and bad input are refused.
pub(super) async fn accepted_or_refused(site: &Site) -> anyhow::Result<Outcome> {
    let path = "/api/v1/tasks";
    let (accepted, answer) = site.ask(Method::POST, path, Some(site.task().to_string())).await?;
    let unknown = json!({ "capability": format!("none-{}", new_id()), "payload": {} });
    let (nobody, scores) = site.ask(Method::POST, path, Some(unknown.to_string())).await?;
    let wrong = json!({ "capability": site.capability, "payload": {}, "priority": 11 });
    let (invalid, error) = site.ask(Method::POST, path, Some(wrong.to_string())).await?;
    let evidence = json!({
        "accepted": { "status": accepted.as_u16(), "taskId": answer["taskId"], "dispatchedTo": answer["dispatchedTo"],
            "score": answer["score"] },
        "noAgent": { "status": nobody.as_u16(), "type": scores["error"]["type"] },
        "invalid": { "status": invalid.as_u16(), "field": error["error"]["field"] },
    });
    let named = answer["taskId"].is_string() && answer["dispatchedTo"].is_string() && answer["score"].is_number();
    let holds = accepted.is_success()
        && named
        && answer["status"] == "dispatched"
        && nobody == 503
        && invalid == 400
        && error["error"]["field"] == "priority";
    Ok(Outcome::judged(
        holds,
        "not accepted with agent and score, or a wrong request not refused as it should be",
        evidence,
    ))
}

/// M1.6: one row of history for each attempt.
pub(super) async fn history_rows(site: &Site) -> anyhow::Result<Outcome> {
    let Some(db) = &site.database else {
        return Ok(Outcome::not_applicable("needs the database: set DATABASE_URL"));
    };
    let story = site.story().await?;
    let mut conn = db.conn().await?;
    let rows = history::of_task(&mut conn, story.task.task_id).await?;
    let last = rows.last().context("no row at all")?;
    let right = last.agent_id == story.task.dispatched_to.clone().unwrap_or_default()
        && last.capability == story.task.capability
        && last.success == (story.task.status == TaskStatus::Completed);
    let holds = right && rows.len() == usize::try_from(story.task.attempts).unwrap_or(0);
    let evidence = json!({ "taskId": story.task.task_id, "rows": rows.len(), "agentId": last.agent_id,
        "success": last.success, "durationMs": last.duration_ms });
    Ok(Outcome::judged(holds, "not one right row for each attempt", evidence))
}

/// M1.11: a task goes in, an answer comes out, its story is on the record.
pub(super) async fn end_to_end(site: &Site) -> anyhow::Result<Outcome> {
    let story = site.story().await?;
    let task = &story.task;
    let types = story.types();
    let whole = ["task.submitted", "task.dispatched", "task.result", "task.completed"]
        .iter()
        .all(|wanted| types.contains(wanted));
    let holds = task.status == TaskStatus::Completed && task.answer().is_some_and(|a| !a.is_empty()) && whole;
    let evidence = json!({ "taskId": task.task_id, "traceId": task.trace_id, "agentId": task.dispatched_to,
        "status": task.status, "durationMs": task.duration_ms, "submittedAt": story.accepted_at, "events": types });
    Ok(Outcome::judged(holds, "not completed with an answer and its whole story", evidence))
}
