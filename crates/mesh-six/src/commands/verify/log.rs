//! Criteria of the event log.

use std::time::{Duration, Instant};

use chrono::{DateTime, Months, Utc};
use mesh_six_core::{StoredEvent, event::replay::TaskState, time};
use mesh_six_db::{migrate, partitions};
use serde_json::{Value, json};

use super::{
    finding::Outcome,
    site::{Site, WORD},
};

const NO_DATABASE: &str = "needs the database: set DATABASE_URL";
/// What one query may take (E.6).
const QUERY: Duration = Duration::from_millis(100);
/// How often each is made.
const QUERIES: u32 = 5;

/// M1.10: the database has every migration of this build.
pub(super) async fn migrated(site: &Site) -> anyhow::Result<Outcome> {
    let Some(url) = &site.database_url else { return Ok(Outcome::not_applicable(NO_DATABASE)) };
    let all = migrate::status(url).await?;
    let missing: Vec<&str> = all.iter().filter(|m| !m.applied).map(|m| m.name.as_str()).collect();
    let evidence = json!({ "migrations": all.len(), "missing": missing });
    Ok(Outcome::judged(missing.is_empty() && !all.is_empty(), "migrations are missing", evidence))
}

/// E.1, E.2: the table is partitioned by month, this one and the next three are there, the safety net is empty.
pub(super) async fn partitioned(site: &Site) -> anyhow::Result<Outcome> {
    let Some(db) = &site.database else { return Ok(Outcome::not_applicable(NO_DATABASE)) };
    let mut conn = db.conn().await?;
    let all = partitions::list(&mut conn).await?;
    let stray = partitions::default_rows(&mut conn).await?;
    let now = time::now();
    let covered =
        |at: DateTime<Utc>| all.iter().any(|p| p.from.is_some_and(|f| f <= at) && p.to.is_some_and(|t| at < t));
    let missing: Vec<String> = (0..=3)
        .filter_map(|ahead| now.checked_add_months(Months::new(ahead)))
        .filter(|at| !covered(*at))
        .map(|at| at.format("%Y-%m").to_string())
        .collect();
    let evidence = json!({ "partitions": all.iter().map(|p| &p.name).collect::<Vec<_>>(), "missing": missing,
        "rowsOutsideOfAnyMonth": stray });
    Ok(Outcome::judged(
        missing.is_empty() && stray == 0,
        "a month is missing, or rows lie in the default partition",
        evidence,
    ))
}

/// Looks at a task's events before an unfinished story fails E.3: progress notes may come after the task's end.
const LOOKS: u32 = 10;

/// E.3: queries by each condition find the task's events, in order, forwards and backwards.
pub(super) async fn queried(site: &Site) -> anyhow::Result<Outcome> {
    let story = site.story().await?;
    let ours = |event: &StoredEvent| event.event.task_id == Some(story.task.task_id);
    let task = ("taskId", story.task.task_id.to_string());
    let positions = |events: &[StoredEvent]| events.iter().map(|e| e.position).collect::<Vec<_>>();
    let mut looks = 0;
    loop {
        let all = site.query(std::slice::from_ref(&task)).await?;
        let back = site.query(&[task.clone(), ("desc", "true".to_owned())]).await?;
        let typed = site.query(&[task.clone(), ("eventType", "task.result".to_owned())]).await?;
        let traced = site.query(&[("traceId", story.task.trace_id.to_string())]).await?;
        let first = site.query(&[task.clone(), ("limit", "1".to_owned())]).await?;
        let rest = match first.first() {
            Some(event) => site.query(&[task.clone(), ("after", event.position.to_string())]).await?,
            None => Vec::new(),
        };
        looks += 1;
        // Only answers about one and the same story can be compared.
        let settled = positions(&site.query(std::slice::from_ref(&task)).await?) == positions(&all);
        if !settled && looks < LOOKS {
            continue;
        }
        let sorted = all.windows(2).all(|pair| pair[0].position < pair[1].position);
        let reversed: Vec<_> = positions(&back).into_iter().rev().collect();
        let holds = settled
            && all.iter().all(ours)
            && sorted
            && reversed == positions(&all)
            && !typed.is_empty()
            && typed.iter().all(|e| ours(e) && e.event.event_type == "task.result")
            && traced.iter().filter(|e| ours(e)).count() == all.len()
            && first.len() == 1
            && rest.len() + 1 == all.len();
        let evidence = json!({ "taskId": story.task.task_id, "events": all.len(), "byTrace": traced.len(), "byType": typed.len(),
            "firstPosition": all.first().map(|e| e.position.to_string()) });
        return Ok(Outcome::judged(holds, "conditions, order or pages do not fit together", evidence));
    }
}

