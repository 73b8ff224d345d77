//! The key-value store.
//!
//! Dapr leaves much to the store behind it, so a condition is read before it is asked for: Redis takes any `ETag`
//! for a key that is not there, and says 500 where a first write finds the key; after a first write it refuses
//! every write without `ETag`; and a time to live stays until it is taken away.

use std::{collections::HashMap, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::time::timeout;

use super::{
    DaprSidecar,
    client::{Answer, segment, send},
};
use crate::{
    limits::{check_key, refused, whole_seconds},
    port::{Condition, SidecarError, StateEntry},
};

/// How long one request to the store may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call that takes several requests may take.
const TOTAL: Duration = Duration::from_secs(10);
/// Most keys in one request.
const MAX_BULK: usize = 100;
/// How often an unconditional write meets another one before it gives up.
const WRITE_TRIES: usize = 5;

/// One row of the answer to a bulk read.
#[derive(Deserialize)]
struct BulkRow {
    key: String,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    error: String,
}

impl DaprSidecar {
    pub(super) async fn read(&self, key: &str) -> Result<Option<StateEntry>, SidecarError> {
        check_key(key)?;
        let answer = send(self.api.get(&self.state_path(key)?), TIMEOUT).await?.checked()?;
        if answer.status == 204 {
            return Ok(None);
        }
        let value = serde_json::from_slice(&answer.body).map_err(|_| no_json(key))?;
        Ok(Some(StateEntry { value, etag: answer.etag.unwrap_or_default() }))
    }

    pub(super) async fn read_many(&self, keys: &[String]) -> Result<Vec<Option<StateEntry>>, SidecarError> {
        timeout(TOTAL, self.read_all(keys)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn read_all(&self, keys: &[String]) -> Result<Vec<Option<StateEntry>>, SidecarError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let path = format!("state/{}/bulk", segment(&self.state_store)?);
        let mut found = HashMap::with_capacity(keys.len());
        for keys in keys.chunks(MAX_BULK) {
            let request = self.api.post(&path).json(&json!({ "keys": keys }));
            let answer = send(request, TIMEOUT).await?.checked()?;
            let rows: Vec<BulkRow> = serde_json::from_slice(&answer.body)
                .map_err(|_| refused(502, "the values of several keys are not told as a list".to_owned()))?;
            for row in rows {
                if !row.error.is_empty() {
                    return Err(SidecarError::Unavailable("a value could not be read".to_owned()));
                }
                if row.data.is_none() && row.etag.is_none() {
                    continue;
                }
                let value = row.data.map_or(Ok(Value::Null), |data| serde_json::from_str(data.get()));
                let entry =
                    StateEntry { value: value.map_err(|_| no_json(&row.key))?, etag: row.etag.unwrap_or_default() };
                found.insert(row.key, entry);
            }
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    pub(super) async fn write(
        &self,
        key: &str,
        value: Value,
        condition: Condition,
        ttl: Option<Duration>,
    ) -> Result<(), SidecarError> {
        check_key(key)?;
        timeout(TOTAL, self.write_if(key, &value, condition, ttl)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn write_if(
        &self,
        key: &str,
        value: &Value,
        condition: Condition,
        ttl: Option<Duration>,
    ) -> Result<(), SidecarError> {
        match condition {
            Condition::None => self.write_always(key, value, ttl).await,
            Condition::Absent => {
                if self.read(key).await?.is_some() {
                    return Err(SidecarError::Conflict);
                }
                let answer = self.set(key, value, None, true, ttl).await?;
                // Redis says 500 if somebody else was quicker, as it does when it is ill.
                if answer.status == 500 && self.read(key).await?.is_some() {
                    return Err(SidecarError::Conflict);
                }
                written(answer)
            }
            Condition::Match(etag) => {
                // An empty one would be none to Dapr, and the write unconditional.
                let fits = |entry: StateEntry| !etag.is_empty() && entry.etag == etag;
                if !self.read(key).await?.is_some_and(fits) {
                    return Err(SidecarError::Conflict);
                }
                written(self.set(key, value, Some(&etag), false, ttl).await?)
            }
        }
    }

    /// The last write wins, also where the store wants an `ETag` because the key began with a first write.
    async fn write_always(&self, key: &str, value: &Value, ttl: Option<Duration>) -> Result<(), SidecarError> {
        let answer = self.set(key, value, None, false, ttl).await?;
        if answer.status != 500 {
            return written(answer);
        }
        for _ in 0..WRITE_TRIES {
            let etag = self.read(key).await?.map(|entry| entry.etag).filter(|etag| !etag.is_empty());
            match written(self.set(key, value, etag.as_deref(), false, ttl).await?) {
                Err(SidecarError::Conflict) => {}
                outcome => return outcome,
            }
        }
        Err(SidecarError::Unavailable(format!("others write {key} all the time")))
    }

    pub(super) async fn remove(&self, key: &str) -> Result<(), SidecarError> {
        check_key(key)?;
        written(send(self.api.delete(&self.state_path(key)?), TIMEOUT).await?)
    }

    async fn set(
        &self,
        key: &str,
        value: &Value,
        etag: Option<&str>,
        first_write: bool,
        ttl: Option<Duration>,
    ) -> Result<Answer, SidecarError> {
        // -1 is for ever; without it Redis keeps the time to live that an earlier write brought.
        let seconds = ttl.map_or_else(|| "-1".to_owned(), |ttl| whole_seconds(ttl).as_secs().to_string());
        let mut row = json!({ "key": key, "value": value, "metadata": { "ttlInSeconds": seconds } });
        if let Some(etag) = etag {
            row["etag"] = etag.into();
        }
        if first_write {
            row["options"] = json!({ "concurrency": "first-write" });
        }
        let path = format!("state/{}", segment(&self.state_store)?);
        send(self.api.post(&path).json(&json!([row])), TIMEOUT).await
    }

    fn state_path(&self, key: &str) -> Result<String, SidecarError> {
        Ok(format!("state/{}/{}", segment(&self.state_store)?, segment(key)?))
    }
}

fn written(answer: Answer) -> Result<(), SidecarError> {
    if answer.status == 409 { Err(SidecarError::Conflict) } else { answer.checked().map(drop) }
}

fn late() -> SidecarError {
    SidecarError::Unavailable("the state store did not answer in time".to_owned())
}

fn no_json(key: &str) -> SidecarError {
    refused(502, format!("the value of {key} is no JSON"))
}
