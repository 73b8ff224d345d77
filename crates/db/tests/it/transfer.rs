//! Export and import: everything out, everything back, equal to the byte.

use std::{path::Path, time::Duration};

use futures_util::StreamExt;
use mesh_six_core::{
    Event, TraceId,
    error::ErrorType,
    event::{EventFilter, Position},
    id::new_id,
};
use mesh_six_db::{
    Database, DbError,
    events::{Appended, EventLog},
    export::{Export, ExportFile, Range, Receipt, TransferError},
    import::{Imported, import},
    owner, partitions,
    seals::{self, Month, SealOptions},
};
use mesh_six_testing::{TestDatabase, wait_until};
use serde_json::json;
use tokio::io::BufReader;

/// Other tests' transactions come to an end by then.
const SETTLED: Duration = Duration::from_mins(2);

fn event(number: i64) -> Event {
    Event::new("test.event", "test-agent", TraceId::new(), json!({ "number": number }))
}

/// Goes on with `path` until the end of `range`, at most `pages` pages.
async fn export(db: &Database, range: Range, path: &Path, pages: usize) -> Receipt {
    let mut file = ExportFile::open(path).await.unwrap();
    let mut export = Export::open(db, range).await.unwrap();
    if let Some(last) = file.last() {
        export.resume(last);
    }
    for _ in 0..pages {
        let page = export.next_page().await.unwrap();
        if page.is_empty() {
            break;
        }
        file.write(&page).await.unwrap();
    }
    file.finish().await.unwrap()
}

/// Waits until no transaction of the shared server hides what was written so far.
async fn settled(database: &TestDatabase) {
    let client = database.client().await;
    let hidden = "SELECT EXISTS (SELECT FROM mesh_six_events WHERE txid >= mesh_six_horizon())";
    wait_until(SETTLED, async || !client.query_one(hidden, &[]).await.unwrap().get::<_, bool>(0)).await;
}

async fn restore(database: &TestDatabase, file: &Path) -> Result<Imported, TransferError> {
    let mut conn = owner::connect(database.url(), "test").await.unwrap();
    let mut input = BufReader::new(tokio::fs::File::open(file).await.unwrap());
    import(&mut conn, &mut input, |_| ()).await
}

/// A log with all that a row can hold.
async fn fill(db: &Database, client: &tokio_postgres::Client) -> EventLog {
    let log = EventLog::start(db.clone());
    log.append((0..5_000).map(event).collect()).await.unwrap();
    let odd = json!({
        "text": "\u{1}\u{2028}\u{10FFFF}\"\\ \r\n", "numbers": [0, -0.0, 1.5, 1e300, 1e-7, 5e-324, 0.1, u64::MAX, i64::MIN,
        1e16, 123_456_789.123_456_79], "null": null, "empty": {}, "list": [[[]]], "B": true, "a": false, "longer": 1
    });
    let task = new_id();
    log.append(vec![
        Event::new("test.event", "a", TraceId::new(), odd.clone()).of_task(task).keyed(format!("submit:{task}")),
        Event { aggregate_id: Some("project:1".into()), ..event(-1) }.keyed("made up"),
        Event::new("test.event", "ä", TraceId::new(), json!("only text")),
        Event::new("test.event", "a", TraceId::new(), json!([odd])).at("2020-02-29T12:00:00.000001Z".parse().unwrap()),
    ])
    .await
    .unwrap();
    // Older months, as if recorded then, before everything else in the log's order.
    client
        .batch_execute(
            "SELECT mesh_six_ensure_partitions(1, '2024-12-01'); \
             INSERT INTO mesh_six_events (txid, timestamp, occurred_at, id, trace_id, agent_id, event_type, payload) \
             SELECT 1, '2024-12-31 23:59:59.999999+00'::timestamptz + n * interval '1 us', now(), gen_random_uuid(), \
             gen_random_uuid(), 'a', 'test.old', '{}' FROM generate_series(0, 1) n",
        )
        .await
        .unwrap();
    log
}

