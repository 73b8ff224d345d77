//! Restarts, lost messages, lost processes.

use std::time::Duration;

use mesh_six_core::ErrorType;
use mesh_six_orchestrator::OrchestratorConfig;
use mesh_six_testing::{wait_for, wait_until};
use serde_json::json;

use crate::{
    agent::{Act, fine},
    rig::{LONG, Rig, settings},
};

#[tokio::test]
async fn m1_15_after_a_restart_a_task_keeps_its_remaining_time_and_its_result_counts() {
    let rig = Rig::new().await;
    let a = rig.agent("a", 0.9, |_| Act::Hang).await;
    let (short, long) = (rig.submit(json!({"timeout": 1})).await, rig.submit(json!({"timeout": 60})).await);
    wait_until(LONG, async || a.seen().len() == 2).await;
    let deadlines = async || -> Vec<String> {
        let first = "SELECT task_id || ' ' || deadline_at FROM task_attempts WHERE attempt = 1 ORDER BY task_id";
        rig.sql().await.query(first, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    };
    let before = deadlines().await;
    rig.end().await;
    let request = a.seen().into_iter().find(|r| r.id == long).unwrap();
    a.finish(&a.result(&request, fine())).await;
    let again = Rig::on(rig.db.clone(), rig.mesh.clone(), settings()).await;
    again.task_in(long, "completed").await;
    let begun =
        again.task(short).await["createdAt"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    wait_for(LONG, async || Some(again.task(short).await).filter(|t| t["attempts"] == 2)).await;
    let timeout = "SELECT ended_at FROM task_attempts WHERE task_id::text = $1 AND attempt = 1";
    let ended: String = {
        let text = timeout.replace("ended_at", "to_json(ended_at)#>>'{}'");
        rig.sql().await.query_one(&text, &[&short.to_string()]).await.unwrap().get(0)
    };
    let ended = ended.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert!(ended - begun >= chrono::TimeDelta::seconds(3), "not before deadline and grace");
    assert_eq!(before.len(), 2);
    assert_eq!(deadlines().await, before, "the time that an attempt has goes on over the restart");
    again.end().await;
}

#[tokio::test]
async fn a_message_that_nobody_relayed_is_relayed_after_the_restart() {
    let rig = Rig::new().await;
    let a = rig.agent("a", 0.9, |_| Act::Queue).await;
    rig.end().await;
    // Accepted, but the process ended before its relay came to it.
    let task = rig.submit(json!({})).await;
    assert!(a.seen().is_empty());
    rig.sql().await.execute("UPDATE outbox SET lease_until = now()", &[]).await.unwrap();
    let again = Rig::on(rig.db.clone(), rig.mesh.clone(), settings()).await;
    wait_until(LONG, async || a.seen().len() == 1).await;
    assert_eq!(a.seen()[0].id, task);
    again.end().await;
}

#[tokio::test]
async fn a_request_that_is_not_in_the_inbox_is_sent_again_with_the_same_id() {
    let rig = Rig::with(OrchestratorConfig { resend_after: Duration::from_millis(300), ..settings() }).await;
    let lost = std::sync::atomic::AtomicU32::new(0);
    let a = rig.agent("a", 0.9, move |_| match lost.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 | 1 => Act::Lose,
        _ => Act::Answer(fine()),
    });
    let a = a.await;
    let task = rig.submit(json!({})).await;
    let done = rig.task_in(task, "completed").await;
    assert_eq!(done["attempts"], 1, "one attempt, however often it was sent");
    assert_eq!(a.seen().len(), 3);
    assert_eq!(a.seen()[0], a.seen()[2]);
}

#[tokio::test]
async fn an_attempt_whose_process_died_ends_as_unavailable_but_not_while_its_lease_is_renewed() {
    let lease = Duration::from_millis(400);
    let rig = Rig::with(OrchestratorConfig { agent_lease: lease, ..settings() }).await;
    let dies = rig.agent("dies", 0.9, |_| Act::Queue).await;
    let lives = rig.agent("lives", 0.5, |_| Act::Answer(fine())).await;
    let task = rig.submit(json!({})).await;
    wait_until(LONG, async || !dies.seen().is_empty()).await;
    assert_eq!(dies.claim(lease).await.len(), 1);
    let mut renewals = 0;
    let key = mesh_six_db::inbox::InboxKey::of_request(&dies.seen()[0], "dies");
    wait_until(LONG, async || {
        let mut conn = rig.db.conn().await.unwrap();
        let renewed = mesh_six_db::inbox::renew(&mut conn, &key, dies.owner, lease).await.unwrap();
        assert_eq!(renewed, mesh_six_db::inbox::Renewed::Open);
        renewals += 1;
        renewals > 100
    })
    .await;
    assert_eq!(rig.task(task).await["attempts"], 1);
    let done = rig.task_in(task, "completed").await;
    assert_eq!((&done["attempts"], &done["dispatchedTo"]), (&json!(2), &json!("lives")));
    let history = rig.history(task).await;
    assert_eq!(history[0].4.as_deref(), Some(ErrorType::Unavailable.as_str()));
    assert_eq!((lives.seen().len(), rig.count(task, "task.timeout").await), (1, 1));
}

#[tokio::test]
async fn after_a_start_a_task_waits_for_agents_to_come_back() {
    let rig = Rig::with(OrchestratorConfig { patience: LONG, ..settings() }).await;
    let a = rig.agent("a", 0.9, |request| match request.attempt {
        1 => Act::Answer(Err(ErrorType::Unavailable)),
        _ => Act::Answer(fine()),
    });
    let a = a.await;
    let task = rig.submit(json!({"timeout": 60})).await;
    rig.registry.deregister("a").await.unwrap();
    wait_until(LONG, async || rig.history(task).await.len() == 1).await;
    rig.registry.register(&crate::agent::registration("a", 0.9)).await.unwrap();
    rig.task_in(task, "completed").await;
    assert_eq!(a.seen().len(), 2);
}
