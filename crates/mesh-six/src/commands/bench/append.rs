//! P1, P2, P5: appending through the log.

use std::time::{Duration, Instant};

use anyhow::Context;
use mesh_six_core::Event;
use mesh_six_db::events::EventLog;

use super::{
    Bench,
    load::{Worker, median, run},
    reference::{Copier, Inserter},
    report::{Figure, Target},
    sample,
};

/// Callers of P1.
const IN_FLIGHT: usize = 64;
/// Events in a batch of P2, and its callers.
const BATCH: u64 = 1_000;
const BATCH_CALLERS: usize = 4;

/// Which events have a key.
#[derive(Clone, Copy)]
enum Keys {
    None,
    Half,
    All,
}

/// A caller of the log.
struct Appender {
    log: EventLog,
    batch: u64,
    keys: Keys,
    turn: bool,
}

impl Appender {
    fn several(log: &EventLog, callers: usize, batch: u64, keys: Keys) -> Vec<Self> {
        (0..callers).map(|n| Self { log: log.clone(), batch, keys, turn: n % 2 == 0 }).collect()
    }
}

impl Worker for Appender {
    async fn work(&mut self) -> anyhow::Result<u64> {
        let events: Vec<Event> = (0..self.batch)
            .map(|_| {
                self.turn = !self.turn;
                sample::event(matches!((self.keys, self.turn), (Keys::All, _) | (Keys::Half, true)))
            })
            .collect();
        self.log.append(events).await?;
        Ok(self.batch)
    }
}

/// Single events, many callers.
pub(super) async fn p1(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    // Many connections with one statement each, or fewer with several: whichever this server likes better.
    let mut best = (0.0, 1);
    for shared in [1, 4, 8] {
        let callers = Inserter::several(&bench.url, IN_FLIGHT, shared).await?;
        let rate = run(callers, bench.probe()).await?.rate();
        if rate > best.0 {
            best = (rate, shared);
        }
    }
    let (mut reference, mut half, mut all, mut p50) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds() {
        let callers = Inserter::several(&bench.url, IN_FLIGHT, best.1).await?;
        reference.push(run(callers, bench.window()).await?.rate());
        let load = run(Appender::several(&bench.log, IN_FLIGHT, 1, Keys::Half), bench.window()).await?;
        half.push(load.rate());
        p50.push(load.latency(50));
        all.push(run(Appender::several(&bench.log, IN_FLIGHT, 1, Keys::All), bench.window()).await?.rate());
    }
    let reference = median(&reference);
    bench.add(Figure::compared(
        "P1",
        "append, 64 in flight, half keyed",
        (median(&half), reference),
        "events/s",
        Target::Times(4.0),
    ));
    bench.add(Figure::compared(
        "P1-keyed",
        "append, 64 in flight, all keyed",
        (median(&all), reference),
        "events/s",
        Target::Times(3.0),
    ));
    let connections = IN_FLIGHT.div_ceil(best.1);
    let note = format!(
        "one prepared INSERT and commit per event, no keys, 64 in flight on {connections} connections (the best of 64, \
         16 and 8); our p50 is {:.2} ms",
        median(&p50)
    );
    bench.note("P1", note);
    Ok(())
}

/// Batches.
pub(super) async fn p2(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let (mut reference, mut plain, mut keyed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds() {
        let copiers = Copier::several(&bench.url, BATCH_CALLERS, BATCH).await?;
        reference.push(run(copiers, bench.window()).await?.rate());
        let callers = Appender::several(&bench.log, BATCH_CALLERS, BATCH, Keys::None);
        plain.push(run(callers, bench.window()).await?.rate());
        let callers = Appender::several(&bench.log, BATCH_CALLERS, BATCH, Keys::All);
        keyed.push(run(callers, bench.window()).await?.rate());
    }
    let reference = median(&reference);
    bench.add(Figure::compared(
        "P2",
        "append batches of 1000, 4 callers, a batch key",
        (median(&plain), reference),
        "events/s",
        Target::Times(0.9),
    ));
    bench.add(Figure::compared(
        "P2-keyed",
        "append batches of 1000, 4 callers, all keyed",
        (median(&keyed), reference),
        "events/s",
        Target::Times(0.75),
    ));
    bench.note("P2", "binary COPY of batches of 1000 without keys, each committed, on 4 connections");
    Ok(())
}

/// One caller. Both sides take turns event by event, so that what else the machine does meets them alike.
pub(super) async fn p5(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let mut inserter = Inserter::connect(&bench.url).await?;
    let mut appenders = Appender::several(&bench.log, 1, 1, Keys::None);
    let appender = appenders.first_mut().context("no caller")?;
    let (begin, whole) = (Instant::now(), bench.window() * 2);
    let (mut events, mut reference, mut ours) = (0.0, Duration::ZERO, Duration::ZERO);
    while begin.elapsed() < whole {
        let before = Instant::now();
        inserter.work().await?;
        let between = Instant::now();
        appender.work().await?;
        reference += between - before;
        ours += between.elapsed();
        events += 1.0;
    }
    let pair = (events / ours.as_secs_f64(), events / reference.as_secs_f64());
    bench.add(Figure::compared("P5", "append, 1 in flight", pair, "events/s", Target::Times(0.95)));
    bench.note("P5", format!("one prepared INSERT and commit at a time, in turns with ours; {events} each"));
    Ok(())
}
