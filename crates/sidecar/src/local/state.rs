//! The key-value store: one for all apps, as with Dapr's fixed `keyPrefix`.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    limits::{check_key, whole_seconds},
    port::{Condition, SidecarError, StateEntry},
};

/// Keys, their values and their versions, in memory.
#[derive(Default)]
pub(super) struct StateStore {
    inner: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    entries: HashMap<String, Entry>,
    /// Never goes back, so that a key deleted and written again has a new version.
    version: u64,
}

struct Entry {
    value: Value,
    version: u64,
    expires: Option<Instant>,
}

impl Entry {
    fn is_live(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl StateStore {
    pub(super) fn get(&self, key: &str) -> Option<StateEntry> {
        let inner = self.lock();
        let entry = inner.entries.get(key).filter(|entry| entry.is_live(Instant::now()))?;
        Some(StateEntry { value: entry.value.clone(), etag: entry.version.to_string() })
    }

    pub(super) fn set(
        &self,
        key: &str,
        value: Value,
        condition: &Condition,
        ttl: Option<Duration>,
    ) -> Result<(), SidecarError> {
        check_key(key)?;
        let now = Instant::now();
        let mut inner = self.lock();
        inner.entries.retain(|_, entry| entry.is_live(now));
        let version = inner.entries.get(key).map(|entry| entry.version.to_string());
        let holds = match condition {
            Condition::None => true,
            Condition::Absent => version.is_none(),
            Condition::Match(etag) => version.as_ref() == Some(etag),
        };
        if !holds {
            return Err(SidecarError::Conflict);
        }
        inner.version += 1;
        let version = inner.version;
        let expires = ttl.map(|ttl| now + whole_seconds(ttl));
        inner.entries.insert(key.to_owned(), Entry { value, version, expires });
        Ok(())
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), SidecarError> {
        check_key(key)?;
        self.lock().entries.remove(key);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
