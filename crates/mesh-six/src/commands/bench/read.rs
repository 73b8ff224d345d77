//! P7, P8: reading.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use mesh_six_core::{TraceId, event::EventFilter};
use mesh_six_db::{
    Database, DbConfig,
    events::{Appended, EventLog},
};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    Bench,
    database::connect,
    load::{median, millis, percentile},
    reference::{Id, Reader},
    report::{Figure, Target},
    sample,
};

/// Monthly partitions of the two logs that are compared.
const MONTHS: [i32; 2] = [36, 3];
/// Events of one task.
const PER_TASK: i64 = 7;
/// Traces and tasks that are asked for.
const SAMPLES: i64 = 200;
/// Events that are replayed.
const STORY: usize = 1_000;

/// A log that was filled with so many months of events.
struct Filled {
    db: Database,
    log: EventLog,
    /// Trace and task of some events, spread over all of them.
    asked: Vec<(Uuid, Uuid)>,
    /// The same of the newest hundredth.
    recent: Vec<(Uuid, Uuid)>,
}

impl Filled {
    async fn make(bench: &Bench<'_>, months: i32, rows: i64) -> anyhow::Result<Self> {
        let url = bench.ground.database().await?;
        let client = connect(&url).await?;
        // Exactly so many partitions: those ahead go, those of the past are made.
        client.batch_execute(&partitions(months)).await?;
        client.execute(FILL, &[&months, &rows, &PER_TASK]).await?;
        client.batch_execute("SELECT mesh_six_find_strays()").await?;
        client.batch_execute("VACUUM ANALYZE mesh_six_events").await?;
        let asked = sample_ids(&client, 0, rows).await?;
        let recent = sample_ids(&client, rows / 100 * 99, rows / 100).await?;
        let db = Database::connect(DbConfig::new(url, "mesh-six bench")).await?;
        let log = EventLog::start(db.clone());
        Ok(Self { db, log, asked, recent })
    }

    /// The middle time of a query, by trace or by task, in milliseconds.
    async fn time(&self, asked: &[(Uuid, Uuid)], by_trace: bool) -> anyhow::Result<f64> {
        let mut times: Vec<Duration> = Vec::with_capacity(asked.len());
        for (trace, task) in asked {
            let filter = if by_trace {
                EventFilter { trace_id: Some(TraceId::from_uuid(*trace)), ..EventFilter::default() }
            } else {
                EventFilter { task_id: Some(*task), ..EventFilter::default() }
            };
            let begin = Instant::now();
            let found = self.log.query(&filter).await?;
            times.push(begin.elapsed());
            anyhow::ensure!(found.len() == usize::try_from(PER_TASK)?, "a query found {} events", found.len());
        }
        Ok(millis(percentile(&times, 50)))
    }

    async fn close(self) {
        self.log.close().await;
        self.db.close();
    }
}

/// Trace and task of events among the `count` that come after the first `skipped`.
async fn sample_ids(client: &Client, skipped: i64, count: i64) -> anyhow::Result<Vec<(Uuid, Uuid)>> {
    let sql = "SELECT trace_id, task_id FROM mesh_six_events WHERE seq > $1 AND seq % $2 = 0 ORDER BY seq";
    let mut ids = Vec::new();
    for row in client.query(sql, &[&skipped, &(count / SAMPLES).max(1)]).await? {
        let (Id(trace), Id(task)) = (row.try_get(0)?, row.try_get(1)?);
        ids.push((trace, task));
    }
    anyhow::ensure!(!ids.is_empty(), "there is nothing to ask for");
    Ok(ids)
}

fn partitions(months: i32) -> String {
    format!(
        "DO $$ DECLARE name regclass; BEGIN
             FOR name IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'mesh_six_events'::regclass
                 AND inhrelid <> 'mesh_six_events_default'::regclass LOOP
                 EXECUTE format('DROP TABLE %s', name);
             END LOOP;
         END $$;
         SELECT mesh_six_ensure_partitions({last}, now() - make_interval(months => {last}))",
        last = months - 1
    )
}