#[tokio::test]
async fn an_export_restored_and_exported_again_is_the_same_to_the_byte() {
    let (source, target) = (TestDatabase::new().await, TestDatabase::new().await);
    let (db, restored) = (source.database().await, target.database().await);
    fill(&db, &source.client().await).await;
    settled(&source).await;
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.jsonl"), folder.path().join("second.jsonl"));
    let receipt = export(&db, Range::default(), &first, usize::MAX).await;
    assert_eq!(receipt.rows, 5_006);
    let done = restore(&target, &first).await.unwrap();
    assert_eq!((done.rows, done.bytes, done.last), (receipt.rows, receipt.bytes, receipt.last));
    settled(&target).await;
    assert_eq!(export(&restored, Range::default(), &second, usize::MAX).await, receipt);
    assert!(std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap());

    // Months have their partitions, rows their canonical text.
    let mut conn = restored.conn().await.unwrap();
    assert_eq!(partitions::default_rows(&mut conn).await.unwrap(), 0);
    let rows = "SELECT md5(string_agg(e::text, E'\\n' ORDER BY txid, seq)) FROM mesh_six_events e";
    let mut sums = Vec::new();
    for database in [&source, &target] {
        sums.push(database.client().await.query_one(rows, &[]).await.unwrap().get::<_, String>(0));
    }
    assert_eq!(sums[0], sums[1]);

    // Keys are kept, and what is new comes after what was restored.
    let log = EventLog::start(restored.clone());
    let known = event(0).keyed("made up");
    assert_eq!(log.append(vec![known]).await.unwrap(), [Appended::Duplicate]);
    let appended = log.append(vec![event(1), event(2)]).await.unwrap();
    let last = receipt.last.unwrap();
    let mut tail = Box::pin(log.follow(last));
    for appended in appended {
        let Appended::Written(position) = appended else { panic!("{appended:?}") };
        assert!(position > last && position.seq > last.seq, "{position:?} after {last:?}");
        assert_eq!(tail.next().await.unwrap().unwrap().position, position);
    }
    // It can be sealed like any other.
    settled(&target).await;
    let sealed = seals::seal(&restored, SealOptions::default()).await.unwrap();
    assert_eq!((sealed.rows, sealed.closed.contains(&"2024-12".parse().unwrap())), (5_008, true));
}

#[tokio::test]
async fn new_events_follow_imported_ones_of_far_higher_transactions() {
    let (source, target) = (TestDatabase::new().await, TestDatabase::new().await);
    let far = 7_123_456_789_012_i64;
    let insert = format!(
        "INSERT INTO mesh_six_events (txid, seq, occurred_at, id, trace_id, agent_id, event_type, payload) \
         VALUES ({far}, 1000000, now(), gen_random_uuid(), gen_random_uuid(), 'a', 'test.event', '{{}}')"
    );
    source.client().await.batch_execute(&insert).await.unwrap();
    source.client().await.batch_execute("SELECT mesh_six_follow_txid(7123456789012)").await.unwrap();
    settled(&source).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.jsonl");
    assert_eq!(export(&source.database().await, Range::default(), &file, usize::MAX).await.rows, 1);
    // A connection that has planned the insert before the import plans it anew.
    let restored = target.database().await;
    let log = EventLog::start(restored.clone());
    assert!(log.query(&EventFilter::default()).await.unwrap().is_empty());
    restore(&target, &file).await.unwrap();
    let Appended::Written(position) = log.append(vec![event(1)]).await.unwrap()[0] else { panic!() };
    assert!(position.txid > far && position.txid < far + 1_000_000_000_001 && position.seq > 1_000_000, "{position:?}");
    let all: Vec<Position> = Box::pin(log.follow(Position::START)).take(2).map(|e| e.unwrap().position).collect().await;
    assert_eq!(all[1], position);
}

