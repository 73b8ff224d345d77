//! The key-value store.

use std::time::Duration;

use mesh_six_sidecar::{Condition, SidecarError};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Fixture;
use crate::support::wait_for;

/// A key that no other test uses.
fn key() -> String {
    format!("test:{}", Uuid::now_v7())
}

pub(crate) async fn etags_and_conditions(fixture: &impl Fixture) {
    let (one, other, key) = (fixture.sidecar("one").await, fixture.sidecar("other").await, key());
    assert_eq!(one.get_state(&key).await.unwrap(), None);
    let stale = Condition::Match("4711".to_owned());
    assert!(matches!(one.set_state(&key, json!(0), stale, None).await, Err(SidecarError::Conflict)));

    one.set_state(&key, json!({"a": 1}), Condition::Absent, None).await.unwrap();
    assert!(matches!(other.set_state(&key, json!(0), Condition::Absent, None).await, Err(SidecarError::Conflict)));
    // The store is one for all apps.
    let first = other.get_state(&key).await.unwrap().unwrap();
    assert_eq!(first.value, json!({"a": 1}));

    let fits = Condition::Match(first.etag.clone());
    other.set_state(&key, json!(2), fits.clone(), None).await.unwrap();
    assert!(matches!(one.set_state(&key, json!(3), fits, None).await, Err(SidecarError::Conflict)));
    let second = one.get_state(&key).await.unwrap().unwrap();
    assert_eq!(second.value, json!(2));
    assert_ne!(second.etag, first.etag);

    one.set_state(&key, json!(4), Condition::None, None).await.unwrap();
    one.delete_state(&key).await.unwrap();
    one.delete_state(&key).await.unwrap();
    assert_eq!(one.get_state(&key).await.unwrap(), None);
    one.set_state(&key, json!(5), Condition::Absent, None).await.unwrap();
    assert!(matches!(one.set_state("a||b", json!(0), Condition::None, None).await, Err(SidecarError::Refused { .. })));
}

pub(crate) async fn a_value_vanishes_after_its_ttl(fixture: &impl Fixture) {
    let (one, short, long) = (fixture.sidecar("one").await, key(), key());
    let second = Some(Duration::from_secs(1));
    one.set_state(&short, json!(1), Condition::None, second).await.unwrap();
    one.set_state(&long, json!(1), Condition::None, second).await.unwrap();
    one.set_state(&long, json!(2), Condition::None, Some(Duration::from_mins(10))).await.unwrap();
    assert!(one.get_state(&short).await.unwrap().is_some());
    wait_for("the end of the value", None, async || one.get_state(&short).await.unwrap()).await;
    one.set_state(&short, json!(3), Condition::Absent, None).await.unwrap();
    // A later write brings its own time to live.
    assert_eq!(one.get_state(&long).await.unwrap().unwrap().value, json!(2));
}

pub(crate) async fn values_in_bulk(fixture: &impl Fixture) {
    let (one, a, b) = (fixture.sidecar("one").await, key(), key());
    one.set_state(&a, json!("a"), Condition::None, None).await.unwrap();
    one.set_state(&b, json!("b"), Condition::None, None).await.unwrap();
    let got = one.get_state_bulk(&[b.clone(), key(), a.clone()]).await.unwrap();
    assert_eq!(got, [one.get_state(&b).await.unwrap(), None, one.get_state(&a).await.unwrap()]);
    assert_eq!(one.get_state_bulk(&[]).await.unwrap(), []);
    // More than one request may ask for.
    let many: Vec<String> = (0..150).map(|_| key()).collect();
    for key in &many {
        one.set_state(key, json!(key), Condition::None, Some(Duration::from_mins(10))).await.unwrap();
    }
    let got = one.get_state_bulk(&many).await.unwrap().into_iter().map(|entry| entry.unwrap().value);
    assert!(got.eq(many.iter().map(|key| json!(key))));
}

pub(crate) async fn keys_and_values_of_any_kind<F: Fixture>(fixture: &F) {
    let one = fixture.sidecar("one").await;
    for odd in ["agent:_index", "50% + a/b?x=1#y", "ü \u{2028}", "%2F"] {
        let key = format!("{odd}{}", key());
        one.set_state(&key, json!(odd), Condition::None, None).await.unwrap();
        let empty = Condition::Match(String::new());
        let answer = one.set_state(&key, json!(0), empty, None).await;
        assert!(matches!(answer, Err(SidecarError::Conflict)), "{answer:?}");
        assert_eq!(one.get_state_bulk(std::slice::from_ref(&key)).await.unwrap()[0].as_ref().unwrap().value, odd);
        assert_eq!(one.get_state(&key).await.unwrap().unwrap().value, odd);
        one.delete_state(&key).await.unwrap();
        assert_eq!(one.get_state(&key).await.unwrap(), None);
    }
    for key in ["", ".", "..", "a||b"] {
        let answers = [one.get_state(key).await.map(drop), one.delete_state(key).await];
        for answer in answers {
            assert!(matches!(answer, Err(SidecarError::Refused { status: 400, .. })), "{key}: {answer:?}");
        }
    }
    let key = key();
    for value in [Value::Null, json!(""), json!(false), json!([]), json!({ "n": -1.5, "safe": (1_u64 << 53) - 1 })] {
        one.set_state(&key, value.clone(), Condition::None, None).await.unwrap();
        let entry = one.get_state(&key).await.unwrap();
        assert_eq!(entry.as_ref().unwrap().value, value);
        assert_eq!(one.get_state_bulk(std::slice::from_ref(&key)).await.unwrap(), [entry]);
    }
    let beyond = json!((1_u64 << 53) + 1);
    one.set_state(&key, beyond.clone(), Condition::None, None).await.unwrap();
    assert_eq!(one.get_state(&key).await.unwrap().unwrap().value == beyond, F::KEEPS_NUMBERS);
}
