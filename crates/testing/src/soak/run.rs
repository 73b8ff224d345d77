//! A run from beginning to end.

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use mesh_six_core::names::{EVENT_LOGGER, ORCHESTRATOR, TASK_PROGRESS, TASK_RESULTS};
use mesh_six_db::{Database, DbConfig, events::EventLog};
use mesh_six_sidecar::DaprSidecar;
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Plan, Progress, Report, Row, Settings, Targets, dispatch,
    faults::Saboteur,
    http,
    messages::{self, AGENT, Answers, LONE, Pace},
    settle::{self, Settling},
    tasks::{self, TaskLoad},
    throughput, verdict,
};
use crate::{
    StubModel,
    folder::temporary_folder,
    launch::Witness,
    rig::{InstanceSpec, POSTGRESQL, RABBITMQ, REDIS, Rig, RigSpec, Way},
    template::connect,
};

const AGENTS: [&str; 2] = ["simple-agent", "simple-agent-b"];
const ORCHESTRATORS: [&str; 2] = [ORCHESTRATOR, "orchestrator-b"];
/// How often a sidecar that ended is started again.
const WATCH: Duration = Duration::from_secs(1);

/// Does all that `settings` say. An error is one of the soak itself; what does not hold is in the report.
pub async fn run(settings: &Settings, progress: &Progress) -> Result<Report> {
    progress.phase("starting");
    let model = tasks::model().await;
    let folder = temporary_folder()?;
    let mut spec = spec(settings, &model);
    // Not the rig's own, in which PostgreSQL would never be stopped in order.
    spec.folder = Some(folder.path().to_owned());
    let rig = Rig::start(spec).await?;
    let done = both(settings, progress, &rig, &model).await;
    let held = done.as_ref().is_ok_and(Report::holds);
    if !held && let Some(folder) = &settings.artefacts {
        keep_logs(&rig, folder)?;
    }
    progress.phase("ending");
    rig.shut_down().await;
    done
}

/// Two orchestrators, two agents of one capability, the event logger.
fn spec(settings: &Settings, model: &StubModel) -> RigSpec {
    let mut spec = RigSpec::servers(&settings.program)
        .with(InstanceSpec::of(ORCHESTRATORS[0]))
        .with(InstanceSpec::replica(ORCHESTRATOR, ORCHESTRATORS[1]))
        .with(InstanceSpec::of(AGENTS[0]))
        .with(InstanceSpec::as_app(AGENTS[0], AGENTS[1]))
        .with(InstanceSpec::of(EVENT_LOGGER).env("SEAL_EVERY_SECONDS", "5"))
        .with_links();
    spec.model_url = Some(model.url().to_owned());
    spec
}

/// With faults, if there is time for any, then without.
async fn both(settings: &Settings, progress: &Progress, rig: &Rig, model: &StubModel) -> Result<Report> {
    let minutes = settings.length.as_secs_f64() / 60.0;
    let mut report = Report { seed: settings.seed, minutes, rows: Vec::new(), notes: Vec::new() };
    if !settings.length.is_zero() {
        disturbed(settings, progress, rig, model, &mut report).await?;
    }
    if let Some(measured) = settings.measured {
        report.rows.extend(undisturbed(progress, rig, model, measured).await?);
    }
    Ok(report)
}

