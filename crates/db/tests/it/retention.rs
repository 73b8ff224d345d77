//! Retention: the default partition is repaired, months go whole, keys go last.

use std::time::Duration;

use chrono::{DateTime, Months, Utc};
use diesel_async::AsyncPgConnection;
use futures_util::StreamExt;
use mesh_six_core::{
    Event, TraceId,
    error::ErrorType,
    event::{Content, EventFilter, Position},
};
use mesh_six_db::{
    Database, DbError,
    events::EventLog,
    export::{Export, ExportFile, Receipt},
    owner, partitions,
    retention::{self, drop_buckets, drop_month, plan, record_export, repair_default},
    seals::{self, Month, SealOptions, SealReport, VerifyOptions},
};
use mesh_six_testing::{TestDatabase, wait_until};
use serde_json::json;
use tokio_postgres::Client;
use uuid::{NoContext, Timestamp, Uuid};

const SOON: Duration = Duration::from_secs(30);
/// Other tests' transactions come to an end by then.
const SETTLED: Duration = Duration::from_mins(2);

struct Rig {
    database: TestDatabase,
    client: Client,
    owner: AsyncPgConnection,
    db: Database,
}

impl Rig {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let owner = owner::connect(database.url(), "test").await.unwrap();
        let db = database.database().await;
        Self { client: database.client().await, owner, db, database }
    }

    /// Makes the partition of the month of `date`, and so many after it.
    async fn ensure(&self, date: &str, ahead: i32) -> i32 {
        let call = format!("SELECT mesh_six_ensure_partitions({ahead}, '{date}')");
        self.client.query_one(&call, &[]).await.unwrap().get(0)
    }

    /// Writes `count` events as if they had been recorded at `time`; gives the partition they went to.
    async fn write(&self, time: &str, count: i32) -> String {
        let insert = format!(
            "INSERT INTO mesh_six_events (timestamp, occurred_at, id, trace_id, agent_id, event_type, payload) \
             SELECT '{time}', '{time}', gen_random_uuid(), gen_random_uuid(), 'a', 'test.event', '{{}}' \
             FROM generate_series(1, {count}) RETURNING tableoid::regclass::text"
        );
        self.client.query(&insert, &[]).await.unwrap()[0].get(0)
    }

    /// All rows, in order.
    async fn rows(&self) -> Vec<(i64, i64, Uuid)> {
        let all = "SELECT txid, seq, id::text FROM mesh_six_events ORDER BY txid, seq";
        let rows = self.client.query(all, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get::<_, &str>(2).parse().unwrap())).collect()
    }

    /// Seals everything, once no transaction of the shared server hides any of it.
    async fn seal(&self) -> SealReport {
        let hidden = "SELECT EXISTS (SELECT FROM mesh_six_events WHERE txid >= mesh_six_horizon())";
        wait_until(SETTLED, async || !self.client.query_one(hidden, &[]).await.unwrap().get::<_, bool>(0)).await;
        seals::seal(&self.db, SealOptions::default()).await.unwrap()
    }

    async fn stray(&self) -> i64 {
        partitions::default_rows(&mut self.db.conn().await.unwrap()).await.unwrap()
    }

    async fn export(&mut self, month: Month) -> Receipt {
        let folder = tempfile::tempdir().unwrap();
        let mut file = ExportFile::open(&folder.path().join("month.jsonl")).await.unwrap();
        let range = retention::export_range(&mut self.owner, month).await.unwrap();
        let mut export = Export::open(&self.db, range).await.unwrap();
        loop {
            let page = export.next_page().await.unwrap();
            if page.is_empty() {
                return file.finish().await.unwrap();
            }
            file.write(&page).await.unwrap();
        }
    }

    async fn tables(&self, like: &str) -> Vec<String> {
        let query = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relname ~ $1 ORDER BY 1";
        self.client.query(query, &[&like]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A v7 id that was made at `time`.
fn id_of(time: DateTime<Utc>) -> Uuid {
    Uuid::new_v7(Timestamp::from_unix(NoContext, time.timestamp().cast_unsigned(), 0))
}

fn refusal(error: &DbError) -> (ErrorType, String) {
    match error {
        DbError::Refused(refusal) => (refusal.error_type, refusal.message.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn rows_of_the_default_partition_get_partitions_of_their_own() {
    let mut rig = Rig::new().await;
    assert!(repair_default(&mut rig.owner).await.unwrap().is_empty(), "nothing to repair");
    assert_eq!(rig.write("2032-03-31 23:59:59.999999+00", 3).await, "mesh_six_events_default");
    rig.write("2032-05-01 00:00:00+00", 2).await;
    let before = rig.rows().await;
    assert_eq!(repair_default(&mut rig.owner).await.unwrap(), ["mesh_six_events_2032_03"]);
    assert_eq!(rig.rows().await, before);
    assert_eq!(rig.stray().await, 0);
    let all = partitions::list(&mut rig.owner).await.unwrap();
    let made = all.iter().find(|p| p.name == "mesh_six_events_2032_03").unwrap();
    assert_eq!((made.from, made.to), (Some(time("2032-03-01T00:00:00Z")), Some(time("2032-06-01T00:00:00Z"))));
    // Upkeep goes on: the months in it are there, the one after it is made with its bucket, and both buckets before.
    assert_eq!(rig.ensure("2032-04-15 00:00:00+00", 2).await, 4 + 1);
    assert_eq!(rig.write("2032-04-15 00:00:00+00", 1).await, "mesh_six_events_2032_03");
    assert_eq!(rig.write("2032-06-01 00:00:00+00", 1).await, "mesh_six_events_2032_06");
    assert_eq!(rig.write("2032-07-01 00:00:00+00", 1).await, "mesh_six_events_default");
    for guarded in ["mesh_six_events_2032_03", "mesh_six_events_default", "mesh_six_events_2032_06"] {
        assert!(rig.client.batch_execute(&format!("TRUNCATE {guarded}")).await.is_err(), "{guarded}");
        assert!(rig.client.batch_execute(&format!("DELETE FROM {guarded}")).await.is_err(), "{guarded}");
    }
    // And again, on the new default partition.
    assert_eq!(repair_default(&mut rig.owner).await.unwrap(), ["mesh_six_events_2032_07"]);
    assert_eq!(rig.rows().await.len(), 8);
    // Rows written through the log still find their way.
    let log = EventLog::start(rig.db.clone());
    log.append(vec![Event::new("test.event", "a", TraceId::new(), json!({}))]).await.unwrap();
    assert_eq!(rig.stray().await, 0);
}

#[tokio::test]
async fn months_with_a_partition_between_them_are_repaired_one_by_one() {
    let mut rig = Rig::new().await;
    rig.write("2032-03-31 00:00:00+00", 3).await;
    rig.ensure("2032-05-01 00:00:00+00", 0).await;
    rig.write("2032-05-02 00:00:00+00", 1).await;
    rig.write("2032-07-31 00:00:00+00", 2).await;
    let before = rig.rows().await;
    let made = repair_default(&mut rig.owner).await.unwrap();
    assert_eq!(made, ["mesh_six_events_2032_03", "mesh_six_events_2032_07"]);
    assert_eq!((rig.rows().await, rig.stray().await), (before, 0));
    assert!(rig.tables("_stray$").await.is_empty());
    for guarded in made {
        assert!(rig.client.batch_execute(&format!("TRUNCATE {guarded}")).await.is_err(), "{guarded}");
    }
    assert!(rig.ensure("2032-03-01 00:00:00+00", 6).await > 0);
}

#[tokio::test]
async fn a_repair_waits_for_an_open_reader_without_stopping_the_others_for_long() {
    let mut rig = Rig::new().await;
    rig.write("2032-03-31 00:00:00+00", 3).await;
    let reader = rig.database.client().await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM mesh_six_events").await.unwrap();
    let repair = tokio::spawn(async move {
        let made = repair_default(&mut rig.owner).await;
        (rig, made)
    });
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'mesh_six_events'::regclass)";
    wait_until(SOON, async || reader.query_one(waits, &[]).await.unwrap().get(0)).await;
    // It gives way after its lock time-out, so that others are not kept waiting behind it.
    wait_until(SOON, async || !reader.query_one(waits, &[]).await.unwrap().get::<_, bool>(0)).await;
    reader.batch_execute("COMMIT").await.unwrap();
    let (rig, made) = repair.await.unwrap();
    assert_eq!(made.unwrap(), ["mesh_six_events_2032_03"]);
    assert_eq!(rig.stray().await, 0);
}

#[tokio::test]
async fn a_month_goes_only_when_it_is_closed_sealed_and_exported() {
    let mut rig = Rig::new().await;
    rig.ensure("2025-01-01 00:00:00+00", 1).await;
    rig.write("2025-01-31 12:00:00+00", 5).await;
    rig.write("2025-02-01 00:00:00+00", 4).await;
    let all = rig.rows().await;
    let content = format!(
        "INSERT INTO event_contents (event_id, month, kind, content) VALUES ('{}', 202501, 'prompt', 'x'), \
         ('{}', 202501, 'prompt', 'y')",
        all[0].2, all[8].2
    );
    rig.client.batch_execute(&content).await.unwrap();
    let january = month("2025-01");

    // A dry run tells what would go, and why it cannot yet.
    let before = time("2025-02-01T00:00:00Z");
    let planned = plan(&mut rig.db.conn().await.unwrap(), before).await.unwrap();
    let [first] = planned.partitions.as_slice() else { panic!("{planned:?}") };
    assert_eq!((first.partition.as_str(), first.rows, first.closed), ("mesh_six_events_2025_01", 5, false));
    assert_eq!((first.month, first.exported_rows, first.blockers.len()), (january, None, 3));
    assert!(first.bytes > 0);
    let (kind, message) = refusal(&drop_month(&mut rig.owner, january).await.unwrap_err());
    assert_eq!(kind, ErrorType::Conflict);
    assert!(message.contains("not closed") && message.contains("0 of its 5 rows are sealed"), "{message}");
    let early = Receipt { rows: 5, bytes: 0, sha256: String::new(), last: None };
    assert!(record_export(&mut rig.owner, january, &early).await.is_err(), "events may still come");

    let sealed = rig.seal().await;
    assert!(sealed.closed.contains(&january), "{sealed:?}");
    let (_, message) = refusal(&drop_month(&mut rig.owner, january).await.unwrap_err());
    assert!(message.contains("not exported"), "{message}");
    let receipt = rig.export(january).await;
    assert_eq!(receipt.rows, 5);
    let short = Receipt { rows: 4, ..receipt.clone() };
    assert_eq!(refusal(&record_export(&mut rig.owner, january, &short).await.unwrap_err()).0, ErrorType::Conflict);
    record_export(&mut rig.owner, january, &receipt).await.unwrap();
    let planned = plan(&mut rig.owner, before).await.unwrap();
    assert!(planned.partitions[0].blockers.is_empty(), "{planned:?}");
    // Nobody without the owner's rights can do it.
    assert!(drop_month(&mut rig.db.conn().await.unwrap(), january).await.is_err());
    assert!(owner::connect(&rig.database.app_url(), "test").await.is_err());

    let dropped = drop_month(&mut rig.owner, january).await.unwrap();
    assert_eq!((dropped.rows, dropped.contents), (5, 1));
    assert_eq!(rig.rows().await, all[5..]);
    assert!(rig.tables("mesh_six_events_2025_01").await.is_empty());
    assert_eq!(refusal(&drop_month(&mut rig.owner, january).await.unwrap_err()).0, ErrorType::NotFound);

    // The chain stays whole, and tells of the drop.
    let report = seals::verify(&rig.db, VerifyOptions::default(), |_| ()).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.dropped.as_slice(), report.head), ([january].as_slice(), dropped.head));

    // What comes after a position in it is no longer whole; whoever had read all of it has missed nothing.
    let at = |row: &(i64, i64, Uuid)| Position::of(row.0, row.1, time("2025-01-31T12:00:00Z"));
    let mut conn = rig.db.conn().await.unwrap();
    let gone = retention::check_position(&mut conn, at(&all[3])).await.unwrap_err();
    let DbError::Refused(gone) = gone else { panic!("{gone:?}") };
    assert_eq!(gone.error_type, ErrorType::Gone);
    let first: Position = serde_json::from_value(gone.details.unwrap()["first"].clone()).unwrap();
    retention::check_position(&mut conn, at(&all[4])).await.unwrap();
    retention::check_position(&mut conn, first).await.unwrap();
    let range = mesh_six_db::export::Range { after: at(&all[0]), ..Default::default() };
    assert_eq!(refusal(&Export::open(&rig.db, range).await.err().unwrap()).0, ErrorType::Gone);
    let log = EventLog::start(rig.db.clone());
    let error = Box::pin(log.follow(at(&all[3]))).next().await.unwrap().unwrap_err();
    assert_eq!(refusal(&error).0, ErrorType::Gone);
    let next = Box::pin(log.follow(first)).next().await.unwrap().unwrap();
    assert_eq!(next.event.id, all[5].2);
    let kept = log.query(&EventFilter { event_type: Some("test.event".into()), ..Default::default() }).await.unwrap();
    assert_eq!(kept.len(), 4);
}

#[tokio::test]
async fn a_repaired_partition_goes_with_all_its_months() {
    let mut rig = Rig::new().await;
    rig.write("2025-01-31 12:00:00+00", 2).await;
    rig.write("2025-03-01 12:00:00+00", 3).await;
    repair_default(&mut rig.owner).await.unwrap();
    rig.seal().await;
    let january = month("2025-01");
    let receipt = rig.export(january).await;
    assert_eq!(receipt.rows, 5, "the export of its first month holds the whole partition");
    record_export(&mut rig.owner, january, &receipt).await.unwrap();
    assert_eq!(refusal(&drop_month(&mut rig.owner, month("2025-03")).await.unwrap_err()).0, ErrorType::NotFound);
    assert_eq!(drop_month(&mut rig.owner, january).await.unwrap().rows, 5);
    let report = seals::verify(&rig.db, VerifyOptions::default(), |_| ()).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.dropped, [january, month("2025-02"), month("2025-03")]);
}

#[tokio::test]
async fn keys_go_once_nothing_refers_to_them_and_are_then_refused_as_too_old() {
    let mut rig = Rig::new().await;
    rig.ensure("2025-02-01 00:00:00+00", 2).await;
    let log = EventLog::start(rig.db.clone());
    let task = id_of(time("2025-02-10T00:00:00Z"));
    let keyed = || Event::new("test.event", "a", TraceId::new(), json!({})).keyed(format!("submit:{task}"));
    log.append(vec![keyed()]).await.unwrap();
    let waiting = id_of(time("2025-03-10T00:00:00Z"));
    rig.client
        .batch_execute(&format!(
            "INSERT INTO orchestrator_tasks (task_id, capability, requested_by, trace_id) \
             VALUES ('{task}', 'c', 'r', gen_random_uuid()); \
             INSERT INTO dead_letters (app_id, topic, source, id, envelope, reason) \
             VALUES ('a', 't', 's', '1', convert_to('{{\"data\":{{\"taskId\":\"{waiting}\"}}}}', 'UTF8'), 'r')"
        ))
        .await
        .unwrap();
    let all = Utc::now() + Months::new(1);
    let planned = plan(&mut rig.owner, all).await.unwrap().buckets;
    assert_eq!(planned.first().map(|b| (b.month, b.blocker.clone())), Some((month("2025-01"), None)));
    assert!(planned[1].blocker.as_ref().is_some_and(|why| why.contains("2025-02")), "{planned:?}");
    assert!(planned.iter().rev().take(2).all(|b| b.blocker.is_some()), "{planned:?}");
    assert_eq!(drop_buckets(&mut rig.owner, all).await.unwrap(), [month("2025-01")]);

    // The task has long ended; the letter still holds its own month and those after it.
    let ended = "UPDATE orchestrator_tasks SET status = 'failed', ended_at = now() - interval '8 days'";
    rig.client.batch_execute(ended).await.unwrap();
    assert_eq!(drop_buckets(&mut rig.owner, all).await.unwrap(), [month("2025-02")]);
    let error = log.append(vec![keyed()]).await.unwrap_err();
    assert!(refusal(&error).1.contains("2025-02"), "{error}");

    let letter = |body: &str| format!("UPDATE dead_letters SET envelope = convert_to('{body}', 'UTF8')");
    rig.client.batch_execute(&letter("{\"time\": \"2025-04-30T00:00:00Z\"}")).await.unwrap();
    assert_eq!(drop_buckets(&mut rig.owner, all).await.unwrap(), [month("2025-03")]);
    rig.client.batch_execute("UPDATE dead_letters SET envelope = '\\xff00', state = 'waiting'").await.unwrap();
    drop_buckets(&mut rig.owner, all).await.unwrap();
    let left = rig.tables("^mesh_six_event_keys_[0-9]{6}$").await;
    let last_month = Month::of(Utc::now() - Months::new(1));
    assert_eq!(left[0], format!("mesh_six_event_keys_{:06}", last_month.number()), "{left:?}");
    // What writers count on is there; upkeep makes nothing again.
    assert_eq!(partitions::ensure(&rig.db, 3).await.unwrap(), 0);
}

#[tokio::test]
async fn the_contents_of_events_that_stay_are_not_dropped_with_a_month() {
    let mut rig = Rig::new().await;
    let log = EventLog::start(rig.db.clone());
    let text = "a secret".to_owned();
    let kept = Event::new("test.event", "a", TraceId::new(), json!({}))
        .at(time("2025-01-15T00:00:00Z"))
        .with_content(Content { kind: "prompt", user_id: None, text });
    log.append(vec![kept]).await.unwrap();
    rig.ensure("2025-01-01 00:00:00+00", 0).await;
    rig.write("2025-01-31 12:00:00+00", 1).await;
    rig.seal().await;
    let january = month("2025-01");
    let receipt = rig.export(january).await;
    record_export(&mut rig.owner, january, &receipt).await.unwrap();
    assert_eq!(drop_month(&mut rig.owner, january).await.unwrap().contents, 0);
    let left = rig.client.query_one("SELECT count(*) FROM event_contents", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 1);
}
