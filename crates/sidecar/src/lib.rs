//! The port to pub/sub, state and invocation, and its adapters. Only this crate knows Dapr's wire formats.
//!
//! A service talks to a [`Sidecar`] and is called through [`subscription_router`]. Both look the same beside a
//! real Dapr sidecar ([`DaprSidecar`]) and on the [`LocalMesh`], which lives in the process.

pub mod bulk;
pub mod cloud_event;
pub mod dapr;
pub mod delivery;
mod limits;
pub mod local;
pub mod metrics;
pub mod port;
mod spans;
pub mod subscriptions;
mod traced;

pub use bulk::{Status, Subscription};
pub use cloud_event::CloudEvent;
pub use dapr::{DaprConfig, DaprConfigError, DaprSidecar};
pub use delivery::{BulkHandler, Delivery};
pub use local::{LocalMesh, MeshConfig};
pub use port::{Condition, Invoked, Message, Sidecar, SidecarError, StateEntry};
pub use subscriptions::{APP_TOKEN_HEADER, subscription_router};
