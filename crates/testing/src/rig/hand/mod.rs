//! The rig by hand: `up`, `status`, `logs`, `down`.
//!
//! `up` leaves a supervisor behind, outside, which owns the ports on this machine and the rig's process; that one is in
//! the namespace with everything it starts. If either dies, the rig ends; if both are killed, the watchers of the
//! processes end them.

mod down;
mod forward;
mod front_door;
mod inside;
mod leftovers;
mod logs;
mod ports;
mod state;
mod status;
mod supervise;
mod up;

pub use self::{
    down::down,
    inside::inside,
    logs::logs,
    ports::FRONT_DOOR,
    state::FOLDER_VARIABLE,
    status::{env, status},
    supervise::supervise,
    up::up,
};

use std::path::PathBuf;

use clap::Args;

/// Which rig.
#[derive(Args, Clone, Debug)]
pub struct HomeArgs {
    /// The rig's folder; without it, one beside the data of `mesh-six up`
    #[arg(long, env = FOLDER_VARIABLE, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// What to start.
#[derive(Args, Clone, Debug)]
#[group(id = "up-options")]
pub struct UpArgs {
    /// Where the rig is kept
    #[command(flatten)]
    pub home: HomeArgs,
    /// The binary mesh-six
    #[arg(long, value_name = "FILE")]
    pub program: PathBuf,
    /// Port of the public API on 127.0.0.1; all other ports move with it
    #[arg(long, default_value_t = FRONT_DOOR)]
    pub port: u16,
    /// OpenAI-compatible endpoint, up to and including /v1; without it the offline model answers
    #[arg(long, env = "LITELLM_BASE_URL", value_name = "URL")]
    pub llm_url: Option<String>,
    /// Name of the model
    #[arg(long, env = "LLM_MODEL", value_name = "NAME")]
    pub model: Option<String>,
    /// Receiver of traces (OTLP over HTTP), such as `http://127.0.0.1:4318`
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp: Option<String>,
    /// Only the servers, for services that somebody else starts, such as `dapr run`
    #[arg(long)]
    pub servers: bool,
    /// Goes on with the data of the last time
    #[arg(long)]
    pub keep: bool,
    /// On this machine's own loopback device, without a network namespace
    #[arg(long)]
    pub no_namespace: bool,
}
