//! Tells the dashboard where tasks stand, after the commit that moved them.

use mesh_six_core::{
    ErrorType, Event,
    dashboard::{Standing, TaskNote},
    names::{TASK_EVENTS, task_status_topic},
};
use mesh_six_db::{outbox::Outgoing, tasks::FailedAttempt};
use mesh_six_runtime::Mqtt;
use serde::Deserialize;
use uuid::Uuid;

/// What the facts among the messages of a transaction say.
pub(crate) fn committed(mqtt: &Mqtt, capability: &str, outgoing: &[Outgoing]) {
    for message in outgoing.iter().filter(|message| message.topic == TASK_EVENTS) {
        let event = Event::deserialize(&message.data).ok();
        if let Some(note) = event.and_then(|event| TaskNote::of_event(&event, capability)) {
            tell(mqtt, &note);
        }
    }
}

/// An attempt has failed and another one is due.
pub(crate) fn attempt_failed(mqtt: &Mqtt, task: Uuid, capability: &str, failed: &FailedAttempt) {
    let status = match failed.error_type {
        ErrorType::Timeout => Standing::Timeout,
        _ => Standing::Pending,
    };
    let note = TaskNote::new(task, capability, status, failed.agent_id.clone(), failed.at);
    tell(mqtt, &TaskNote { attempts: failed.attempt, error_type: Some(failed.error_type), ..note });
}

/// Not retained: tasks are many, and `GET /tasks` tells of those that were.
fn tell(mqtt: &Mqtt, note: &TaskNote) {
    mqtt.publish(task_status_topic(note.task_id), note, false);
}
