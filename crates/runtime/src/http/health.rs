//! What the probes are told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mesh_six_core::ApiError;
use serde_json::{Map, Value, json};

/// Shared by a service and its shell: why it is not ready yet, and what `/healthz` shows beside `status`.
///
/// Liveness never depends on anything outside, or a slow upstream would get the service restarted; whoever watches
/// a dependency in the background writes its state here.
#[derive(Clone, Debug, Default)]
pub struct HealthState(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    reasons: BTreeMap<String, String>,
    details: Map<String, Value>,
    draining: bool,
    /// Services behind the same port, without which this one is not ready.
    parts: Vec<(String, HealthState)>,
}

impl HealthState {
    /// Ready, with nothing to tell.
    pub fn new() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not ready because of `what`, for instance `sidecar`, until [`HealthState::ready`] is called for it.
    pub fn not_ready(&self, what: impl Into<String>, reason: impl Into<String>) {
        self.inner().reasons.insert(what.into(), reason.into());
    }

    /// `what` is no longer a reason.
    pub fn ready(&self, what: &str) {
        self.inner().reasons.remove(what);
    }

    /// Not ready any more, for good: the service is ending.
    pub fn draining(&self) {
        self.inner().draining = true;
    }

    /// Whether the service is ending.
    pub fn is_draining(&self) -> bool {
        self.inner().draining
    }

    /// Not ready while `part`, the service called `name` behind the same port, is not.
    pub fn depends_on(&self, name: impl Into<String>, part: Self) {
        self.inner().parts.push((name.into(), part));
    }

    /// Shows `value` as `name` in `/healthz`.
    pub fn set_detail(&self, name: impl Into<String>, value: impl Into<Value>) {
        self.inner().details.insert(name.into(), value.into());
    }

    /// Whether `/readyz` answers 200.
    pub fn is_ready(&self) -> bool {
        self.check().is_ok()
    }

    /// Why the service is not ready.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let reasons = self.reasons();
        if reasons.is_empty() {
            return Ok(());
        }
        let names = reasons.keys().cloned().collect::<Vec<_>>().join(", ");
        Err(ApiError::unavailable(format!("not ready: {names}")).with_details(json!({ "reasons": reasons })))
    }

    fn reasons(&self) -> BTreeMap<String, String> {
        let inner = self.inner();
        let mut reasons = inner.reasons.clone();
        if inner.draining {
            reasons.insert("draining".to_owned(), "the service is ending".to_owned());
        }
        for (name, part) in &inner.parts {
            reasons.extend(part.reasons().into_iter().map(|(what, why)| (format!("{name}.{what}"), why)));
        }
        reasons
    }

    pub(super) fn details(&self) -> Map<String, Value> {
        self.inner().details.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_when_its_parts_are() {
        let (whole, part) = (HealthState::new(), HealthState::new());
        whole.depends_on("orchestrator", part.clone());
        assert!(whole.is_ready());
        part.not_ready("database", "away");
        let told = whole.check().map_err(|error| error.message);
        assert_eq!(told, Err("not ready: orchestrator.database".to_owned()));
        part.ready("database");
        assert!(whole.is_ready());
    }
}
