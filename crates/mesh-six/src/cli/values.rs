//! Values of the command line whose errors say what is wanted.

use chrono::{DateTime, Utc};
use mesh_six_core::event::Position;
use uuid::Uuid;

/// A whole number from `MIN` to `MAX`.
pub(super) fn whole<const MIN: i64, const MAX: i64, T: TryFrom<i64>>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match MAX {
        i64::MAX => format!("a whole number from {MIN} is wanted"),
        _ => format!("a whole number from {MIN} to {MAX} is wanted"),
    })
}

/// The id of a task or an event.
pub(super) fn id(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| "an id is wanted, such as 01a206f1-cc8b-7455-b34f-5bc9fe8106a1".to_owned())
}

/// The id of a dead letter, or the beginning of it.
pub(super) fn letter(text: &str) -> Result<String, String> {
    let id = text.to_ascii_lowercase();
    mesh_six_db::dead_letters::check_id("id", &id).map(|()| id).map_err(|error| error.message)
}

/// Where a tail begins.
pub(super) fn beginning(text: &str) -> Result<String, String> {
    match text.parse::<Position>() {
        Err(_) if text != "start" => {
            Err("neither `start` nor a position of this log; take one from an event".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

/// A time in RFC 3339, or how long ago.
pub(super) fn when(text: &str) -> Result<DateTime<Utc>, String> {
    let wrong =
        || format!("{text:?} is neither a time such as 2026-11-23T08:00:00Z nor a span such as 30s, 15m, 1h, 7d");
    if let Ok(time) = text.parse::<DateTime<Utc>>() {
        return Ok(time);
    }
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let span = count.checked_mul(seconds).and_then(chrono::Duration::try_seconds).ok_or_else(wrong)?;
    Utc::now().checked_sub_signed(span).ok_or_else(wrong)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times() {
        assert!((Utc::now() - when("1h").unwrap()).num_minutes() >= 59);
        assert_eq!(when("2026-11-23T08:00:00Z").unwrap().timestamp(), 1_795_420_800);
        for bad in ["", "h", "1x", "yesterday", "99999999999999d"] {
            assert!(when(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_say_what_is_wanted() {
        assert_eq!(whole::<0, 10, i32>("10"), Ok(10));
        for bad in ["11", "-1", "high", "1.5", ""] {
            assert_eq!(whole::<0, 10, i32>(bad), Err("a whole number from 0 to 10 is wanted".to_owned()), "{bad}");
        }
    }
}
