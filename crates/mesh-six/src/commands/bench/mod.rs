//! `mesh-six bench`: how fast the event log is, each figure beside a reference measured in the same run on the same
//! server (P1 to P12). [`reference`] is what it is compared with.

mod append;
mod database;
mod dispatch;
mod http;
mod ingest;
mod load;
mod machine;
mod overhead;
mod process;
mod read;
mod reference;
mod report;
mod sample;
mod settings;
mod tail;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use mesh_six_db::{Database, DbConfig, events::EventLog};
use mesh_six_runtime::shutdown_signal;

use crate::{cli::BenchArgs, exit::Exit};
use database::Ground;
use machine::Machine;
use report::{Figure, Report};
use settings::Settings;

/// All that can be measured.
const ALL: [&str; 12] = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11", "P12"];

/// Appends before anything is timed.
const WARM_UP: usize = 20;

/// A run.
struct Bench<'a> {
    ground: &'a Ground,
    /// The log that is appended to: its URL for the owner, and as our services see it.
    url: String,
    db: Database,
    log: EventLog,
    quick: bool,
    settings: Settings,
    figures: Vec<Figure>,
    notes: BTreeMap<&'static str, String>,
    progress: ProgressBar,
}

impl Bench<'_> {
    /// How long one side of a comparison works.
    fn window(&self) -> Duration {
        if self.quick { Duration::from_millis(1_500) } else { Duration::from_secs(4) }
    }

    /// How long a choice of the reference's form works, or one turn where the sides alternate often.
    fn probe(&self) -> Duration {
        self.window() / 4
    }

    /// How often both sides take turns; the middle result counts.
    fn rounds(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    fn note(&mut self, id: &'static str, note: impl Into<String>) {
        self.notes.insert(id, note.into());
    }
}

/// Measures, prints, and leaves nothing behind, also after Ctrl-C.
pub(crate) async fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown_signal();
    let chosen = chosen(&args.only)?;
    let progress = ProgressBar::new(u64::try_from(chosen.len())?);
    progress.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {elapsed}")?);
    progress.enable_steady_tick(Duration::from_millis(200));
    progress.set_message("database");
    // A half-made server ends with the future that makes it.
    let Some(ground) = shutdown.run_until_cancelled(Ground::prepare()).await else { return Ok(stopped()) };
    let ground = ground?;
    let done = shutdown.run_until_cancelled(Box::pin(measure(&ground, &chosen, args.quick, progress.clone()))).await;
    progress.finish_and_clear();
    let cleared = ground.clear().await;
    let Some(report) = done else {
        cleared?;
        return Ok(stopped());
    };
    report?.print(args.output.json)?;
    cleared?;
    Ok(ExitCode::SUCCESS)
}

fn stopped() -> ExitCode {
    anstream::eprintln!("stopped; nothing is left behind");
    ExitCode::from(130)
}

/// What was asked for, in order; everything if nothing was.
fn chosen(only: &[String]) -> anyhow::Result<Vec<&'static str>> {
    let asked: Vec<String> = only.iter().map(|id| id.trim().to_uppercase()).collect();
    if let Some(unknown) = asked.iter().find(|id| !ALL.contains(&id.as_str())) {
        return Err(Exit::usage(format!("--only {unknown}: there are {}", ALL.join(", "))));
    }
    Ok(ALL.into_iter().filter(|id| asked.is_empty() || asked.iter().any(|a| a == id)).collect())
}

async fn measure(ground: &Ground, chosen: &[&str], quick: bool, progress: ProgressBar) -> anyhow::Result<Report> {
    let (machine, begin) = (Machine::read(), Instant::now());
    // Services count what they do, so the bench does too.
    mesh_six_runtime::metrics::handle();
    let url = ground.database().await?;
    let client = database::connect(&url).await?;
    let settings = Settings::read(&client, quick, ground.is_private()).await?;
    let db = Database::connect(DbConfig::new(&url, "mesh-six bench")).await?;
    let log = EventLog::start(db.clone());
    warm_up(&log).await?;
    let (figures, notes) = (Vec::new(), BTreeMap::new());
    let mut bench = Bench { ground, url, db, log, quick, settings, figures, notes, progress };
    let has = |id: &str| chosen.contains(&id);
    for id in chosen {
        bench.progress.set_message((*id).to_owned());
        match *id {
            "P1" => append::p1(&mut bench).await?,
            "P2" => append::p2(&mut bench).await?,
            "P3" => ingest::p3_p4(&mut bench, true, has("P4")).await?,
            "P4" if !has("P3") => ingest::p3_p4(&mut bench, false, true).await?,
            "P5" => append::p5(&mut bench).await?,
            "P6" => {
                // Millions of rows have just been written, and each commit would wait for their checkpoint.
                if ground.is_private() {
                    database::settle(&bench.url).await?;
                }
                tail::p6a(&mut bench).await?;
                tail::p6b(&mut bench).await?;
            }
            "P7" => read::p7(&mut bench).await?,
            "P8" => read::p8(&mut bench).await?,
            "P9" => overhead::p9(&mut bench).await?,
            "P10" => dispatch::p10(&mut bench).await?,
            "P11" => process::p11_p12(&mut bench, true, has("P12")).await?,
            "P12" if !has("P11") => process::p11_p12(&mut bench, false, true).await?,
            _ => {}
        }
        bench.progress.inc(1);
    }
    let rows = client.query_one("SELECT count(*) FROM mesh_six_events", &[]).await?;
    bench.settings.appended_rows = rows.get(0);
    bench.settings.seconds = begin.elapsed().as_secs();
    bench.log.close().await;
    bench.db.close();
    Ok(Report { machine, settings: bench.settings, results: bench.figures, notes: bench.notes })
}

/// The reference connects and prepares before it is timed, so the log does too: each of its writers.
async fn warm_up(log: &EventLog) -> anyhow::Result<()> {
    for _ in 0..WARM_UP {
        let batch = || log.append(vec![sample::event(false), sample::event(true)]);
        tokio::try_join!(batch(), batch(), batch(), batch(), batch(), batch())?;
        log.append(vec![sample::event(false)]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

    use super::*;

    #[test]
    fn a_choice_is_in_order_and_known() {
        assert_eq!(chosen(&[]).unwrap(), ALL);
        assert_eq!(chosen(&["p5".to_owned(), "P1".to_owned()]).unwrap(), ["P1", "P5"]);
        assert!(chosen(&["P13".to_owned()]).is_err());
    }
}
