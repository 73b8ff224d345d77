//! One task's story among a million rows.

use std::time::Instant;

use futures_util::TryStreamExt;
use mesh_six_core::{
    StoredEvent,
    event::replay::TaskState,
    task::{AttemptOutcome, TaskStatus},
};
use mesh_six_db::events::EventLog;

use super::{Million, ids, milliseconds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a million rows: cargo xtask test --all"]
async fn e_9_replay_folds_to_the_end_with_a_million_rows() {
    let million = Million::get().await;
    let client = million.server.client().await;
    let log = EventLog::start(million.server.database().await);
    let sample = "SELECT DISTINCT task_id::text FROM mesh_six_events WHERE txid % 1250 = 3 AND txid <= 125000";
    let tasks: Vec<String> = client.query(sample, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(tasks.len(), 100);
    let mut times = Vec::new();
    for task in &tasks {
        let begun = Instant::now();
        let story: Vec<StoredEvent> = log.replay(&format!("task:{task}"), None).try_collect().await.unwrap();
        times.push(milliseconds(begun));
        let types: Vec<&str> = story.iter().map(|event| event.event.event_type.as_str()).collect();
        let expected =
            ["task.submitted", "task.dispatched", "llm.call", "llm.response", "tool.invocation", "task.result"];
        assert_eq!(types[..6], expected, "{task}");
        assert_eq!((types.len(), types[7]), (8, "task.completed"));
        let state = TaskState::fold(&story);
        assert_eq!((state.status, state.events), (Some(TaskStatus::Completed), 8));
        assert_eq!(state.attempts[0].outcome, Some(AttemptOutcome::Success));
        // From a position on, the rest.
        let rest: Vec<StoredEvent> =
            log.replay(&format!("task:{task}"), Some(story[3].position)).try_collect().await.unwrap();
        assert_eq!(ids(&rest), ids(&story[4..]));
    }
    times.sort_by(f64::total_cmp);
    eprintln!("E.9: replay of a task takes {:.1} ms at the median, {:.1} ms at most", times[50], times[99]);
    log.close().await;
}
