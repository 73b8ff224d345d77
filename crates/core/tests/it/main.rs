//! The rules of the domain, from outside: tables, properties and snapshots.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

mod catalogue;
mod check;
mod examples;
mod key;
mod parse;
mod position;
mod registry;
mod replay;
mod scoring;
mod spans;
mod support;
mod table;
mod task;
mod trace;
