//! Redis as Dapr's component uses it, with its oddities (`state/redis/redis.go` of components-contrib).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

/// The store's second. Longer than others, so that a slow machine does not miss what lives for one.
const SECOND: Duration = Duration::from_secs(3);

#[derive(Default)]
pub(super) struct Store(Mutex<HashMap<String, Hash>>);

struct Hash {
    data: Value,
    version: i64,
    first_write: bool,
    expires: Option<Instant>,
}

/// Why a value was not written.
#[derive(Debug)]
pub(super) enum SetError {
    Mismatch,
    Invalid,
    Failed,
}

impl Store {
    pub(super) fn get(&self, key: &str) -> Option<(Value, String)> {
        self.lock().get(key).map(|hash| (hash.data.clone(), hash.version.to_string()))
    }

    pub(super) fn delete(&self, key: &str) {
        self.lock().remove(key);
    }

    /// `row` is one of the body of `POST /v1.0/state/{store}`.
    pub(super) fn set(&self, row: &Value) -> Result<(), SetError> {
        let key = row["key"].as_str().unwrap().to_owned();
        let concurrency = row["options"]["concurrency"].as_str().unwrap_or_default();
        let etag = row["etag"].as_str().filter(|etag| !etag.is_empty());
        let wanted: i64 = match etag.filter(|_| concurrency != "last-write") {
            Some(etag) => etag.parse().map_err(|_| SetError::Invalid)?,
            None => 0,
        };
        let ttl: Option<i32> = match row["metadata"]["ttlInSeconds"].as_str() {
            Some(text) => Some(text.parse().map_err(|_| SetError::Failed)?),
            None => None,
        };
        let mut hashes = self.lock();
        let old = hashes.get(&key);
        // What is not there takes any ETag, and what began with a first write refuses a write without one.
        if !old.is_none_or(|old| old.version == wanted || (!old.first_write && wanted == 0)) {
            return Err(if etag.is_some() { SetError::Mismatch } else { SetError::Failed });
        }
        let expires = match ttl {
            Some(seconds @ 1..) => Some(Instant::now() + SECOND * seconds.unsigned_abs()),
            Some(_) => None,
            None => old.and_then(|old| old.expires),
        };
        let first_write = concurrency == "first-write" || old.is_some_and(|old| old.first_write);
        let version = old.map_or(0, |old| old.version) + 1;
        hashes.insert(key, Hash { data: row["value"].clone(), version, first_write, expires });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Hash>> {
        let mut hashes = self.0.lock().unwrap();
        let now = Instant::now();
        hashes.retain(|_, hash| hash.expires.is_none_or(|expires| now < expires));
        hashes
    }
}
