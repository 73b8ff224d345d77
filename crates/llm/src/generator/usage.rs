//! The sum of what requests used.

use std::sync::{Arc, Mutex, PoisonError};

use mesh_six_core::Usage;

/// A shared sum; clones count together.
#[derive(Clone, Debug, Default)]
pub struct UsageCounter(Arc<Mutex<Usage>>);

impl UsageCounter {
    /// The sum so far.
    pub fn get(&self) -> Usage {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `usage`.
    pub fn add(&self, usage: Usage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += usage;
    }
}