/// E.4: a call before each response, with the task's trace and without the question's text.
pub(super) async fn traced(site: &Site) -> anyhow::Result<Outcome> {
    let story = site.story().await?;
    let (calls, responses) = (story.of_type("llm.call").count(), story.of_type("llm.response").count());
    let mut open = 0_i64;
    let mut ordered = true;
    for event in &story.events {
        match event.event.event_type.as_str() {
            "llm.call" => open += 1,
            "llm.response" => open -= 1,
            _ => {}
        }
        ordered &= open >= 0;
    }
    let one_trace = story.events.iter().all(|event| event.event.trace_id == story.task.trace_id);
    let leaked = story.events.iter().any(|event| event.event.payload.to_string().contains(WORD));
    let tokens = |name: &str| -> i64 {
        story.of_type("llm.response").filter_map(|event| event.event.payload["usage"][name].as_i64()).sum()
    };
    let evidence = json!({ "taskId": story.task.task_id, "traceId": story.task.trace_id, "calls": calls,
        "responses": responses, "inputTokens": tokens("inputTokens"), "outputTokens": tokens("outputTokens") });
    if calls == 0 {
        return Ok(Outcome::not_applicable("the agent that answered made no model call"));
    }
    let holds = calls == responses && ordered && one_trace && !leaked;
    Ok(Outcome::judged(
        holds,
        "calls and responses do not pair, traces differ, or the question's text is in the log",
        evidence,
    ))
}

/// E.6: each condition finds events, each quickly enough.
pub(super) async fn found_quickly(site: &Site) -> anyhow::Result<Outcome> {
    let story = site.story().await?;
    let agent = story.task.dispatched_to.clone().unwrap_or_default();
    let since = story.events.first().map(|e| time::format(e.timestamp)).unwrap_or_default();
    let mut times = serde_json::Map::new();
    let mut holds = true;
    for (name, value) in [
        ("traceId", story.task.trace_id.to_string()),
        ("taskId", story.task.task_id.to_string()),
        ("agentId", agent),
        ("eventType", "task.completed".to_owned()),
        ("since", since),
    ] {
        // The quickest of a few: making a connection, or a moment in which the machine was busy, is not the query.
        let (mut found, mut quickest) = (0, Duration::MAX);
        for _ in 0..QUERIES {
            let begun = Instant::now();
            found = site.query(&[(name, value.clone()), ("limit", "10".to_owned())]).await?.len();
            quickest = quickest.min(begun.elapsed());
        }
        holds &= found > 0 && quickest < QUERY;
        times.insert(name.to_owned(), json!({ "found": found, "ms": quickest.as_secs_f64() * 1e3 }));
    }
    let rows = match &site.database {
        Some(db) => {
            let all = partitions::list(&mut *db.conn().await?).await?;
            json!(all.iter().map(|p| p.rows_estimate.unwrap_or(0)).sum::<i64>())
        }
        None => Value::Null,
    };
    Ok(Outcome::judged(
        holds,
        "something was not found, or not within 100 ms",
        json!({ "queries": times, "rowsAbout": rows }),
    ))
}

/// E.9: the replay of a task adds up to what the orchestrator says of it.
pub(super) async fn replayed(site: &Site) -> anyhow::Result<Outcome> {
    let story = site.story().await?;
    let events = site.replay(story.task.task_id).await?;
    let mut state = TaskState::default();
    for event in &events {
        state.apply(event);
    }
    let types: Vec<&str> = events.iter().map(|event| event.event.event_type.as_str()).collect();
    let at = |wanted: &str| types.iter().position(|found| *found == wanted);
    let ordered = at("task.dispatched") < at("task.result") && at("task.result") < at("task.completed");
    let holds = ordered && state.status == Some(story.task.status);
    let evidence = json!({ "taskId": story.task.task_id, "events": types, "foldsTo": state.status,
        "orchestratorSays": story.task.status });
    Ok(Outcome::judged(holds, "out of order, or the fold disagrees with the orchestrator", evidence))
}
