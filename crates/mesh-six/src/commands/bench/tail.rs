//! P6: following the log while others write.

use std::{
    collections::HashMap,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures_util::{Stream, StreamExt};
use mesh_six_core::StoredEvent;
use mesh_six_db::DbResult;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use uuid::Uuid;

use super::{
    Bench,
    database::connect,
    load::{millis, percentile},
    report::{Figure, Target},
    sample,
};

/// Writers of P6b and rows of one of their transactions.
const WRITERS: usize = 32;
const ROWS: usize = 50;
/// How long a slow transaction stays open.
const SLOW: Duration = Duration::from_millis(100);
/// A tail that shows nothing for so long has missed something.
const SILENCE: Duration = Duration::from_secs(20);

/// From commit to seen, at a steady thousand events a second.
pub(super) async fn p6a(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let count = if bench.quick { 3_000 } else { 10_000 };
    let tail = bench.log.follow(bench.log.head().await?);
    let (mut writing, mut committed) = (JoinSet::new(), HashMap::new());
    let log = bench.log.clone();
    let writer = async move {
        let mut clock = interval(Duration::from_millis(1));
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for _ in 0..count {
            clock.tick().await;
            let (log, event) = (log.clone(), sample::event(false));
            writing.spawn(async move {
                let id = event.id;
                log.append(vec![event]).await?;
                anyhow::Ok((id, Instant::now()))
            });
        }
        while let Some(written) = writing.join_next().await {
            let (id, at) = written??;
            committed.insert(id, at);
        }
        anyhow::Ok(committed)
    };
    let writer = JoinSet::from_iter([writer]);
    let seen = see(tail, count).await?;
    let committed: HashMap<Uuid, Instant> = writer.join_all().await.into_iter().next().context("no writer")??;
    let lags: Vec<Duration> =
        committed.iter().filter_map(|(id, at)| Some(seen.get(id)?.saturating_duration_since(*at))).collect();
    anyhow::ensure!(lags.len() == count, "the tail showed {} of {count} events", lags.len());
    let p99 = millis(percentile(&lags, 99));
    let name = "tail: commit to seen, 1,000 events/s, p99";
    bench.add(Figure::alone("P6a", name, p99, "ms", Target::AtMost(100.0)));
    bench.note("P6a", format!("{count} events; p50 {:.1} ms", millis(percentile(&lags, 50))));
    Ok(())
}

/// When each of the next `count` events was seen.
async fn see(tail: impl Stream<Item = DbResult<StoredEvent>>, count: usize) -> anyhow::Result<HashMap<Uuid, Instant>> {
    let mut tail = pin!(tail);
    let mut seen = HashMap::with_capacity(count);
    while seen.len() < count {
        let next = timeout(SILENCE, tail.next()).await.context("the tail fell silent")?;
        seen.insert(next.context("the tail ended")??.event.id, Instant::now());
    }
    Ok(seen)
}

/// Nothing missed and nothing twice, whatever writers do.
pub(super) async fn p6b(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let total = if bench.quick { 100_000 } else { 1_000_000 };
    let each = total / WRITERS;
    let tail = bench.log.follow(bench.log.head().await?);
    let mut writers = JoinSet::new();
    let begin = Instant::now();
    for number in 0..WRITERS {
        let url = bench.url.clone();
        writers.spawn(async move { write(&url, number, each).await });
    }
    let written = async {
        while let Some(done) = writers.join_next().await {
            done??;
        }
        anyhow::Ok(begin.elapsed())
    };
    let (written, (missed, twice)) = tokio::try_join!(written, check(tail, each))?;
    let seen = begin.elapsed();
    let name = "tail under 32 writers, some slow, some aborting: missed or twice";
    #[expect(clippy::cast_precision_loss, reason = "there are at most a million")]
    let wrong = (missed + twice) as f64;
    bench.add(Figure::alone("P6b", name, wrong, "events", Target::AtMost(0.0)));
    let note = format!(
        "{} events: missed {missed}, twice {twice}; written in {:.1} s, all seen {:.1} s later; transactions stay open \
         for up to {} ms",
        each * WRITERS,
        written.as_secs_f64(),
        seen.saturating_sub(written).as_secs_f64(),
        SLOW.as_millis()
    );
    bench.note("P6b", note);
    Ok(())
}

/// Writes numbered rows, made by the server, in transactions that are sometimes slow or rolled back.
async fn write(url: &str, number: usize, count: usize) -> anyhow::Result<()> {
    let mut client = connect(url).await?;
    let insert = client
        .prepare(
            "INSERT INTO mesh_six_events (occurred_at, id, trace_id, agent_id, event_type, payload) \
             SELECT now(), gen_random_uuid(), gen_random_uuid(), 'bench-writer', 'bench.tail', \
             jsonb_build_object('writer', $1::integer, 'number', n) FROM generate_series($2::integer, $3::integer) n",
        )
        .await?;
    let (writer, mut from) = (i32::try_from(number)?, 0);
    let mut turn = 0_usize;
    while from < count {
        turn += 1;
        let to = (from + ROWS).min(count);
        let transaction = client.transaction().await?;
        transaction.execute(&insert, &[&writer, &i32::try_from(from)?, &(i32::try_from(to)? - 1)]).await?;
        if number.is_multiple_of(8) && turn.is_multiple_of(20) {
            sleep(SLOW).await;
        }
        if number % 8 == 1 && turn.is_multiple_of(3) {
            transaction.rollback().await?;
            continue;
        }
        transaction.commit().await?;
        from = to;
    }
    Ok(())
}

/// Follows until each writer's last row; counts the gaps and the repetitions in their numbers.
async fn check(tail: impl Stream<Item = DbResult<StoredEvent>>, each: usize) -> anyhow::Result<(usize, usize)> {
    let mut tail = pin!(tail);
    let mut next = [0_usize; WRITERS];
    let (mut missed, mut twice) = (0, 0);
    while next.iter().any(|n| *n < each) {
        let Ok(event) = timeout(SILENCE, tail.next()).await else {
            missed += next.iter().map(|n| each - n).sum::<usize>();
            break;
        };
        let event = event.context("the tail ended")??.event;
        if event.event_type != "bench.tail" {
            continue;
        }
        let read = |name: &str| event.payload.get(name).and_then(serde_json::Value::as_u64);
        let writer = usize::try_from(read("writer").context("no writer")?)?;
        let number = usize::try_from(read("number").context("no number")?)?;
        let expected = next.get_mut(writer).context("an unknown writer")?;
        if number < *expected {
            twice += 1;
        } else {
            missed += number - *expected;
            *expected = number + 1;
        }
    }
    Ok((missed, twice))
}
