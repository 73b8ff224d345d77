//! Bad input: an error names the field, stays short, and nothing panics.

use mesh_six_core::{
    ErrorType,
    agent::AgentRegistration,
    parse_json, parse_value,
    task::{NewTaskBody, TaskProgress, TaskRequest, TaskResult},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{now, request};

fn task(name: &str, value: Value) -> String {
    let mut task = json!(request());
    task[name] = value;
    task.to_string()
}

fn field_of(body: &str) -> String {
    let error = parse_json::<TaskRequest>(body.as_bytes()).unwrap_err();
    assert_eq!(error.error_type, ErrorType::Validation);
    assert!(error.message.len() < 600, "a bounded message");
    error.field.unwrap()
}

#[test]
fn m1_5_wrong_values_name_their_field() {
    for (name, value) in [
        ("id", json!("no-uuid")),
        ("id", json!(7)),
        ("capability", json!(null)),
        ("capability", json!("")),
        ("capability", json!("a\0b")),
        ("payload", json!("text")),
        ("payload", json!({"a": {"b\0": 1}})),
        ("priority", json!(11)),
        ("priority", json!(-1)),
        ("priority", json!("high")),
        ("priority", json!(5.5)),
        ("priority", json!(99_999_999_999_i64)),
        ("timeout", json!(0)),
        ("timeout", json!(901)),
        ("requestedBy", json!("x".repeat(257))),
        ("userId", json!("x".repeat(257))),
        ("createdAt", json!("yesterday")),
        ("traceId", json!("00000000000000000000000000000000")),
        ("attempt", json!(0)),
    ] {
        let body = task(name, value);
        assert_eq!(field_of(&body), name, "{body}");
        let value = serde_json::from_str(&body).unwrap();
        assert_eq!(parse_value::<TaskRequest>(value).unwrap_err().field.as_deref(), Some(name), "{body}");
    }
}

#[test]
fn m1_5_missing_fields_are_named_and_defaults_fill_in() {
    for name in ["id", "capability", "payload", "requestedBy", "createdAt", "traceId"] {
        let mut body = json!(request());
        body.as_object_mut().unwrap().remove(name);
        assert_eq!(field_of(&body.to_string()), name);
    }
    let mut body = json!(request());
    for name in ["priority", "timeout", "attempt"] {
        body.as_object_mut().unwrap().remove(name);
    }
    body["unknown"] = json!({"is": "ignored"});
    let task: TaskRequest = parse_value(body).unwrap();
    assert_eq!((task.priority, task.timeout, task.attempt), (5, 120, 1));
}

#[test]
fn nested_paths_are_told() {
    let registration = |capability: Value| {
        let body = json!({
            "name": "n", "appId": "a", "status": "online", "lastHeartbeat": mesh_six_core::time::format(now()),
            "capabilities": [{"name": "ok", "weight": 1.0}, capability],
        });
        parse_json::<AgentRegistration>(body.to_string().as_bytes()).unwrap_err().field.unwrap()
    };
    assert_eq!(registration(json!({"name": "x", "weight": 1.2})), "capabilities[1].weight");
    assert_eq!(registration(json!({"name": "x", "weight": "1"})), "capabilities[1].weight");
    assert_eq!(registration(json!({"name": "x"})), "capabilities[1].weight");
    assert_eq!(registration(json!({"name": "x", "weight": 1, "requirements": [1]})), "capabilities[1].requirements[0]");

    let result = json!({"taskId": request().id, "agentId": "a", "capability": "c", "traceId": request().trace_id,
        "success": false, "resultHash": "", "durationMs": 1, "completedAt": "2026-11-23T04:43:04Z",
        "error": {"type": 7, "message": "m"}});
    assert_eq!(parse_value::<TaskResult>(result).unwrap_err().field.as_deref(), Some("error.type"));
}

#[test]
fn malformed_json_is_told_as_such() {
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    for body in [
        "",
        "{",
        "nonsense",
        "{\"id\": ",
        &format!("{} trailing", task("unknown", json!(1))),
        "{\"a\": 1,}",
        "\u{feff}{}",
        &task("payload", json!({})).replace("{}", r#"{"a": "\ud800"}"#),
        &task("payload", json!({})).replace("{}", &format!("{{\"a\": {deep}}}")),
    ] {
        assert_eq!(field_of(body), "body", "{}", &body[..body.len().min(80)]);
    }
    // What is ignored may be as deep as it likes: skipping it takes no stack.
    let ignored = task("unknown", json!(null)).replace("null", &deep);
    assert!(parse_json::<TaskRequest>(ignored.as_bytes()).is_ok());
    let error = parse_json::<TaskRequest>(b"{\"id\": \"\xff\xfe\"}").unwrap_err();
    assert_eq!(error.field.as_deref(), Some("body"));
}

#[test]
fn huge_numbers_and_texts_name_their_field() {
    assert_eq!(field_of(&task("priority", json!(null)).replace("null", "1e999")), "priority");
    assert_eq!(field_of(&task("priority", json!(null)).replace("null", &"9".repeat(400))), "priority");
    assert_eq!(field_of(&task("payload", json!({})).replace("{}", r#"{"a": 1e999}"#)), "payload.a");
    assert_eq!(field_of(&task("priority", json!("x".repeat(1_000_000)))), "priority");
    assert_eq!(field_of(&task("priority", json!(5)).replacen('{', "{\"priority\": 4,", 1)), "priority");
}

#[test]
fn arrays_and_other_values_are_no_objects() {
    for body in ["[]", "1", "null", "\"text\"", "true"] {
        assert!(parse_json::<TaskRequest>(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn an_array_of_the_right_values_in_the_right_order_is_no_object() {
    let note = json!([request().id, "a", request().trace_id, "started", null]);
    assert!(serde_json::from_value::<TaskProgress>(note.clone()).is_ok(), "serde alone would take it");
    assert_eq!(parse_value::<TaskProgress>(note.clone()).unwrap_err().field.as_deref(), Some("body"));
    for space in ["", " \n\t"] {
        let error = parse_json::<TaskProgress>(format!("{space}{note}").as_bytes()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("body"));
    }
}

#[test]
fn progress_notes_are_checked() {
    let note = |change: (&str, Value)| {
        let mut note =
            json!({"taskId": request().id, "agentId": "a", "traceId": request().trace_id, "status": "started"});
        note[change.0] = change.1;
        parse_value::<TaskProgress>(note)
    };
    assert!(note(("details", json!("more"))).is_ok());
    assert_eq!(note(("status", json!(""))).unwrap_err().field.as_deref(), Some("status"));
    assert_eq!(note(("agentId", json!("x".repeat(129)))).unwrap_err().field.as_deref(), Some("agentId"));
}

proptest! {
    #[test]
    fn any_bytes_are_answered_with_a_named_field(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let error = parse_json::<TaskRequest>(&bytes).unwrap_err();
        prop_assert!(error.field.is_some());
    }

    #[test]
    fn any_damage_to_a_task_is_refused_or_gives_a_legal_task(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = serde_json::to_vec(&request()).unwrap();
        let at = at.index(body.len());
        body[at] = byte;
        match parse_json::<TaskRequest>(&body) {
            Ok(task) => prop_assert!((0..=10).contains(&task.priority) && (1..=900).contains(&task.timeout)),
            Err(error) => prop_assert!(error.field.is_some()),
        }
    }
}

#[test]
fn errors_say_what_is_wanted_and_name_what_is_misspelt() {
    let told = |field: &str, value: Value| {
        let mut body = json!({"capability": "c", "payload": {}});
        body[field] = value;
        let error = parse_json::<NewTaskBody>(body.to_string().as_bytes()).unwrap_err();
        format!("{}: {}", error.field.unwrap(), error.message)
    };
    for (field, value, says) in [
        ("priority", json!("high"), "priority: must be a whole number from 0 to 10, not string \"high\""),
        ("priority", json!(5.5), "priority: must be a whole number from 0 to 10, not floating point `5.5`"),
        ("priority", json!(11), "priority: priority is 11, but must be from 0 to 10"),
        ("timeout", json!(true), "timeout: must be a whole number of seconds from 1 to 900, not boolean `true`"),
        ("wait", json!(-1), "wait: must be a whole number from 0, not integer `-1`"),
        ("payload", json!([]), "payload: must be a JSON object, not an array"),
        ("traceId", json!("zz"), "traceId: a trace id is 32 hex digits and not all zero"),
    ] {
        assert_eq!(told(field, value), says);
    }
    let misspelt = told("prioritty", json!(7));
    assert!(misspelt.starts_with("prioritty: unknown field `prioritty`, expected one of `capability`"), "{misspelt}");
}

#[test]
fn no_parser_speaks_to_the_caller() {
    let told = |body: &str| {
        let error = parse_json::<TaskRequest>(body.as_bytes()).unwrap_err();
        format!("{}: {}", error.field.unwrap(), error.message)
    };
    let id = "id: must be an id, such as 01a206f1-cc8b-7455-b34f-5bc9fe8106a1";
    assert_eq!(told(&task("id", json!("no-uuid"))), id);
    assert_eq!(told("{}"), "id: is missing");
    assert_eq!(told("{"), "body: malformed JSON: it ends too early, at line 1, column 1");
    assert_eq!(told("{\n x"), "body: malformed JSON: key must be a string, at line 2, column 2");
    // What the caller sent is not taken for a place.
    let sent = task("priority", json!("x at line 1 column 2"));
    assert!(told(&sent).ends_with("not string \"x at line 1 column 2\""), "{}", told(&sent));
}
