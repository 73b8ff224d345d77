//! A state store in memory behind the sidecar's port; nothing else of a sidecar works.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use mesh_six_sidecar::{Condition, Invoked, Message, Sidecar, SidecarError, StateEntry};
use serde_json::Value;

/// Value, version and time to live, by key.
type Values = BTreeMap<String, (Value, u64, Option<Duration>)>;

#[derive(Default)]
pub(crate) struct MemoryStore {
    values: Mutex<Values>,
}

impl MemoryStore {
    pub(crate) fn values(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap()
    }
}

#[async_trait]
impl Sidecar for MemoryStore {
    fn app_id(&self) -> &'static str {
        "test"
    }

    async fn get_state(&self, key: &str) -> Result<Option<StateEntry>, SidecarError> {
        // Others get their turn between a read and a write, as over a network.
        tokio::task::yield_now().await;
        Ok(self.values().get(key).map(|(value, tag, _)| StateEntry { value: value.clone(), etag: tag.to_string() }))
    }

    async fn get_state_bulk(&self, keys: &[String]) -> Result<Vec<Option<StateEntry>>, SidecarError> {
        let mut found = Vec::new();
        for key in keys {
            found.push(self.get_state(key).await?);
        }
        Ok(found)
    }

    async fn set_state(
        &self,
        key: &str,
        value: Value,
        condition: Condition,
        ttl: Option<Duration>,
    ) -> Result<(), SidecarError> {
        tokio::task::yield_now().await;
        let mut values = self.values();
        let tag = values.get(key).map(|(_, tag, _)| *tag);
        let allowed = match condition {
            Condition::None => true,
            Condition::Absent => tag.is_none(),
            Condition::Match(wanted) => tag.is_some_and(|tag| tag.to_string() == wanted),
        };
        if !allowed {
            return Err(SidecarError::Conflict);
        }
        values.insert(key.to_owned(), (value, tag.unwrap_or(0) + 1, ttl));
        Ok(())
    }

    async fn delete_state(&self, key: &str) -> Result<(), SidecarError> {
        self.values().remove(key);
        Ok(())
    }

    async fn publish(&self, _: Message) -> Result<(), SidecarError> {
        Err(nothing())
    }

    async fn republish(&self, _: &str, _: &[u8]) -> Result<(), SidecarError> {
        Err(nothing())
    }

    async fn publish_bulk(&self, messages: Vec<Message>) -> Vec<Result<(), SidecarError>> {
        messages.iter().map(|_| Err(nothing())).collect()
    }

    async fn invoke(&self, _: &str, _: &str, _: Value, _: Option<&str>, _: Duration) -> Result<Invoked, SidecarError> {
        Err(nothing())
    }

    async fn outbound_ready(&self) -> bool {
        true
    }

    async fn subscribed(&self) -> bool {
        true
    }
}

fn nothing() -> SidecarError {
    SidecarError::Refused { status: 501, message: "only state is kept here".to_owned() }
}
