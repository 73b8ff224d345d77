//! The port to pub/sub, state and invocation, and its adapters. Only this crate knows Dapr's wire formats.

pub mod port;

pub use port::{Condition, Invoked, Message, Sidecar, SidecarError, StateEntry};
