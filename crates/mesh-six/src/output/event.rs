//! One event in one line.

use mesh_six_core::{StoredEvent, event::catalogue};
use owo_colors::{OwoColorize, Style};
use serde_json::Value;

use super::plain;

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
        format!("{:<14}", plain(&e.agent_id)).cyan(),
        task.dimmed(),
        plain(&summary(&e.event_type, &e.payload)),
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
const SHOWN: [&str; 18] = [
    "capability",
    "capabilities",
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
                Some(Value::Array(all)) if name == "capabilities" => {
                    let names: Vec<_> = all.iter().filter_map(|capability| capability["name"].as_str()).collect();
                    parts.push(format!("{name}={}", names.join(",")));
                }
                Some(value) => parts.push(format!("{name}={value}")),
            }
        }
        return parts.join(" ");
    }
    let text = payload.to_string();
    text.chars().take(120).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(agent: &str, event_type: &str, payload: &Value) -> String {
        let event: StoredEvent = serde_json::from_value(json!({
            "seq": 1, "txid": 1, "timestamp": "2026-11-23T04:43:04.5Z", "position": "1-1-1-202610",
            "id": "01a206f1-cc8b-7455-b34f-5bc9fe8106a1", "traceId": "01a206f1cc8b7455b34f5bc9fe8106a1",
            "agentId": agent, "eventType": event_type, "eventVersion": 1, "payload": payload,
            "occurredAt": "2026-11-23T04:43:04.5Z",
        }))
        .unwrap();
        anstream::adapter::strip_str(&line(&event)).to_string()
    }

    #[test]
    fn who_registers_is_shown_with_what_it_can_do() {
        let payload = json!({"capabilities": [{"name": "a", "weight": 1.0}, {"name": "b", "weight": 0.5}]});
        let line = shown("simple-agent", "agent.registered", &payload);
        assert_eq!(line, "04:43:04.500 agent.registered     simple-agent   - capabilities=a,b");
    }

    #[test]
    fn what_strangers_write_moves_no_cursor() {
        for (event_type, payload) in
            [("task.progress", json!({"status": "\u{1b}[2J\u{9b}H\r\nfake"})), ("odd.one", json!({"x": "\u{9b}2J"}))]
        {
            let event = shown("a\u{1b}[31m", event_type, &payload);
            assert!(!event.chars().any(char::is_control), "{event:?}");
        }
    }
}
