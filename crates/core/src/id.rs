//! Identifiers: `UUIDv7`, minted by us, so that an id tells when its thing began (RFC 9562 §5.7).

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A new `UUIDv7` from this machine's clock.
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// The time inside a `UUIDv7`, in milliseconds' resolution; `None` for any other version.
pub fn v7_time(id: Uuid) -> Option<DateTime<Utc>> {
    if id.get_version_num() != 7 {
        return None;
    }
    let (high, _) = id.as_u64_pair();
    DateTime::from_timestamp_millis(i64::try_from(high >> 16).ok()?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    #[test]
    fn a_v7_id_tells_its_time_and_a_v4_id_does_not() {
        let now = Utc::now().timestamp_millis();
        let told = v7_time(new_id()).unwrap().timestamp_millis();
        assert!((told - now).abs() < 1_000, "{told} against {now}");
        assert_eq!(v7_time(Uuid::from_u128(0x1234_4000_8000_0000_0000)), None);
    }
}
