//! The way in for events that must never delay or fail their caller (events.md §2).

use crate::Event;

/// Takes events about model and tool calls. Never blocks, never fails: what does not fit is dropped and counted.
pub trait EventSink: Send + Sync {
    /// Hands `event` over; returns at once.
    fn send(&self, event: Event);
}

/// A sink for a service without a database: forgets everything (criterion E.10).
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEventLog;

impl EventSink for NoEventLog {
    fn send(&self, _: Event) {}
}

/// Keeps what was sent, for tests and for callers that write the events themselves.
#[derive(Debug, Default)]
pub struct CollectingSink(std::sync::Mutex<Vec<Event>>);

impl CollectingSink {
    /// Everything sent so far, in order; the sink is empty afterwards.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl EventSink for CollectingSink {
    fn send(&self, event: Event) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
    }
}