async fn disturbed(
    settings: &Settings,
    progress: &Progress,
    rig: &Rig,
    model: &StubModel,
    report: &mut Report,
) -> Result<()> {
    let plan = Plan::make(settings.seed, settings.length, settings.pace, &targets(rig));
    for fault in &plan.faults {
        progress.print(&fault.to_string());
    }
    progress.expect(settings.messages, settings.tasks, plan.faults.len());
    let witnesses =
        [Witness::of(rig.broker_url(), TASK_RESULTS).await?, Witness::of(rig.broker_url(), TASK_PROGRESS).await?];
    let client = connect(rig.owner_url()).await?;
    let (lone, kept) = (Answers::of(LONE, settings.messages / 4), Answers::of(AGENT, settings.messages / 4));
    lone.plant(&client, false).await?;
    kept.plant(&client, false).await?;
    let publisher = Publisher::start(rig).await?;
    let log = EventLog::start(Database::connect(DbConfig::new(rig.database_url(), "soak")).await?);

    let begin = Instant::now();
    // The loads end before the faults do, so that what is under way then is met by the last ones too.
    let (length, end) = (settings.length.mul_f64(0.95), begin + settings.length + settings.drain);
    let pace = Pace { begin, length, end, count: progress.messages() };
    let load = TaskLoad { name: format!("soak-{}", settings.seed), count: settings.tasks, begin, length, end };
    let saboteur = Saboteur::new(rig);
    let notes = settings.messages - settings.messages / 4 * 2;
    let stop = CancellationToken::new();
    let work = async {
        // Nothing is started again once this is over, in whatever way.
        let _over = stop.clone().drop_guard();
        let (submitted, sent, answered, written, ()) = tokio::join!(
            load.clone().submit(http(), urls(rig), progress.tasks()),
            messages::notes(rig.broker_url(), notes, pace.clone()),
            lone.publish(rig.broker_url(), pace.clone()),
            kept.write_and_publish(&log, &*publisher.sidecar, pace.clone()),
            saboteur.carry_out(&plan, |fault| progress.fault(fault.to_string())),
        );
        let (submitted, lanes) = (submitted?, [sent?, answered?, written?]);
        progress.phase("settling");
        let settling = Settling { rig, lanes: &lanes, early: &lone, drain: settings.drain };
        let settled = settle::settle(&settling).await?;
        Ok::<_, anyhow::Error>((submitted, lanes, settled))
    };
    let (done, ()) = tokio::join!(work, saboteur.keep_alive(&stop));
    let (submitted, lanes, settled) = done?;

    progress.phase("checking");
    let evidence = verdict::Evidence {
        plan: &plan,
        whole: settings.length.as_secs_f64() >= super::WHOLE * 60.0,
        done: saboteur.done(),
        load: &load,
        submitted: &submitted,
        runs: tasks::runs(model),
        lanes: &lanes,
        settled: &settled,
        witnesses: &witnesses,
    };
    report.rows.extend(verdict::rows(rig, evidence).await?);
    report.notes.extend(saboteur.done().failed);
    log.close().await;
    Ok(())
}

/// Everything that runs in the rig can fail, and each way that its services need.
fn targets(rig: &Rig) -> Targets {
    let servers = [POSTGRESQL, RABBITMQ, REDIS].map(str::to_owned).to_vec();
    let processes = rig.parts().into_iter().filter(|part| !servers.contains(part)).collect();
    let ways = rig.instances().flat_map(|name| Way::ALL.map(|way| (name.to_owned(), way)));
    // The event logger keeps nothing in the store.
    let ways = ways.filter(|(name, way)| name != EVENT_LOGGER || *way != Way::Store).collect();
    Targets { processes, servers, ways }
}

/// The roots of the orchestrators' APIs.
fn urls(rig: &Rig) -> Vec<String> {
    ORCHESTRATORS.iter().map(|name| rig.url(name)).collect()
}

/// The two measurements, with nothing else running.
async fn undisturbed(progress: &Progress, rig: &Rig, model: &StubModel, measured: super::Measured) -> Result<[Row; 2]> {
    progress.phase("measuring how tasks get to their handler");
    let dispatch = dispatch::measure(model, urls(rig), measured.dispatches).await?;
    progress.phase("measuring how a backlog is drained");
    for instance in ORCHESTRATORS.iter().chain(&AGENTS) {
        rig.stop(instance).await?;
        rig.stop(&format!("{instance}.daprd")).await?;
    }
    let client = connect(rig.owner_url()).await?;
    let throughput = throughput::measure(rig, &client, measured.backlog).await?;
    Ok([throughput, dispatch])
}

/// The sidecar of the agent that only the soak plays.
struct Publisher {
    sidecar: Arc<DaprSidecar>,
    // Dropped before the folder.
    _kept: AbortOnDropHandle<()>,
}

impl Publisher {
    async fn start(rig: &Rig) -> Result<Self> {
        let mut guest = rig.guest(AGENT, AGENTS[0], None).await?;
        let sidecar = guest.sidecar();
        let kept = tokio::spawn(async move {
            loop {
                sleep(WATCH).await;
                if !guest.daprd().process().is_running()
                    && let Err(error) = guest.daprd().process().start()
                {
                    eprintln!("the soak's own sidecar does not start again: {error:#}");
                }
            }
        });
        Ok(Self { sidecar, _kept: AbortOnDropHandle::new(kept) })
    }
}

/// All logs, for whoever looks for the cause.
fn keep_logs(rig: &Rig, folder: &std::path::Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for part in rig.parts() {
        let log = rig.log_path(&part)?;
        // A part that never began has none.
        if log.exists() {
            fs::copy(&log, folder.join(format!("{part}.log")))
                .with_context(|| format!("cannot keep {}", log.display()))?;
        }
    }
    eprintln!("the logs are in {}", folder.display());
    Ok(())
}
