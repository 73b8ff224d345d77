//! The query of a task: `payload.query` if that is text, else the payload as JSON (services.md §2).

use mesh_six_core::{
    ApiError,
    task::{TaskError, TaskRequest},
};
use serde_json::Value;

/// The longest query, in bytes; about ten thousand tokens.
pub(crate) const MAX_QUERY_BYTES: usize = 32 * 1024;

/// The query of `task`. Refused: none at all, and one that is too long.
pub(crate) fn of(task: &TaskRequest) -> Result<String, TaskError> {
    let query = match task.payload.get("query") {
        Some(Value::String(query)) => query.clone(),
        _ if task.payload.is_empty() => String::new(),
        _ => Value::Object(task.payload.clone()).to_string(),
    };
    if query.trim().is_empty() {
        return Err(refused("payload.query: there is nothing to answer"));
    }
    if query.len() > MAX_QUERY_BYTES {
        let length = query.len();
        return Err(refused(&format!("payload.query: {length} bytes, but at most {MAX_QUERY_BYTES} are taken")));
    }
    Ok(query)
}

fn refused(message: &str) -> TaskError {
    ApiError::validation("payload.query", message).into()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

    use mesh_six_core::{ErrorType, TraceId, id::new_id, time};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn task(payload: &Value) -> TaskRequest {
        TaskRequest {
            id: new_id(),
            capability: "general-query".to_owned(),
            payload: payload.as_object().cloned().unwrap_or_default(),
            priority: 5,
            timeout: 120,
            requested_by: "test".to_owned(),
            created_at: time::now(),
            trace_id: TraceId::new(),
            attempt: 1,
            user_id: None,
        }
    }

    #[test]
    fn text_is_the_query_and_anything_else_goes_as_json() {
        assert_eq!(of(&task(&json!({"query": "why?", "x": 1}))), Ok("why?".to_owned()));
        assert_eq!(of(&task(&json!({"query": 7}))), Ok(r#"{"query":7}"#.to_owned()));
        assert_eq!(of(&task(&json!({"b": 1, "a": [true]}))), Ok(r#"{"a":[true],"b":1}"#.to_owned()));
    }

    #[test]
    fn nothing_and_too_much_are_refused_by_name() {
        let long = "x".repeat(MAX_QUERY_BYTES + 1);
        for payload in [json!({}), json!({"query": ""}), json!({"query": " \n"}), json!({"query": long})] {
            let error = of(&task(&payload)).unwrap_err();
            assert_eq!(error.error_type, ErrorType::Validation);
            assert!(error.message.starts_with("payload.query: "), "{}", error.message);
        }
    }

    proptest! {
        #[test]
        fn a_query_is_never_longer_than_allowed(text in ".{0,200}", times in 0_usize..600) {
            let query = text.repeat(times);
            match of(&task(&json!({"query": query}))) {
                Ok(taken) => prop_assert!(taken == query && taken.len() <= MAX_QUERY_BYTES),
                Err(_) => prop_assert!(query.trim().is_empty() || query.len() > MAX_QUERY_BYTES),
            }
        }
    }
}
