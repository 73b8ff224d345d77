//! Acceptance and end-to-end tests: the real binary, a real PostgreSQL, as a person would use them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bad_input;
mod bench;
mod cli;
mod crash;
mod dashboard;
mod dead_letters;
mod log_tools;
mod mesh;
mod metrics;
mod model_faults;
mod outage;
mod readme;
mod start_and_stop;
mod story;
mod submit;
mod trace;
mod traces;
mod verify;
