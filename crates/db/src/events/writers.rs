//! The writers' loops: batches are written whole; what a batch fails on is cut out and settled alone.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc},
    time::{Instant, sleep, timeout},
};
use tracing::warn;

use super::{
    Appended, buckets,
    entry::Entry,
    queue::Queue,
    unit::{BatchKey, Unit, copy},
    wake::Waker,
    write::{LONG_WAIT, SHORT_WAIT, Writer},
};
use crate::{
    error::{DbError, DbResult},
    pool::Database,
};

/// A connection that had nothing to do for so long is given up.
const IDLE: Duration = Duration::from_mins(1);
/// Into so many parts a batch is cut that met a lock or a bad event.
const PARTS: usize = 8;
/// How long one unit waits for somebody's open transaction before its caller is told.
const LOCKED_PATIENCE: Duration = Duration::from_secs(2);

/// Takes batches from the queue for ever. Units that met a lock go to `locked`.
pub(crate) async fn run(db: Database, queue: Arc<Queue>, waker: Waker, locked: mpsc::UnboundedSender<Unit>) {
    let mut writer = Writer::new(db);
    loop {
        match timeout(IDLE, queue.take()).await {
            Ok(mut batch) => {
                let units = std::mem::take(&mut batch.units);
                settle(&mut writer, units, &queue, &waker, &locked).await;
            }
            Err(_) => writer.rest(),
        }
    }
}

/// Gives the connection of `writer` up when it was not used for a while, for ever.
pub(crate) async fn rest_when_idle(writer: Arc<Mutex<Writer>>) {
    loop {
        sleep(IDLE).await;
        writer.lock().await.rest_if_idle();
    }
}

/// Tries units that met a lock again, in turn, until their time is over. They delay nobody but each other.
pub(crate) async fn run_locked(db: Database, waker: Waker, mut locked: mpsc::UnboundedReceiver<Unit>) {
    let mut writer = Writer::new(db);
    let mut waiting: VecDeque<(Unit, Instant)> = VecDeque::new();
    loop {
        if waiting.is_empty() {
            match timeout(IDLE, locked.recv()).await {
                Ok(Some(unit)) => waiting.push_back((unit, Instant::now() + LOCKED_PATIENCE)),
                Ok(None) => return,
                Err(_) => writer.rest(),
            }
        }
        while let Ok(unit) = locked.try_recv() {
            waiting.push_back((unit, Instant::now() + LOCKED_PATIENCE));
        }
        let Some((unit, deadline)) = waiting.pop_front() else { continue };
        let units = vec![unit];
        match write(&mut writer, &units, SHORT_WAIT).await {
            Err(DbError::Locked) if Instant::now() < deadline => {
                waiting.extend(units.into_iter().map(|unit| (unit, deadline)));
            }
            Err(error) => answer_all(units, &error),
            Ok(answers) => answer(units, answers, &waker),
        }
    }
}

/// Writes `units` and answers each of them, or hands it on.
pub(crate) async fn settle(
    writer: &mut Writer,
    units: Vec<Unit>,
    queue: &Queue,
    waker: &Waker,
    locked: &mpsc::UnboundedSender<Unit>,
) {
    let mut batches = match refuse_old(writer, units).await {
        Ok(units) => vec![units],
        Err(error) => return give_up(queue, &error),
    };
    let mut wait = LONG_WAIT;
    while let Some(units) = batches.pop() {
        if units.is_empty() {
            continue;
        }
        match write(writer, &units, wait).await {
            Ok(answers) => answer(units, answers, waker),
            Err(error @ DbError::Unavailable(_)) => {
                answer_all(units.into_iter().chain(batches.drain(..).flatten()), &error);
                give_up(queue, &error);
            }
            Err(DbError::Locked) if units.len() == 1 => units.into_iter().for_each(|unit| {
                if let Err(refused) = locked.send(unit) {
                    refused.0.answer(Err(DbError::Locked));
                }
            }),
            Err(error) if units.len() == 1 => answer_last(units, error),
            Err(_) => {
                wait = SHORT_WAIT;
                batches.extend(cut(units));
            }
        }
    }
}

/// One transaction for all of `units`.
async fn write(writer: &mut Writer, units: &[Unit], wait: Duration) -> DbResult<Vec<Appended>> {
    let entries: Vec<&Entry> = units.iter().flat_map(|unit| &unit.entries).collect();
    let own = units.iter().find_map(|unit| unit.batch_key.clone());
    let key = own.or_else(|| (entries.len() > 1).then(BatchKey::new));
    writer.write(&entries, key.as_ref(), wait).await
}

/// Answers units whose keys are of a month that is no longer kept; returns the others. All are answered on error.
async fn refuse_old(writer: &Writer, units: Vec<Unit>) -> DbResult<Vec<Unit>> {
    let asked = buckets::asked(units.iter().flat_map(|unit| &unit.entries));
    if asked.is_empty() {
        return Ok(units);
    }
    let gone = match writer.gone(asked).await {
        Ok(gone) => gone,
        Err(error) => {
            answer_all(units, &error);
            return Err(error);
        }
    };
    let old = |unit: &Unit| unit.entries.iter().find_map(|e| e.key.map(|k| k.bucket).filter(|b| gone.contains(b)));
    let mut kept = Vec::with_capacity(units.len());
    for unit in units {
        match old(&unit) {
            Some(bucket) => unit.answer(Err(buckets::too_old(bucket).into())),
            None => kept.push(unit),
        }
    }
    Ok(kept)
}

/// Parts of about equal size, the last of which is written first.
fn cut(units: Vec<Unit>) -> Vec<Vec<Unit>> {
    let size = units.len().div_ceil(PARTS);
    let mut parts: Vec<Vec<Unit>> = Vec::with_capacity(PARTS);
    for unit in units {
        match parts.last_mut() {
            Some(part) if part.len() < size => part.push(unit),
            _ => parts.push(vec![unit]),
        }
    }
    parts.reverse();
    parts
}

fn answer(units: Vec<Unit>, answers: Vec<Appended>, waker: &Waker) {
    waker.committed();
    let mut answers = answers.into_iter();
    for unit in units {
        let own = answers.by_ref().take(unit.entries.len()).collect();
        unit.answer(Ok(own));
    }
}

fn answer_all(units: impl IntoIterator<Item = Unit>, error: &DbError) {
    for unit in units {
        unit.answer(Err(copy(error)));
    }
}

fn answer_last(units: Vec<Unit>, error: DbError) {
    if let Some(unit) = units.into_iter().next() {
        unit.answer(Err(error));
    }
}

/// What queued behind an outage would fare no better, and its callers would wait in vain.
fn give_up(queue: &Queue, error: &DbError) {
    warn!(error = %error, "events could not be written");
    answer_all(queue.take_all(), error);
}
