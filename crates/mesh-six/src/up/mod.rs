//! `mesh-six up`: the whole mesh in one process on one port of 127.0.0.1.

pub(crate) mod database;
mod mesh;

use std::{future::pending, io::ErrorKind, net::Ipv4Addr, process::ExitCode, sync::Arc, time::Duration};

use mesh_six_db::{Database, DbConfig};
use mesh_six_llm::{ChatModel, model_from_config};
use mesh_six_runtime::{
    Env, LlmSettings, ProcessEnv, shutdown_signal,
    telemetry::{self, LogFormat, TelemetryConfig},
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{cli::UpArgs, exit::Exit, output};
use database::MeshDatabase;
use mesh::LocalServices;

/// What the banner calls the model that needs none.
const OFFLINE: &str = "offline";
/// How often the private database is looked at.
const WATCH: Duration = Duration::from_millis(500);

/// Starts everything, says so, and runs until it is told to stop.
pub(crate) async fn run(args: UpArgs) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown_signal();
    for name in &args.without {
        if mesh_six_core::roster::find(name).is_none() {
            return Err(Exit::usage(format!("--without {name}: there is no such service; see `mesh-six services`")));
        }
    }
    let (model, model_name, capture_content) = model(&args)?;
    // Whoever names an endpoint alone has hardly meant the model that happens to be the default.
    let unnamed = args.llm_url.is_some() && args.model.is_none();
    let hint = if unnamed && model_name != OFFLINE { ", by default: choose with --model NAME" } else { "" };
    let telemetry = telemetry::init("mesh-six", LogFormat::Human, &logging(args.verbose)?)?;
    let listener = bind(args.port).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let started = tokio::select! {
        started = database::for_up(args.data_dir) => Some(started?),
        () = shutdown.cancelled() => None,
    };
    // Dropping the half-made start ends its server too.
    let Some(database) = started else { return Ok(ExitCode::SUCCESS) };
    let done = serve(&database, listener, model, capture_content, &args.without, &shutdown, || {
        if args.output.json {
            return output::json(&json!({ "url": url, "database": database.described, "model": model_name }));
        }
        output::print_line(&format!("mesh-six is up: {url}   ({}, model: {model_name}{hint})", database.described))
    });
    let done = done.await;
    database.stop().await;
    telemetry.finish().await;
    done.map(|()| ExitCode::SUCCESS)
}

/// From the database to the end of the last request.
async fn serve(
    database: &MeshDatabase,
    listener: TcpListener,
    model: Arc<dyn ChatModel>,
    capture_content: bool,
    without: &[String],
    shutdown: &CancellationToken,
    announce: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config = DbConfig { direct_url: database.direct_url(), ..DbConfig::new(database.app_url(), "mesh-six up") };
    let db = Database::connect(config).await.map_err(|e| Exit::unreachable(format!("cannot use the database: {e}")))?;
    let services = LocalServices::start(db, model, capture_content, without, shutdown).await?;
    let router = services.router(listener.local_addr()?)?;
    // What drains needs the listener for callers that wait for an answer, so the listener ends last.
    let drained = CancellationToken::new();
    let served = tokio::spawn(mesh_six_runtime::serve(listener, router, drained.clone()));
    let up = async {
        services.ready().await;
        match announce() {
            Ok(()) => pending().await,
            Err(error) => Err(error),
        }
    };
    let told = tokio::select! {
        // Who has ended it is told nothing more.
        biased;
        () = shutdown.cancelled() => Ok(()),
        told = up => told,
        died = watch(database) => Err(died),
    };
    shutdown.cancel();
    services.stop().await;
    drained.cancel();
    served.await??;
    told
}

/// Returns only if the private server has died for good, with the reason; services retry meanwhile.
async fn watch(database: &MeshDatabase) -> anyhow::Error {
    loop {
        tokio::time::sleep(WATCH).await;
        if let Err(error) = database.keep_alive().await {
            return anyhow::Error::new(error)
                .context("the private PostgreSQL server ended and cannot be started again");
        }
    }
}

async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            let hint = "is another mesh-six up? Choose another port with --port, or 0 for a free one";
            anyhow::anyhow!("port {port} on 127.0.0.1 is taken: {hint}")
        }
        ErrorKind::PermissionDenied => anyhow::anyhow!("port {port} needs root: choose one from 1024 with --port"),
        _ => anyhow::Error::new(error).context(format!("cannot listen on port {port}")),
    })
}

/// The model, its name for the banner, and whether content is kept.
fn model(args: &UpArgs) -> anyhow::Result<(Arc<dyn ChatModel>, String, bool)> {
    let env = Overlay { args };
    let settings = LlmSettings::from_env(&env).map_err(|e| Exit::usage(e.to_string()))?;
    let model = model_from_config(settings.endpoint(), Some(settings.api_key.expose()), &settings.model)
        .map_err(|e| Exit::usage(e.to_string()))?;
    let name = if settings.endpoint().is_some() { settings.model } else { OFFLINE.to_owned() };
    Ok((model, name, settings.capture_content))
}

/// The environment, with what the command line says instead.
struct Overlay<'a> {
    args: &'a UpArgs,
}

impl Env for Overlay<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let flag = match name {
            "LITELLM_BASE_URL" => self.args.llm_url.clone(),
            "LLM_MODEL" => self.args.model.clone(),
            _ => None,
        };
        flag.or_else(|| ProcessEnv.get(name))
    }
}

/// Only warnings, unless asked for more: stdout has the banner, and clients show what happens.
fn logging(verbose: bool) -> anyhow::Result<TelemetryConfig> {
    let mut config = TelemetryConfig::from_env(&ProcessEnv).map_err(|e| Exit::usage(e.to_string()))?;
    let named = ProcessEnv.get("LOG").or_else(|| ProcessEnv.get("RUST_LOG")).is_some();
    if !named {
        if verbose { "info" } else { "warn" }.clone_into(&mut config.filter);
    }
    Ok(config)
}