/// Tasks spread evenly over the months until now, their events some seconds apart. Ids begin with their time, as
/// ours do.
const FILL: &str = "
    INSERT INTO mesh_six_events (timestamp, occurred_at, id, trace_id, task_id, agent_id, event_type, payload)
    SELECT made + place * interval '1 second', made + place * interval '1 second',
        (hex || '7' || substr(md5('id' || n), 1, 3) || '8' || substr(md5('id' || n), 4, 15))::uuid,
        (hex || '7' || substr(md5('trace' || task), 1, 3) || '8' || substr(md5('trace' || task), 4, 15))::uuid,
        (hex || '7' || substr(md5('task' || task), 1, 3) || '8' || substr(md5('task' || task), 4, 15))::uuid,
        'agent-' || task % 16, (ARRAY['task.submitted', 'task.dispatched', 'llm.call', 'llm.response', 'task.result',
        'task.completed', 'task.progress'])[1 + place],
        jsonb_build_object('capability', 'general-query', 'note', repeat('x', 200))
    FROM (SELECT n, n / $3::bigint AS task, (n % $3::bigint)::integer AS place FROM generate_series(0, $2::bigint - 1) n) rows,
    LATERAL (SELECT begin + (now() - interval '1 minute' - begin) * (task::float8 / ($2::bigint / $3::bigint + 1)) AS made
        FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
            - make_interval(months => $1::integer - 1) AS begin) first) times,
    LATERAL (SELECT lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') AS hex) hexes";

/// By trace and by task, with many partitions and with few.
pub(super) async fn p7(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let rows: i64 = if bench.quick { 70_000 } else { 1_000_000 };
    let rows = rows / PER_TASK * PER_TASK;
    let many = Filled::make(bench, MONTHS[0], rows).await?;
    let few = Filled::make(bench, MONTHS[1], rows).await?;
    bench.settings.queried_rows = rows;
    for (id, name, by_trace) in [
        ("P7-trace", "query by trace (7 rows), 36 monthly partitions", true),
        ("P7-task", "query by task (7 rows), 36 monthly partitions", false),
    ] {
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        // The first turn warms up.
        for turn in 0..4 {
            let pair = (many.time(&many.asked, by_trace).await?, few.time(&few.asked, by_trace).await?);
            if turn > 0 {
                ours.push(pair.0);
                reference.push(pair.1);
            }
        }
        let pair = (median(&ours), median(&reference));
        bench.add(Figure::compared(id, name, pair, "ms", Target::TimesAtMost(1.5)));
    }
    let recent = (many.time(&many.recent, true).await?, few.time(&few.recent, true).await?);
    let note = format!(
        "the same query in a log of 3 partitions; {rows} rows each; p50 of {SAMPLES} traces of any age, all partitions \
         hold rows; of the newest hundredth: {:.3} ms beside {:.3} ms",
        recent.0, recent.1
    );
    bench.note("P7", note);
    many.close().await;
    few.close().await;
    Ok(())
}

/// A story from its beginning to its end.
pub(super) async fn p8(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let aggregate = "bench:story";
    let story = (0..STORY).map(|_| {
        let mut event = sample::event(false);
        event.aggregate_id = Some(aggregate.to_owned());
        event
    });
    let written = bench.log.append(story.collect()).await?;
    anyhow::ensure!(written.iter().all(|w| matches!(w, Appended::Written(_))), "the story was not written");
    let reader = Reader::connect(&bench.url).await?;
    let turns = if bench.quick { 60 } else { 300 };
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        let begin = Instant::now();
        let events: Vec<_> = bench.log.replay(aggregate, None).try_collect().await?;
        let took = begin.elapsed();
        let begin = Instant::now();
        let rows = reader.read(aggregate).await?;
        // The first turns warm both up.
        if turn >= 10 {
            ours.push(took);
            reference.push(begin.elapsed());
        }
        anyhow::ensure!(events.len() == STORY && rows == STORY, "a replay showed {} of {STORY} events", events.len());
    }
    let pair = (millis(percentile(&ours, 50)), millis(percentile(&reference, 50)));
    bench.add(Figure::compared("P8", "replay of 1,000 events", pair, "ms", Target::TimesAtMost(1.5)));
    bench.note("P8", "one warm prepared SELECT of the same rows with tokio-postgres, every column decoded; p50");
    Ok(())
}
