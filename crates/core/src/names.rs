//! Names that several services share: components, topics, keys (spec: core.md §2, messaging.md §1).

use uuid::Uuid;

/// Pub/sub component that every agent uses.
pub const PUBSUB: &str = "agent-pubsub";
/// Key-value store that holds the agents' registry.
pub const STATE_STORE: &str = "agent-statestore";
/// Topic of the agents' answers.
pub const TASK_RESULTS: &str = "task-results";
/// Topic of the orchestrator's own facts.
pub const TASK_EVENTS: &str = "task-events";
/// Topic of the agents' progress notes.
pub const TASK_PROGRESS: &str = "task-progress";
/// Topic of messages that failed for good.
pub const DEAD_LETTER: &str = "dead-letter";
/// The registry's list of app-ids.
pub const REGISTRY_INDEX: &str = "agent:_index";
/// The app-id of the orchestrator, also the agent id of its events.
pub const ORCHESTRATOR: &str = "orchestrator";
/// The app-id of the event logger.
pub const EVENT_LOGGER: &str = "event-logger";
/// Largest message on a topic, and so the largest task payload, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// Largest body of a public route, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Largest body of a route that the sidecar calls, in bytes.
pub const MAX_DELIVERY_BYTES: usize = 32 * 1024 * 1024;
/// A task's attempts end after this many.
pub const MAX_ATTEMPTS: i32 = 3;

/// The topic on which `agent` receives its tasks.
pub fn task_topic(agent: &str) -> String {
    format!("tasks.{agent}")
}

/// Whether `name` is a topic that somebody of the mesh listens to, dead letters aside.
pub fn is_topic(name: &str) -> bool {
    [TASK_RESULTS, TASK_EVENTS, TASK_PROGRESS].contains(&name)
        || name.strip_prefix("tasks.").is_some_and(|agent| !agent.is_empty())
}

/// The registry key of `agent`.
pub fn registry_key(agent: &str) -> String {
    format!("agent:{agent}")
}

/// The MQTT topic on which the dashboard hears of `task`.
pub fn task_status_topic(task: Uuid) -> String {
    format!("agent/task/{task}")
}

/// The MQTT topic on which the dashboard hears of `agent`.
pub fn agent_status_topic(agent: &str) -> String {
    format!("agent/registry/{agent}")
}
