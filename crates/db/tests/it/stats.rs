//! Numbers of the log.

use chrono::{TimeDelta, Utc};
use mesh_six_core::{Event, TraceId, Usage, event::catalogue};
use mesh_six_db::{
    events::EventLog,
    stats::{Group, StatsFilter, stats},
};
use mesh_six_testing::TestDatabase;
use serde_json::{Value, json};

fn response(agent: &str, model: &str, ms: i64, usage: &Value) -> Event {
    let payload = json!({ "model": model, "durationMs": ms, "usage": usage, "finishReason": "stop" });
    Event::new(catalogue::LLM_RESPONSE, agent, TraceId::new(), payload)
}

fn group<'a>(groups: &'a [Group], event_type: &str, agent: &str, model: Option<&str>) -> &'a Group {
    let same = |g: &&Group| g.event_type == event_type && g.agent_id == agent && g.model.as_deref() == model;
    groups.iter().find(same).unwrap_or_else(|| panic!("no group of {event_type} {agent} in {groups:?}"))
}

#[tokio::test]
async fn counts_errors_tokens_cost_and_latency_by_type_agent_and_model() {
    let database = TestDatabase::new().await;
    let db = database.database().await;
    let log = EventLog::start(db.clone());
    let usage =
        json!({"inputTokens": 100, "outputTokens": 10, "cachedInputTokens": 40, "costUsd": 0.25, "requests": 1});
    let mut events: Vec<Event> = (1..=20).map(|n| response("a", "m1", n * 100, &usage)).collect();
    events.push(response("a", "m2", 7, &json!({"inputTokens": 5})));
    let mut failed = response("b", "m1", 9, &json!({}));
    failed.payload["error"] = json!({"type": "timeout"});
    events.push(failed);
    // Repeats what the responses told; counted once.
    let answered = json!({"success": false, "durationMs": 1_000, "usage": {"inputTokens": 1_000_000}});
    events.push(Event::new(catalogue::TASK_RESULT, "a", TraceId::new(), answered));
    // What strangers write must not break the sums.
    for odd in [json!(null), json!([1]), json!({"model": 1, "durationMs": "x", "usage": {"inputTokens": "y"}})] {
        events.push(Event::new(catalogue::LLM_RESPONSE, "odd", TraceId::new(), odd));
    }
    let huge = json!({"durationMs": 1e300, "usage": {"inputTokens": 1e300, "outputTokens": -5, "costUsd": 1e308}});
    events.push(Event::new(catalogue::LLM_RESPONSE, "odd", TraceId::new(), huge));
    log.append(events).await.unwrap();

    let mut conn = db.conn().await.unwrap();
    let all = stats(&mut conn, &StatsFilter::default()).await.unwrap();
    assert_eq!((all.count, all.errors, all.truncated), (27, 2, false));
    let many = group(&all.groups, catalogue::LLM_RESPONSE, "a", Some("m1"));
    let expected =
        Usage { input_tokens: 2_000, output_tokens: 200, cached_input_tokens: 800, cost_usd: Some(5.0), requests: 20 };
    assert_eq!((many.count, many.errors, many.usage), (20, 0, Some(expected)));
    assert_eq!((many.p50_ms, many.p95_ms), (Some(1_050.0), Some(1_905.0)));
    assert_eq!(group(&all.groups, catalogue::LLM_RESPONSE, "b", Some("m1")).errors, 1);
    let result = group(&all.groups, catalogue::TASK_RESULT, "a", None);
    assert_eq!((result.errors, result.usage, result.p50_ms), (1, None, Some(1_000.0)));
    let odd = group(&all.groups, catalogue::LLM_RESPONSE, "odd", None);
    assert_eq!((odd.count, odd.usage.unwrap().output_tokens), (4, 0));

    let agent = StatsFilter { agent_id: Some("a".into()), ..Default::default() };
    let agent = stats(&mut conn, &agent).await.unwrap();
    assert_eq!((agent.count, agent.usage.input_tokens, agent.usage.requests), (22, 2_005, 21));
    let both = StatsFilter {
        agent_id: Some("a".into()),
        event_type: Some(catalogue::TASK_RESULT.into()),
        ..Default::default()
    };
    assert_eq!(stats(&mut conn, &both).await.unwrap().count, 1);
    let past = StatsFilter { until: Some(Utc::now() - TimeDelta::hours(1)), ..Default::default() };
    let past = stats(&mut conn, &past).await.unwrap();
    assert_eq!((past.count, past.groups.len(), past.until - past.since), (0, 0, TimeDelta::hours(24)));
    let wrong =
        StatsFilter { since: Some(Utc::now()), until: Some(Utc::now() - TimeDelta::hours(1)), ..Default::default() };
    assert!(stats(&mut conn, &wrong).await.unwrap_err().is_refused());
    let future = StatsFilter { since: Some(Utc::now() + TimeDelta::hours(1)), ..Default::default() };
    assert!(stats(&mut conn, &future).await.unwrap_err().is_refused(), "it would end before it begins");
}
