//! Says once that something is away, and once that it is back, however often it is tried between.

use mesh_six_core::ApiError;

/// What a loop knows of something it depends on.
#[derive(Debug)]
pub(crate) struct Outage {
    what: &'static str,
    away: bool,
}

impl Outage {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, away: false }
    }

    /// Notes how a try went; returns its value.
    pub(crate) fn note<T, E: Into<ApiError>>(&mut self, tried: Result<T, E>) -> Option<T> {
        match tried {
            Ok(value) => {
                if std::mem::replace(&mut self.away, false) {
                    tracing::info!(work = self.what, "works again");
                }
                Some(value)
            }
            Err(error) => {
                let error = error.into();
                if !std::mem::replace(&mut self.away, true) {
                    tracing::warn!(work = self.what, error.message = error.message, "fails; trying on");
                }
                None
            }
        }
    }
}
