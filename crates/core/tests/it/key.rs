//! Idempotency keys: their place is a pure function of their text.

use chrono::{DateTime, Duration, Utc};
use mesh_six_core::event::{
    EventKey,
    key::{MAX_KEY_BYTES, cloud_event_key, month},
};
use proptest::prelude::*;

use crate::support::{now, task_id, v7};

fn bucket(key: &str) -> Option<i32> {
    EventKey::parse(key, now()).ok().map(|k| k.bucket)
}

proptest! {
    #[test]
    fn the_place_does_not_depend_on_the_clock(minutes in 0..2_000_000_i64, later in 0..100_000_000_i64, prefix in "submit|dispatch|result|end|batch") {
        let birth = now() - Duration::minutes(minutes);
        let key = format!("{prefix}:{}:1", v7(birth, 3));
        let place = EventKey::parse(&key, birth).unwrap();
        prop_assert_eq!(place.bucket, month(birth));
        prop_assert_eq!(EventKey::parse(&key, birth + Duration::minutes(later)).unwrap(), place);
        // A clock that is behind by less than a day agrees as well.
        prop_assert_eq!(EventKey::parse(&key, birth - Duration::hours(23)).unwrap(), place);
    }

    #[test]
    fn any_text_has_a_place_or_is_refused_by_name(key in ".{0,80}|(submit|end|ce|approval):.{0,60}") {
        match EventKey::parse(&key, now()) {
            Ok(place) => prop_assert!(place.bucket == 0 || (200_001..=202_611).contains(&place.bucket)),
            Err(error) => prop_assert_eq!(error.field.as_deref(), Some("idempotencyKey")),
        }
    }

    #[test]
    fn cloud_events_have_one_key_each(a in (".{0,9}", ".{0,9}"), b in (".{0,9}", ".{0,9}")) {
        let key = |x: &(String, String)| cloud_event_key(&x.0, &x.1, now());
        prop_assert_eq!(key(&a) == key(&b), a == b);
        prop_assert_eq!(bucket(&key(&a)), Some(202_611));
    }
}

#[test]
fn a_task_key_goes_by_the_month_in_its_v7() {
    let december: DateTime<Utc> = "2025-12-31T23:59:59.999Z".parse().unwrap();
    let january: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(bucket(&format!("end:{}", v7(december, 1))), Some(202_512));
    assert_eq!(bucket(&format!("end:{}", v7(january, 1))), Some(202_601));
    assert_eq!(bucket("anything a caller makes up"), Some(0));
    assert_eq!(bucket("ending:soon"), Some(0));
    assert_ne!(EventKey::parse("a", now()).unwrap().hash, EventKey::parse("b", now()).unwrap().hash);
}

#[test]
fn missing_and_absurd_times_are_refused() {
    let future = v7(now() + Duration::days(2), 1);
    let ancient = v7("1999-12-31T23:59:59Z".parse().unwrap(), 1);
    for bad in [
        String::new(),
        "x".repeat(MAX_KEY_BYTES + 1),
        "submit".to_owned(),
        "submit:".to_owned(),
        "submit:soon".to_owned(),
        "end:6f9619ff-8b86-4011-b42d-00cf4fc964ff".to_owned(),
        format!("end:{future}"),
        format!("end:{ancient}"),
        "end:ffffffff-ffff-7fff-8fff-ffffffffffff".to_owned(),
        "ce".to_owned(),
        "ce:abc".to_owned(),
        "ce:202613:x".to_owned(),
        "ce:202600:x".to_owned(),
        "ce:199912:x".to_owned(),
        "ce:202712:x".to_owned(),
        "ce:+20261:x".to_owned(),
        cloud_event_key("s", "i", DateTime::<Utc>::MAX_UTC),
        cloud_event_key("s", "i", DateTime::<Utc>::MIN_UTC),
    ] {
        let error = EventKey::parse(&bad, now()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("idempotencyKey"), "{bad:?}");
    }
    assert!(EventKey::parse(&"x".repeat(MAX_KEY_BYTES), now()).is_ok());
    assert!(EventKey::parse(&format!("end:{}", task_id()), now()).is_ok());
}
