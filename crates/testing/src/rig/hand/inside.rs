//! The rig's own process, in its namespace. Not for people: the supervisor starts it.

use std::{collections::BTreeMap, fs, io::Read};

use anyhow::{Context, Result};

use super::{
    UpArgs, forward, front_door,
    state::{Home, Part, State},
};
use crate::{
    launch::{Surroundings, render},
    rig::{POSTGRESQL, RABBITMQ, REDIS, Rig, RigSpec},
    url,
};

/// What `up` was asked for, as a rig.
pub(super) fn spec(args: &UpArgs, home: &Home) -> RigSpec {
    let mut spec = if args.servers { RigSpec::servers(&args.program) } else { RigSpec::all(&args.program) };
    spec.folder = Some(home.data());
    spec.model_url.clone_from(&args.llm_url);
    spec.otlp.clone_from(&args.otlp);
    if let Some(model) = &args.model {
        spec.instances.iter_mut().for_each(|instance| instance.env.push(("LLM_MODEL".to_owned(), model.clone())));
    }
    spec
}

/// Starts everything, says on standard output where it is, and ends everything when standard input ends.
pub async fn inside(args: UpArgs) -> Result<()> {
    let home = Home::find(args.home.folder.clone())?;
    if !args.keep && home.data().exists() {
        fs::remove_dir_all(home.data()).context("cannot remove the data of the last time")?;
    }
    let rig = Rig::start(spec(&args, &home)).await?;
    let state = describe(&rig).await?;
    let _ = fs::remove_file(home.socket());
    forward::serve(&home.socket())?;
    println!("{}", serde_json::to_string(&state)?);
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    ended.await?.context("cannot wait for the supervisor")?;
    rig.shut_down().await;
    Ok(())
}

/// All addresses are those inside; the supervisor knows the others.
async fn describe(rig: &Rig) -> Result<State> {
    let urls: BTreeMap<String, String> = rig.instances().map(|name| (name.to_owned(), rig.url(name))).collect();
    let front = front_door::serve(&urls).await?;
    let mut parts = Vec::new();
    for name in rig.parts() {
        let inner_port = match name.as_str() {
            POSTGRESQL => port(url::host(rig.owner_url()))?,
            RABBITMQ => port(url::host(rig.broker_url()))?,
            REDIS => rig.redis().lock().await.port(),
            _ => match name.strip_suffix(".daprd") {
                Some(instance) => rig.sidecar_ports(instance).http,
                None => port(url::host(&rig.url(&name)))?,
            },
        };
        parts.push(Part { log: rig.log_path(&name)?, inner_port, name, address: String::new() });
    }
    let env = [
        ("DATABASE_URL", rig.database_url().to_owned()),
        ("RABBITMQ_URL", rig.broker_url().to_owned()),
        ("REDIS_PASSWORD", rig.redis().lock().await.password().to_owned()),
        ("APP_API_TOKEN", rig.app_token().to_owned()),
        ("DAPR_API_TOKEN", rig.api_token().to_owned()),
    ];
    Ok(State {
        url: format!("http://127.0.0.1:{front}"),
        isolated: false,
        ready_after_ms: u64::try_from(rig.ready_after().as_millis())?,
        parts,
        env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(),
    })
}

fn port(host: &str) -> Result<u16> {
    let (_, port) = host.rsplit_once(':').context("an address without a port")?;
    port.parse().with_context(|| format!("{port} is no port"))
}

/// Writes the components for sidecars that others start on this machine.
pub(super) fn render_for_others(state: &State, home: &Home) -> Result<()> {
    let variable = |name: &str| {
        let found = state.env.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.clone()).with_context(|| format!("the rig tells no {name}"))
    };
    let address = state.parts.iter().find(|part| part.name == REDIS).map(|part| part.address.clone());
    let surroundings = Surroundings {
        broker_url: variable("RABBITMQ_URL")?,
        redis_address: address.context("the rig has no Redis")?,
        redis_password: variable("REDIS_PASSWORD")?,
        ..Surroundings::default()
    };
    render(&surroundings, &home.path().join("private/dapr")).map(drop)
}
