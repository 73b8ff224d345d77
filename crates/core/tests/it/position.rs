//! Positions: opaque, ordered, and never a panic.

use chrono::{DateTime, Utc};
use mesh_six_core::event::Position;
use proptest::prelude::*;

use crate::support::now;

fn time() -> impl Strategy<Value = DateTime<Utc>> {
    // 1970 to 9999.
    (0..253_402_300_799_i64).prop_map(|s| DateTime::from_timestamp(s, 0).unwrap())
}

proptest! {
    #[test]
    fn text_and_json_round_trip(txid in 0..=i64::MAX, seq in 0..=i64::MAX, time in time()) {
        let position = Position::of(txid, seq, time);
        prop_assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        let json = serde_json::to_string(&position).unwrap();
        prop_assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
    }

    #[test]
    fn order_is_by_transaction_then_number(a in (0..9_i64, 0..9_i64), b in (0..9_i64, 0..9_i64)) {
        let (x, y) = (Position::of(a.0, a.1, now()), Position::of(b.0, b.1, now()));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert!(Position::START <= x);
    }

    #[test]
    fn the_floor_is_the_month_before(time in time()) {
        let floor = Position::of(1, 1, time).floor_time().unwrap();
        prop_assert!(floor < time);
        prop_assert!((time - floor).num_days() <= 62);
    }

    #[test]
    fn any_text_is_refused_or_written_back_as_it_was(text in ".{0,40}|1-[0-9a-fA-F+-]{0,20}-[0-9a-f]{0,20}-[0-9]{0,8}") {
        match text.parse::<Position>() {
            Ok(position) => prop_assert_eq!(position.to_string(), text),
            Err(error) => prop_assert_eq!(error.field.as_deref(), Some("position")),
        }
    }
}

#[test]
fn malformed_positions_are_refused() {
    for bad in [
        "",
        "-",
        "1",
        "1-0-0",
        "2-0-0-000000",
        "1-0-0-000000-0",
        "1-g-0-000000",
        "1--1-0-000000",
        "1-+1-0-000000",
        "1-01-0-000000",
        "1-A-0-000000",
        "1-0-0-202613",
        "1-0-0-202600",
        "1-0-0-0",
        " 1-0-0-000000",
        "1-0-0-٢٠٢٦١١",
        "1-ffffffffffffffffffffffff-0-000000",
        "1-0-0-99999999999",
    ] {
        assert!(bad.parse::<Position>().is_err(), "{bad:?}");
    }
    assert_eq!("1-0-0-000000".parse::<Position>().unwrap(), Position::START);
    assert_eq!(Position::START.floor_time(), None);
}
