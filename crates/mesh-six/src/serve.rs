//! `mesh-six serve`: one service beside a Dapr sidecar, as its image runs it.

use std::process::ExitCode;

use anyhow::Context;
use mesh_six_core::roster::{self, Kind};
use mesh_six_db::{Database, DbConfig, migrate};
use mesh_six_event_logger::EventLoggerConfig;
use mesh_six_llm::model_from_config;
use mesh_six_orchestrator::OrchestratorConfig;
use mesh_six_runtime::{
    CommonConfig, LlmSettings, ProcessEnv,
    agent::AgentConfig,
    http::Auth,
    shutdown_signal,
    telemetry::{self, LogFormat},
};
use mesh_six_sidecar::{DaprConfig, DaprSidecar};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::ServeArgs,
    exit::Exit,
    services::{self, Parts, Service, Storage},
};

/// Serves until SIGTERM.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let service = roster::find(&args.service)
        .ok_or_else(|| Exit::usage(format!("there is no service {:?}; see `mesh-six services`", args.service)))?;
    if !service.built {
        return Err(Exit::usage(format!("{} is not built yet; `mesh-six services` lists what is", service.name)));
    }
    let shutdown = shutdown_signal();
    let usage = |e: mesh_six_runtime::ConfigError| Exit::usage(e.to_string());
    let common = CommonConfig::from_env(&ProcessEnv, service.name).map_err(usage)?;
    let telemetry = telemetry::init(service.name, LogFormat::Json, &common.telemetry)?;
    let parts = parts(service, &common, &shutdown).await?;
    // Listen before anything is asked of the sidecar: it waits for the app in its turn.
    let listener =
        TcpListener::bind(common.listen).await.with_context(|| format!("cannot listen on {}", common.listen))?;
    let auth = Auth::from_config(&common, listener.local_addr()?).map_err(|e| Exit::usage(e.to_string()))?;
    let sidecar = DaprSidecar::new(DaprConfig {
        base_url: common.dapr_url.clone(),
        api_token: common.dapr_api_token.as_ref().map(|t| t.expose().to_owned()),
        ..DaprConfig::new(&common.agent_id)
    })?;
    let running = Service::start(service.name, &parts, sidecar, &shutdown)?;
    let drained = CancellationToken::new();
    let served = tokio::spawn(mesh_six_runtime::serve(listener, running.router(auth), drained.clone()));
    tracing::info!(service = service.name, listen = %common.listen, "serving");
    shutdown.cancelled().await;
    running.ended().await;
    drained.cancel();
    served.await??;
    services::close(parts.mqtt).await;
    if let Some(storage) = parts.storage {
        storage.close().await;
    }
    telemetry.finish().await;
    Ok(ExitCode::SUCCESS)
}

/// What `service` needs of the environment: everyone a database if one is named, agents a model.
async fn parts(
    service: &roster::Service,
    common: &CommonConfig,
    shutdown: &CancellationToken,
) -> anyhow::Result<Parts> {
    let usage = |e: mesh_six_runtime::ConfigError| Exit::usage(e.to_string());
    let app_token = common.app_api_token.as_ref().map(|t| t.expose().to_owned());
    let storage = match &common.database {
        None => None,
        Some(urls) => {
            let config = DbConfig {
                direct_url: urls.direct_url.as_ref().map(|u| u.expose().to_owned()),
                ..DbConfig::new(urls.url.expose(), service.name)
            };
            let db = Database::connect(config).await.map_err(Exit::named_database)?;
            migrate::check(&db).await?;
            Some(Storage::open(db))
        }
    };
    let settings = LlmSettings::from_env(&ProcessEnv).map_err(usage)?;
    let model = if service.kind == Kind::Agent {
        settings.require_choice().map_err(usage)?;
        let key = Some(settings.api_key.expose());
        Some(model_from_config(settings.endpoint(), key, &settings.model).map_err(|e| Exit::usage(e.to_string()))?)
    } else {
        None
    };
    Ok(Parts {
        storage,
        model,
        agent: AgentConfig::from_common(common, settings.capture_content),
        orchestrator: OrchestratorConfig::from_env(&ProcessEnv, app_token).map_err(usage)?,
        mqtt: services::mqtt()?,
        event_logger: EventLoggerConfig::from_env(&ProcessEnv).map_err(usage)?,
        callers: shutdown.clone(),
    })
}
