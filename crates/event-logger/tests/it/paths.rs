//! Two paths, one key: either alone is enough, both together give one row.

use mesh_six_core::{
    event::catalogue::{self, TaskEnd},
    names::{TASK_EVENTS, TASK_PROGRESS, TASK_RESULTS},
    task::TaskStatus,
    time,
};
use mesh_six_sidecar::LocalMesh;
use mesh_six_testing::samples::{AGENT, dispatched, envelope, message, note, request, result};
use serde_json::json;

use crate::rig::{Rig, Service, ask_agent, fill_inbox};

#[tokio::test]
async fn e_5_a_fact_that_comes_by_both_paths_is_one_row_whichever_is_first() {
    let rig = Rig::start().await;
    let (early, late) = (dispatched(&request()), dispatched(&request()));
    let answer = result(&request());
    fill_inbox(&rig.database.client().await, std::slice::from_ref(&answer), true).await;
    rig.log.append(vec![early.clone(), catalogue::task_result(&answer, true)]).await.unwrap();
    let batch = [&early, &late].map(|e| envelope("orchestrator", message(TASK_EVENTS, json!(e))));
    for _ in 0..2 {
        assert_eq!(rig.deliver("/events/task-events", &batch).await, ["SUCCESS"; 2]);
        let messages = [envelope(AGENT, message(TASK_RESULTS, json!(answer)))];
        assert_eq!(rig.deliver("/events/task-results", &messages).await, ["SUCCESS"]);
    }
    rig.log.append(vec![late.clone()]).await.unwrap();
    let events: Vec<_> = rig.events().await.into_iter().map(|e| e.event).collect();
    assert_eq!(events.len(), 3);
    assert_eq!((&events[0], &events[2]), (&early, &late), "both paths give equal rows");
    assert_eq!(events[1].payload, catalogue::task_result(&answer, true).payload);
    assert_eq!(rig.letters().await.len(), 0);
}

#[tokio::test]
async fn e_5_with_the_direct_path_off_the_passive_facts_are_there() {
    let rig = Rig::start().await;
    let mesh = LocalMesh::new();
    let service = Service::start(&rig.db, &rig.log, mesh.app_token());
    mesh.attach("event-logger", service.router.clone()).await.unwrap();
    let (orchestrator, agent) = (mesh.sidecar("orchestrator"), mesh.sidecar(AGENT));

    let request = request();
    ask_agent(&rig.database.client().await, request.id, AGENT).await;
    let end =
        TaskEnd { attempts: 1, agent_id: Some(AGENT.to_owned()), duration_ms: 20, error_type: None, result_hash: None };
    let ended = catalogue::task_ended(request.id, request.trace_id, TaskStatus::Completed, &end);
    let messages = [
        (&orchestrator, message(TASK_EVENTS, json!(dispatched(&request)))),
        (&agent, message(TASK_PROGRESS, json!(note(&request, "started")))),
        (&agent, message(TASK_PROGRESS, json!(note(&request, "finished")))),
        (&agent, message(TASK_RESULTS, json!(result(&request)))),
        (&orchestrator, message(TASK_EVENTS, json!(ended))),
    ];
    let begun = time::now();
    for (sidecar, message) in messages {
        for _ in 0..2 {
            sidecar.publish(message.clone()).await.unwrap();
        }
    }
    let events = rig.events().await;
    let types: Vec<_> = events.iter().map(|e| e.event.event_type.as_str()).collect();
    assert_eq!(types, ["task.dispatched", "task.progress", "task.progress", "task.result", "task.completed"]);
    assert!(
        events
            .iter()
            .all(|e| e.event.trace_id == request.trace_id && e.timestamp >= begun - chrono::Duration::seconds(5))
    );
    assert_eq!(events[3].event.payload["source"], "message");
    mesh.shutdown().await;
    service.stop().await;
}
