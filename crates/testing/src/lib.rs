//! What tests share: databases, servers that can be killed, a scripted model, waiting without sleeping.
//!
//! Everything here panics with a clear message when something is missing, since a test that cannot run must fail.

mod container;
mod cutting;
mod database;
mod folder;
pub mod generated;
mod http;
pub mod launch;
pub mod malformed;
mod mosquitto;
mod otlp;
mod prometheus;
pub mod rig;
pub mod samples;
mod server;
pub mod soak;
mod source;
mod standby;
mod stub_model;
mod task_trace;
mod template;
mod url;
mod wait;

pub use self::{
    container::start as start_container,
    cutting::CuttingProxy,
    database::TestDatabase,
    folder::temporary_folder,
    mosquitto::{Heard, Listener, Mosquitto},
    otlp::{OtlpReceiver, ReceivedSpan, Trace},
    prometheus::{Prometheus, Sample},
    server::TestServer,
    source::SHARED_SETTINGS,
    stub_model::{Call, Reply, StubModel, ToolRequest},
    task_trace::{TaskTrace, is_of_sidecar},
    wait::{free_port, wait_for, wait_until},
};
