//! One event in one line.

use mesh_six_core::{StoredEvent, event::catalogue};
use owo_colors::{OwoColorize, Style};
use serde_json::Value;

/// Time, type, agent, the task's end, and what matters of the payload.
pub(crate) fn line(event: &StoredEvent) -> String {
    let e = &event.event;
    let task = e.task_id.map(|t| t.simple().to_string());
    // A v7 id begins with its time: its end tells tasks apart.
    let task = task.as_deref().map_or("-", |t| &t[t.len() - 8..]);
    format!(
        "{} {} {} {} {}",
        event.timestamp.format("%H:%M:%S%.3f").dimmed(),
        format!("{:<20}", e.event_type).style(style(&e.event_type, &e.payload)),
        format!("{:<14}", e.agent_id).cyan(),
        task.dimmed(),
        summary(&e.event_type, &e.payload),
    )
}

fn style(event_type: &str, payload: &Value) -> Style {
    let failed = payload["success"] == Value::Bool(false) || payload.get("error").is_some_and(|e| !e.is_null());
    match event_type {
        catalogue::TASK_FAILED | catalogue::TASK_TIMEOUT | catalogue::TASK_RESULT_REJECTED => Style::new().red(),
        _ if failed => Style::new().red(),
        catalogue::TASK_RETRY | catalogue::TASK_CANCELLED => Style::new().yellow(),
        catalogue::TASK_COMPLETED => Style::new().green().bold(),
        catalogue::TASK_RESULT => Style::new().green(),
        catalogue::LLM_CALL | catalogue::LLM_RESPONSE => Style::new().magenta(),
        catalogue::TOOL_INVOCATION | catalogue::TOOL_RESULT => Style::new().blue(),
        _ => Style::new(),
    }
}

/// The fields of a payload that are worth a place in the line, in this order.
const SHOWN: [&str; 17] = [
    "capability",
    "targetAgent",
    "previousAgent",
    "nextAgent",
    "toolName",
    "model",
    "status",
    "attempt",
    "attempts",
    "success",
    "reason",
    "errorType",
    "finishReason",
    "responseLength",
    "durationMs",
    "usage",
    "error",
];

fn summary(event_type: &str, payload: &Value) -> String {
    let known = catalogue::known_version(event_type).is_some();
    let mut parts = Vec::new();
    if let (true, Some(fields)) = (known, payload.as_object()) {
        for name in SHOWN {
            match fields.get(name) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => parts.push(format!("{name}={text}")),
                Some(Value::Object(usage)) if name == "usage" => {
                    let of = |key: &str| usage.get(key).and_then(Value::as_u64).unwrap_or(0);
                    parts.push(format!("tokens={}+{}", of("inputTokens"), of("outputTokens")));
                }
                Some(value) => parts.push(format!("{name}={value}")),
            }
        }
        return parts.join(" ");
    }
    let text = payload.to_string();
    text.chars().take(120).collect()
}
