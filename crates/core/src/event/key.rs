//! Idempotency keys and their buckets (events.md §3).
//!
//! A key's bucket is a pure function of its text, so that two writers of one key meet in one place
//! whatever their clocks say. Buckets of a month are dropped whole; bucket 0 is never dropped.

use chrono::{DateTime, Datelike, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{ApiError, hash::hex, id::v7_time};

/// Prefixes whose second part is a `UUIDv7` that tells the bucket.
const TASK_PREFIXES: [&str; 9] =
    ["submit", "dispatch", "result", "reject", "timeout", "retry", "end", "approval", "batch"];

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// Keys of an earlier month are refused as absurd: each month has a partition of its own.
const FIRST_MONTH: i32 = 200_001;

/// A key in the form of the key table: bucket and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey {
    /// `YYYYMM`, or 0 for keys that callers make up.
    pub bucket: i32,
    /// The first 16 bytes of the key's SHA-256, kept as a `uuid` in the database.
    pub hash: Uuid,
}

impl EventKey {
    /// Where `key` belongs. Refused: an empty or over-long key, and a key of ours whose time is missing
    /// or more than a day after `now`.
    pub fn parse(key: &str, now: DateTime<Utc>) -> Result<Self, ApiError> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(refused(format!("a key has 1 to {MAX_KEY_BYTES} bytes")));
        }
        let digest = Sha256::digest(key.as_bytes());
        let mut hash = [0_u8; 16];
        hash.copy_from_slice(&digest[..16]);
        let hash = Uuid::from_bytes(hash);
        Ok(Self { bucket: bucket(key, now)?, hash })
    }
}

fn bucket(key: &str, now: DateTime<Utc>) -> Result<i32, ApiError> {
    let mut parts = key.split(':');
    let prefix = parts.next().unwrap_or_default();
    if TASK_PREFIXES.contains(&prefix) {
        let id = parts.next().and_then(|p| Uuid::try_parse(p).ok()).and_then(v7_time);
        let time = id.ok_or_else(|| refused(format!("a key that begins with {prefix}: goes on with a UUIDv7")))?;
        if time > now + chrono::Duration::days(1) || month(time) < FIRST_MONTH {
            return Err(refused("the time of the UUIDv7 in the key lies in the future or before the year 2000"));
        }
        return Ok(month(time));
    }
    if prefix == "ce" {
        let text = parts.next().unwrap_or_default();
        let whole = text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit());
        let month: Option<i32> = if whole { text.parse().ok() } else { None };
        return month
            .filter(|m| (1..=12).contains(&(m % 100)) && *m >= FIRST_MONTH)
            .filter(|m| *m <= self::month(now + chrono::Duration::days(1)))
            .ok_or_else(|| refused("a key of a CloudEvent goes on with the month of its time, as YYYYMM"));
    }
    Ok(0)
}

/// The bucket of a month.
pub fn month(time: DateTime<Utc>) -> i32 {
    time.year() * 100 + time.month().cast_signed()
}

/// The key of a fact that came as a CloudEvent: the month of its time, and a hash of source and id, which
/// stay the same across redeliveries.
pub fn cloud_event_key(source: &str, id: &str, time: DateTime<Utc>) -> String {
    let mut hash = Sha256::new();
    hash.update(u64::try_from(source.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(source.as_bytes());
    hash.update(id.as_bytes());
    format!("ce:{:06}:{}", month(time), hex(&hash.finalize()[..16]))
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::validation("idempotencyKey", message)
}
