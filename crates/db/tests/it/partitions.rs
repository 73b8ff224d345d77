//! Partition upkeep.

use std::time::Duration;

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use futures_util::future::join_all;
use mesh_six_db::partitions::{self, MONTHS_AHEAD, Partition};
use mesh_six_testing::{TestDatabase, wait_until};
use tokio_util::sync::CancellationToken;

fn month(year: i32, month: u32) -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(year, month, 1).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc()
}

async fn list(database: &TestDatabase) -> Vec<Partition> {
    let db = database.database().await;
    partitions::list(&mut db.conn().await.unwrap()).await.unwrap()
}

/// As the table's owner, with a fixed date instead of today's.
async fn ensure_at(database: &TestDatabase, date: &str) -> i32 {
    let call = format!("SELECT mesh_six_ensure_partitions(3, '{date}')");
    database.client().await.query_one(&call, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn e_2_the_current_and_the_next_three_months_exist_on_any_date() {
    let database = TestDatabase::new().await;
    for date in ["2031-12-31 23:59:59.999999+00", "2032-02-29 12:00:00+00", "2033-01-31 23:30:00-05"] {
        let today: DateTime<Utc> = DateTime::parse_from_str(date, "%Y-%m-%d %H:%M:%S%.f%#z").unwrap().to_utc();
        // Each month has a partition of the log and a bucket of keys, and the month before has a bucket as well.
        assert!(ensure_at(&database, date).await >= 9 - 5, "{date}");
        let partitions = list(&database).await;
        for ahead in 0..4 {
            let from = month(today.year(), today.month()) + Months::new(ahead);
            let found = partitions.iter().find(|p| p.from == Some(from)).unwrap();
            assert_eq!(found.to, Some(from + Months::new(1)), "{date}");
            assert_eq!(found.name, from.format("mesh_six_events_%Y_%m").to_string());
        }
    }
    let default = list(&database).await.pop().unwrap();
    assert!(default.is_default && default.from.is_none());
}

#[tokio::test]
async fn e_2_twice_and_in_parallel_is_harmless() {
    let database = TestDatabase::new().await;
    let db = database.database().await;
    assert_eq!(partitions::ensure(&db, MONTHS_AHEAD).await.unwrap(), 0, "the migration made them");
    let made = join_all((0..4).map(|_| partitions::ensure(&db, 8))).await;
    let made: i32 = made.into_iter().map(Result::unwrap).sum();
    assert_eq!(made, 10, "five months more, each a partition and a bucket, once");
    assert_eq!(partitions::ensure(&db, 8).await.unwrap(), 0);
    assert!(partitions::ensure(&db, 121).await.is_err());
}

#[tokio::test]
async fn e_2_the_last_second_of_a_month_and_the_first_of_the_next_are_both_written() {
    let database = TestDatabase::new().await;
    ensure_at(&database, "2031-11-30 00:00:00+00").await;
    let client = database.client().await;
    for (time, partition) in [
        ("2031-11-30 23:59:59.999999+00", "mesh_six_events_2031_11"),
        ("2031-12-01 00:00:00+00", "mesh_six_events_2031_12"),
        ("2031-12-31 23:59:59.999999+00", "mesh_six_events_2031_12"),
        ("2032-01-01 00:00:00+00", "mesh_six_events_2032_01"),
        ("2032-03-01 00:00:00+00", "mesh_six_events_default"),
    ] {
        let insert = format!(
            "INSERT INTO mesh_six_events (timestamp, occurred_at, id, trace_id, agent_id, event_type, payload) \
             VALUES ('{time}', now(), gen_random_uuid(), gen_random_uuid(), 'a', 'test.event', '{{}}') \
             RETURNING tableoid::regclass::text"
        );
        assert_eq!(client.query_one(&insert, &[]).await.unwrap().get::<_, String>(0), partition);
    }
    let db = database.database().await;
    assert_eq!(partitions::default_rows(&mut db.conn().await.unwrap()).await.unwrap(), 1);
    // A month of which the default partition holds rows cannot be made; the others are.
    assert!(ensure_at(&database, "2032-03-01 00:00:00+00").await > 0);
    let partitions = list(&database).await;
    assert!(partitions.iter().all(|p| p.from != Some(month(2032, 3))));
    assert!(partitions.iter().any(|p| p.from == Some(month(2032, 6))));
}

#[tokio::test]
async fn upkeep_makes_what_is_missing_at_once_and_ends_when_told() {
    let database = TestDatabase::new().await;
    let next = (Utc::now() + Months::new(2)).format("mesh_six_events_%Y_%m").to_string();
    let client = database.client().await;
    client.batch_execute(&format!("DROP TABLE {next}")).await.unwrap();
    let ended = CancellationToken::new();
    let upkeep = tokio::spawn(partitions::run_upkeep(database.database().await, ended.clone()));
    wait_until(Duration::from_secs(30), async || list(&database).await.iter().any(|p| p.name == next)).await;
    ended.cancel();
    upkeep.await.unwrap();
    // What upkeep makes is guarded like the rest.
    assert!(client.batch_execute(&format!("TRUNCATE {next}")).await.is_err());
}
