//! The end of a month, the default partition, and months that are gone.

use std::time::Duration;

use mesh_six_db::seals::{self, Difference, Month, SealOptions, VerifyOptions};
use mesh_six_testing::{TestServer, wait_until};
use tokio_postgres::Client;

use super::{Rig, SOON, events};

/// A row that was recorded at `time`, as the owner may pretend.
async fn insert_at(client: &Client, time: &str) {
    let insert = format!(
        "INSERT INTO mesh_six_events (timestamp, occurred_at, id, trace_id, agent_id, event_type, payload) \
         VALUES ('{time}', '{time}', gen_random_uuid(), gen_random_uuid(), 'a', 'test.event', '{{}}')"
    );
    client.batch_execute(&insert).await.unwrap();
}

async fn partitions_of_2020(client: &Client) {
    client.batch_execute("SELECT mesh_six_ensure_partitions(1, '2020-11-15')").await.unwrap();
}

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

/// Seals until `closed` is closed; a transaction of a test on the same server may be in the way.
async fn close(rig: &Rig, closed: Month) {
    wait_until(SOON, async || {
        seals::seal(&rig.db, SealOptions::default()).await.unwrap();
        seals::is_closed(&mut rig.db.conn().await.unwrap(), closed).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn months_that_are_over_are_closed_in_one_chain_and_take_no_more_rows() {
    let rig = Rig::new().await;
    partitions_of_2020(&rig.forger).await;
    for time in
        ["2020-11-30 23:59:59.999999+00", "2020-12-01 00:00:00+00", "2020-11-01 00:00:00+00", "2020-11-11 11:11:11+00"]
    {
        insert_at(&rig.forger, time).await;
    }
    rig.log.append(events(2)).await.unwrap();
    rig.seal_all(2).await;
    close(&rig, month("2020-12")).await;
    let report = rig.verify(None).await;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.rows, 6);
    assert_eq!(report.closed, [month("2020-11"), month("2020-12")]);
    let seals = "SELECT string_agg(month || ' ' || kind || ' ' || row_count, ', ' ORDER BY number) \
        FROM mesh_six_event_seals WHERE month < 202101";
    let seals: String = rig.forger.query_one(seals, &[]).await.unwrap().get(0);
    for part in ["202011 rows 2, 202011 rows 1", "202011 closed 0", "202012 rows 1", "202012 closed 0"] {
        assert!(seals.contains(part), "{seals}");
    }
    let before = rig.head().await;
    let again = seals::seal(&rig.db, SealOptions::default()).await.unwrap();
    assert_eq!((again.seals, again.head), (0, Some(before)), "closed once");

    insert_at(&rig.forger, "2020-11-30 23:59:59.999998+00").await;
    assert_eq!(seals::seal(&rig.db, SealOptions::default()).await.unwrap().rows, 0, "no seal covers up for it");
    let found = rig.verify(None).await.difference;
    assert!(matches!(found, Some(Difference::RowInClosedMonth { rows: 1, id: Some(_), .. })), "{found:?}");
}

#[tokio::test]
async fn a_month_is_not_closed_while_rows_of_it_are_above_the_horizon() {
    let server = TestServer::start().await;
    let db = server.database().await;
    let (mut slow, owner) = (server.client().await, server.client().await);
    partitions_of_2020(&owner).await;
    insert_at(&owner, "2020-11-02 00:00:00+00").await;
    let open = slow.transaction().await.unwrap();
    open.batch_execute("SELECT pg_current_xact_id()").await.unwrap();
    insert_at(&owner, "2020-11-30 23:59:59+00").await;
    let report = seals::seal(&db, SealOptions::default()).await.unwrap();
    assert_eq!((report.rows, report.closed.as_slice()), (1, &[month("2020-12")][..]), "the empty month is closed");
    open.commit().await.unwrap();
    let report = seals::seal(&db, SealOptions::default()).await.unwrap();
    assert_eq!((report.rows, report.closed.as_slice()), (1, &[month("2020-11")][..]));
    // Long enough for any month of this test.
    let patient = SealOptions { close_after: Duration::from_hours(100 * 366 * 24), ..SealOptions::default() };
    owner.batch_execute("SELECT mesh_six_ensure_partitions(0, '2020-09-15')").await.unwrap();
    assert!(seals::seal(&db, patient).await.unwrap().closed.is_empty());
    let report = seals::verify(&db, VerifyOptions::default(), |_| {}).await.unwrap();
    assert!(report.is_intact() && report.rows == 2, "{report:?}");
}

#[tokio::test]
async fn rows_in_the_default_partition_are_sealed_and_stay_so_when_it_is_repaired() {
    let rig = Rig::new().await;
    for time in ["2091-03-01 00:00:00+00", "2091-03-31 23:59:59+00", "2091-05-05 05:05:05+00"] {
        insert_at(&rig.forger, time).await;
    }
    rig.seal_all(100).await;
    let report = rig.verify(None).await;
    assert_eq!((report.is_intact(), report.rows, report.seals), (true, 3, 2));
    rig.forge(
        "BEGIN; ALTER TABLE mesh_six_events DETACH PARTITION mesh_six_events_default;
         ALTER TABLE mesh_six_events_default RENAME TO mesh_six_events_repaired;
         ALTER TABLE mesh_six_events ATTACH PARTITION mesh_six_events_repaired
            FOR VALUES FROM ('2091-03-01 00:00:00+00') TO ('2091-06-01 00:00:00+00');
         CREATE TABLE mesh_six_events_default PARTITION OF mesh_six_events DEFAULT;
         GRANT SELECT ON mesh_six_events_default TO mesh_six_app; COMMIT",
    )
    .await;
    let report = rig.verify(None).await;
    assert_eq!((report.is_intact(), report.rows), (true, 3), "{report:?}");
    rig.forge("UPDATE mesh_six_events SET agent_id = 'b' WHERE timestamp >= '2091-05-01'").await;
    assert_eq!(rig.differing_row().await.month, month("2091-05"));
}

#[tokio::test]
async fn a_month_may_be_dropped_if_it_is_closed_and_the_chain_says_so() {
    let rig = Rig::new().await;
    partitions_of_2020(&rig.forger).await;
    insert_at(&rig.forger, "2020-11-02 00:00:00+00").await;
    rig.log.append(events(3)).await.unwrap();
    rig.seal_all(100).await;
    let november = month("2020-11");
    let mut conn = rig.db.conn().await.unwrap();
    let current = Month::of(chrono::Utc::now());
    assert!(seals::record_dropped(&mut conn, current).await.is_err_and(|e| e.is_refused()), "it is not closed");
    close(&rig, november).await;
    let noted = rig.head().await;

    rig.forge("DROP TABLE mesh_six_events_2020_11").await;
    let found = rig.verify(None).await.difference;
    assert!(matches!(found, Some(Difference::MonthMissing { month, .. }) if month == november), "{found:?}");

    let head = seals::record_dropped(&mut conn, november).await.unwrap();
    assert!(head.number > noted.number);
    let report = rig.verify(Some(noted.hash)).await;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.rows, report.dropped.as_slice()), (3, &[november][..]), "of it only the seals are verified");
    assert!(seals::record_dropped(&mut conn, november).await.is_err(), "once");

    // It does not come back.
    partitions_of_2020(&rig.forger).await;
    assert!(rig.verify(None).await.is_intact());
    insert_at(&rig.forger, "2020-11-03 00:00:00+00").await;
    assert_eq!(seals::seal(&rig.db, SealOptions::default()).await.unwrap().rows, 0);
    assert!(!rig.verify(None).await.is_intact());
}
