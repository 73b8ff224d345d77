//! Results are taken over only if somebody stands behind them (events.md §6).

use mesh_six_core::{names::TASK_RESULTS, task::result_hash};
use mesh_six_testing::samples::{AGENT, envelope, message, request, result, with};
use serde_json::json;

use crate::rig::{Rig, ask_agent, fill_inbox};

const ROUTE: &str = "/events/task-results";

#[tokio::test]
async fn a_result_in_the_inbox_or_of_the_agent_that_was_asked_is_stored() {
    let rig = Rig::start().await;
    let client = rig.database.client().await;
    let (kept, asked) = (result(&request()), result(&request()));
    fill_inbox(&client, std::slice::from_ref(&kept), true).await;
    ask_agent(&client, asked.task_id, AGENT).await;
    // Too large for a message, it names the inbox.
    let mut large = result(&request());
    large.result = Some(json!("x".repeat(200_000)));
    large.result_hash = result_hash(large.result.as_ref(), None);
    fill_inbox(&client, std::slice::from_ref(&large), true).await;
    let large = large.for_message();
    assert_eq!(large.result, None);
    let batch = [&kept, &asked, &large].map(|r| envelope(AGENT, message(TASK_RESULTS, json!(r))));
    assert_eq!(rig.deliver(ROUTE, &batch).await, ["SUCCESS"; 3]);

    let events = rig.events().await;
    let facts: Vec<_> = events.iter().map(|e| (e.event.task_id.unwrap(), e.event.payload["source"].as_str())).collect();
    assert_eq!(facts, [(kept.task_id, None), (asked.task_id, Some("message")), (large.task_id, None)]);
    for (event, result) in events.iter().zip([&kept, &asked, &large]) {
        let event = &event.event;
        assert_eq!((event.event_type.as_str(), event.agent_id.as_str()), ("task.result", AGENT));
        assert_eq!((event.trace_id, event.occurred_at), (result.trace_id, result.completed_at));
        assert_eq!(event.payload["resultHash"], json!(result.result_hash));
        assert!(event.payload.get("result").is_none(), "the answer itself stays out of the log");
    }
    assert_eq!(rig.letters().await.len(), 0);
}

#[tokio::test]
async fn a_forged_result_is_dropped_with_its_reason() {
    let rig = Rig::start().await;
    let client = rig.database.client().await;
    let (kept, asked, open) = (result(&request()), result(&request()), result(&request()));
    fill_inbox(&client, std::slice::from_ref(&kept), true).await;
    fill_inbox(&client, std::slice::from_ref(&open), false).await;
    ask_agent(&client, asked.task_id, AGENT).await;

    let mut forged = kept.clone();
    forged.result = Some(json!("something else"));
    forged.result_hash = result_hash(forged.result.as_ref(), None);
    let mut renamed = kept.clone();
    renamed.result_ref = Some("inbox".to_owned());
    (renamed.result, renamed.result_hash) = (None, "0".repeat(64));
    let mut wrong_agent = asked.clone();
    "other-agent".clone_into(&mut wrong_agent.agent_id);
    let mut wrong_attempt = asked.clone();
    wrong_attempt.attempt = 2;
    let unknown = result(&request());
    let no_v7 = with(json!(unknown), "taskId", json!("12345678-1234-4234-8234-123456789012"));
    let cases = [
        ("1", AGENT, json!(forged), "resultHash: the agent's inbox holds another answer"),
        ("2", AGENT, json!(renamed), "resultHash: the agent's inbox holds another answer"),
        ("3", "other-agent", json!(wrong_agent), "agentId: nobody asked this agent for that attempt"),
        ("4", AGENT, json!(wrong_attempt), "agentId: nobody asked this agent for that attempt"),
        ("5", AGENT, json!(unknown), "agentId: nobody asked this agent for that attempt"),
        ("6", AGENT, no_v7, "agentId: nobody asked this agent for that attempt"),
        ("7", "other-agent", json!(asked), "source: somebody else than the agent sent this"),
        ("8", AGENT, json!(open), "resultHash: the agent's inbox holds no answer yet"),
    ];
    let mut batch: Vec<_> = cases
        .iter()
        .map(|(id, source, data, _)| with(envelope(source, message(TASK_RESULTS, data.clone())), "id", json!(id)))
        .collect();
    // An honest one between them.
    batch.insert(4, envelope(AGENT, message(TASK_RESULTS, json!(kept))));
    let statuses = rig.deliver(ROUTE, &batch).await;
    assert_eq!(
        statuses.iter().map(|s| s == "BURIED").collect::<Vec<_>>(),
        [true, true, true, true, false, true, true, true, true]
    );

    let events = rig.events().await;
    assert_eq!(events.iter().map(|e| e.event.task_id.unwrap()).collect::<Vec<_>>(), [kept.task_id]);
    let letters = rig.letters().await;
    let reasons: Vec<_> = letters.iter().map(|l| (l.id.as_str(), l.reason.as_str())).collect();
    assert_eq!(reasons, cases.iter().map(|(id, _, _, reason)| (*id, *reason)).collect::<Vec<_>>());
    assert!(letters.iter().all(|l| (l.app_id.as_str(), l.topic.as_str()) == ("event-logger", TASK_RESULTS)));
}

#[tokio::test]
async fn the_next_attempt_of_the_same_agent_is_another_fact() {
    let rig = Rig::start().await;
    let first = request();
    let mut second = first.clone();
    second.attempt = 2;
    let results = [result(&first), result(&second)];
    let client = rig.database.client().await;
    ask_agent(&client, first.id, AGENT).await;
    client
        .batch_execute(&format!(
            "INSERT INTO task_attempts (task_id, attempt, agent_id, deadline_at) VALUES ('{}', 2, '{AGENT}', now())",
            first.id
        ))
        .await
        .unwrap();
    let batch = results.map(|r| envelope(AGENT, message(TASK_RESULTS, json!(r))));
    assert_eq!(rig.deliver(ROUTE, &batch).await, ["SUCCESS"; 2]);
    assert_eq!(rig.deliver(ROUTE, &batch).await, ["SUCCESS"; 2]);
    assert_eq!(rig.events().await.len(), 2);
}
