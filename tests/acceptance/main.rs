//! Acceptance and end-to-end tests: the real binary, a real PostgreSQL, as a person would use them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod cli;
mod mesh;