#[tokio::test]
async fn an_interrupted_export_goes_on_where_it_stopped() {
    let source = TestDatabase::new().await;
    let db = source.database().await;
    let log = fill(&db, &source.client().await).await;
    settled(&source).await;
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole.jsonl"), folder.path().join("parts.jsonl"));
    let receipt = export(&db, Range::default(), &whole, usize::MAX).await;
    export(&db, Range::default(), &parts, 1).await;
    // Killed in the middle of a line.
    let file = std::fs::OpenOptions::new().write(true).open(&parts).unwrap();
    file.set_len(file.metadata().unwrap().len() - 17).unwrap();
    assert_eq!(export(&db, Range::default(), &parts, usize::MAX).await, receipt);
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&parts).unwrap());
    // Later events are added; the file still holds each once.
    log.append(vec![event(9)]).await.unwrap();
    settled(&source).await;
    let more = export(&db, Range::default(), &parts, usize::MAX).await;
    assert_eq!((more.rows, more.bytes > receipt.bytes), (receipt.rows + 1, true));
    // From a position, up to a time, of a month.
    let range = Range { after: receipt.last.unwrap(), ..Range::default() };
    assert_eq!(Export::open(&db, range).await.unwrap().count().await.unwrap(), Some(1));
    let until = Some("2025-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(Export::open(&db, Range { until, ..Range::default() }).await.unwrap().count().await.unwrap(), Some(1));
    let month: Month = "2025-01".parse().unwrap();
    let of_month = export(&db, Range::month(month), &folder.path().join("month.jsonl"), usize::MAX).await;
    assert_eq!(of_month.rows, 1);
    // Another file is not taken for an export.
    let other = folder.path().join("other");
    std::fs::write(&other, "{\"a\": 1}\n").unwrap();
    assert!(matches!(ExportFile::open(&other).await, Err(TransferError::Line { line: 1, .. })));
}

#[tokio::test]
async fn an_export_holds_nothing_that_could_still_get_a_predecessor() {
    // An open transaction elsewhere on a shared server only makes the export shorter, so this one has its own.
    let source = TestDatabase::new().await;
    let db = source.database().await;
    let log = EventLog::start(db.clone());
    let slow = source.client().await;
    let insert = "BEGIN; INSERT INTO mesh_six_events (occurred_at, id, trace_id, agent_id, event_type, payload) \
        VALUES (now(), gen_random_uuid(), gen_random_uuid(), 'slow', 'test.event', '{}')";
    slow.batch_execute(insert).await.unwrap();
    log.append(vec![event(1)]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.jsonl");
    assert_eq!(export(&db, Range::default(), &file, usize::MAX).await.rows, 0);
    slow.batch_execute("COMMIT").await.unwrap();
    wait_until(SETTLED, async || export(&db, Range::default(), &file, usize::MAX).await.rows == 2).await;
}

#[tokio::test]
async fn an_import_is_all_or_nothing_and_only_into_an_empty_log() {
    let (source, target) = (TestDatabase::new().await, TestDatabase::new().await);
    let db = source.database().await;
    let log = EventLog::start(db.clone());
    log.append((0..1_500).map(event).collect()).await.unwrap();
    log.append(vec![event(0).keyed("k")]).await.unwrap();
    settled(&source).await;
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.jsonl");
    export(&db, Range::default(), &good, usize::MAX).await;
    let conflict = |error: &TransferError| match error {
        TransferError::Database(DbError::Refused(refusal)) => refusal.error_type == ErrorType::Conflict,
        _ => false,
    };
    assert!(conflict(&restore(&source, &good).await.unwrap_err()), "not empty");

    let text = std::fs::read_to_string(&good).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n") + "\n"
    };
    let again = lines[1_500].replace(&lines[1_500][7..12], "99999");
    let future = lines[9].replace("\"eventVersion\":1", "\"eventVersion\":0");
    let bad = [
        (with(1_200, "{}"), 1_201),
        (with(3, "not json"), 4),
        (with(1_400, lines[2]), 1_401),
        (with(9, &future), 10),
        (text[..text.len() - 5].to_owned(), 1_501),
        (format!("{text}{again}\n"), 1_502),
    ];
    let file = folder.path().join("bad.jsonl");
    for (number, (text, line)) in bad.into_iter().enumerate() {
        std::fs::write(&file, text).unwrap();
        let error = restore(&target, &file).await.unwrap_err();
        assert!(matches!(error, TransferError::Line { line: found, .. } if found == line), "{number}: {error}");
    }
    let empty = "SELECT (SELECT count(*) FROM mesh_six_events) + (SELECT count(*) FROM mesh_six_event_keys)";
    assert_eq!(target.client().await.query_one(empty, &[]).await.unwrap().get::<_, i64>(0), 0);
    // As the application: refused before anything is read.
    assert!(owner::connect(&target.app_url(), "test").await.is_err());
    assert_eq!(restore(&target, &good).await.unwrap().rows, 1_501);
}
