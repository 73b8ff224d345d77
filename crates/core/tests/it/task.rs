//! Answers: exactly one of result and error, and a hash that survives every way they take.

use mesh_six_core::{
    ErrorType, Usage, Validate,
    task::{TaskError, TaskResult, result_hash},
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::{now, request};

fn success(value: Value) -> TaskResult {
    TaskResult::new(&request(), "simple-agent", Ok(value), 12, Usage::default())
}

fn failure() -> TaskResult {
    let error = TaskError { error_type: ErrorType::LlmError, message: "the model answered 500".to_owned() };
    TaskResult::new(&request(), "simple-agent", Err(error), 12, Usage::default())
}

fn refused(mut result: TaskResult, change: impl FnOnce(&mut TaskResult)) -> String {
    assert!(result.validate().is_ok());
    change(&mut result);
    result.validate().unwrap_err().field.unwrap()
}

#[test]
fn m1_5_an_answer_has_exactly_one_of_result_and_error() {
    let error = failure().error;
    assert_eq!(refused(success(json!({})), |r| r.error = error), "result");
    assert_eq!(refused(success(json!({})), |r| r.result = None), "result");
    assert_eq!(refused(success(json!({})), |r| r.success = false), "result");
    assert_eq!(refused(success(json!({})), |r| r.result_ref = Some("inbox".to_owned())), "result");
    assert_eq!(refused(failure(), |r| r.error = None), "result");
    assert_eq!(refused(failure(), |r| r.success = true), "result");
    assert_eq!(refused(failure(), |r| r.result = Some(json!(1))), "result");
}

#[test]
fn m1_5_the_other_fields_of_an_answer_are_checked() {
    assert_eq!(refused(success(json!({})), |r| r.duration_ms = -1), "durationMs");
    assert_eq!(refused(success(json!({})), |r| r.attempt = 0), "attempt");
    assert_eq!(refused(success(json!({})), |r| r.agent_id = String::new()), "agentId");
    assert_eq!(refused(success(json!({})), |r| r.capability = "c".repeat(129)), "capability");
    assert_eq!(refused(success(json!({})), |r| r.result_hash = "0".repeat(64)), "resultHash");
    assert_eq!(refused(success(json!({})), |r| r.result = Some(json!({"other": 1}))), "resultHash");
    assert_eq!(refused(success(json!({})), |r| r.result = Some(json!("\0"))), "result");
    assert_eq!(refused(failure(), |r| r.error.as_mut().unwrap().message = "\0".to_owned()), "error.message");
    assert_eq!(
        refused(success(json!({})), |r| (r.result, r.result_ref) = (None, Some("elsewhere".to_owned()))),
        "resultRef"
    );
}

#[test]
fn odd_answers_are_brought_into_a_form_that_can_travel() {
    assert_eq!(success(Value::Null).result, Some(json!({})), "null would read back as absent");
    assert_eq!(success(json!({"a": "x\0"})).result, Some(json!({"a": "x\u{fffd}"})));
    let error = TaskError { error_type: ErrorType::Unhandled, message: "é\0".repeat(5_000) };
    let result = TaskResult::new(&request(), "a", Err(error), 1, Usage::default());
    assert!(result.error.as_ref().unwrap().message.len() < 2_010);
    for result in [success(Value::Null), success(json!("x\0")), result] {
        let back: TaskResult = serde_json::from_value(json!(result)).unwrap();
        assert_eq!(back, result);
        assert!(back.validate().is_ok());
    }
}

#[test]
fn a_large_answer_travels_by_reference() {
    let small = success(json!({"response": "short"}));
    assert_eq!(small.for_message(), small);
    let large = success(json!({"response": "x".repeat(200_000)}));
    let message = large.for_message();
    assert_eq!((message.result.as_ref(), message.result_ref.as_deref()), (None, Some("inbox")));
    assert_eq!(message.result_hash, large.result_hash);
    assert!(message.validate().is_ok());
}

/// The hash sorts by itself, but payloads and snapshots rely on it too: a dependency that switches on
/// `serde_json/preserve_order` fails here.
#[test]
fn objects_keep_their_members_sorted() {
    assert_eq!(json!({"b": 1, "a": 2}).to_string(), r#"{"a":2,"b":1}"#);
    let hash = |text: &str| result_hash(Some(&serde_json::from_str(text).unwrap()), None);
    assert_eq!(hash(r#"{"b":1,"aa":{"d":[],"c":null}}"#), hash(r#"{"aa": {"c":null,"d":[]},"b":1}"#));
}

#[test]
fn numbers_hash_as_the_database_gives_them_back() {
    let hash = |text: &str| result_hash(Some(&serde_json::from_str(text).unwrap()), None);
    for (ours, theirs) in [
        ("1e16", "10000000000000000"),
        ("1.2345678901234568e18", "1234567890123456800"),
        ("-0.0", "0"),
        ("1.0", "1.0"),
        ("1e-7", "0.0000001"),
        ("18446744073709551615", "18446744073709551615"),
        ("1e300", &format!("1{}", "0".repeat(300))),
    ] {
        assert_eq!(hash(ours), hash(theirs), "{ours}");
    }
    for (a, b) in [("1", "2"), ("1", "\"1\""), ("18446744073709551615", "18446744073709551614"), ("[1,2]", "[12]")] {
        assert_ne!(hash(a), hash(b));
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300..1e300).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..6)
                .prop_map(|m| Value::from(m.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn any_answer_round_trips_and_stays_valid(value in value()) {
        let mut result = success(value);
        result.completed_at = now();
        prop_assert!(result.validate().is_ok());
        let text = serde_json::to_string_pretty(&result).unwrap();
        let back: TaskResult = serde_json::from_str(&text).unwrap();
        prop_assert!(back.validate().is_ok());
        prop_assert_eq!(back, result);
    }

    #[test]
    fn different_answers_have_different_hashes(a in value(), b in value()) {
        prop_assume!(a != b && !a.is_number());
        prop_assert_ne!(result_hash(Some(&a), None), result_hash(Some(&b), None));
    }
}
