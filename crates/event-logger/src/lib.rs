//! mesh-six-event-logger
