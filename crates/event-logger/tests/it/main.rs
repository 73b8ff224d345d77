//! Tests of the event logger: against PostgreSQL, through the routes that the sidecar and clients call.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

mod api;
mod ask;
mod dead;
mod letters;
mod malformed;
mod odd;
mod outage;
mod pair;
mod paths;
mod ready;
mod refusals;
mod rig;
mod tail;
mod traces;
mod vouching;
