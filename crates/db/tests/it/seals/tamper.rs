//! A superuser who changes the log is found out, and the first row that differs is named.

use mesh_six_core::event::Position;
use mesh_six_db::seals::{self, Difference, RowChange, VerifyOptions};
use tokio_postgres::NoTls;

use super::{Rig, assert_row, events};

#[tokio::test]
async fn one_byte_changed_in_any_field_names_the_row() {
    let rig = Rig::sealed(60, 25).await;
    let rows = rig.rows().await;
    let victim = &rows[33];
    let row = format!("FROM mesh_six_events WHERE seq = {}", victim.1);
    rig.forge(&format!("CREATE TEMP TABLE saved AS SELECT * {row}")).await;
    for change in [
        "occurred_at = occurred_at + interval '1 microsecond'",
        "timestamp = timestamp - interval '1 microsecond'",
        "trace_id = '00000000-0000-7000-8000-000000000001'",
        "task_id = '00000000-0000-7000-8000-000000000001'",
        "agent_id = 'test-agenT'",
        "event_type = 'test.evenu'",
        "event_version = 2",
        "payload = '{\"number\": 32}'",
        "payload = '{\"number\": 33.0}'",
        "aggregate_id = ''",
        "idempotency_key = 'x'",
    ] {
        rig.forge(&format!("UPDATE mesh_six_events SET {change} WHERE seq = {}", victim.1)).await;
        let differing = rig.differing_row().await;
        assert_row(&differing, victim, RowChange::Changed);
        assert_eq!(differing.seal, 2, "{change}");
        rig.forge(&format!("DELETE {row}; INSERT INTO mesh_six_events SELECT * FROM saved")).await;
        assert_eq!(rig.verify(None).await.difference, None, "restored after {change}");
    }
    // The id is what the row is called by.
    rig.forge(&format!("UPDATE mesh_six_events SET id = gen_random_uuid() WHERE seq = {}", victim.1)).await;
    let renamed = rig.differing_row().await;
    assert_eq!((renamed.seq, renamed.change), (victim.1, RowChange::Changed));
    let told = rig.verify(None).await.difference.unwrap().to_string();
    assert!(told.contains(&format!("txid {}, seq {}", victim.0, victim.1)) && told.contains("was changed"), "{told}");
}

#[tokio::test]
async fn a_removed_row_is_named_at_the_edges_too() {
    for at in [0, 24, 25, 33, 59] {
        let rig = Rig::sealed(60, 25).await;
        let rows = rig.rows().await;
        rig.forge(&format!("DELETE FROM mesh_six_events WHERE seq = {}", rows[at].1)).await;
        assert_row(&rig.differing_row().await, &rows[at], RowChange::Removed);
    }
}

#[tokio::test]
async fn an_inserted_row_is_named_also_before_the_first_one() {
    let rig = Rig::new().await;
    for batch in 0..3 {
        rig.log.append(events(10 + batch)).await.unwrap();
    }
    rig.seal_all(8).await;
    let rows = rig.rows().await;
    for (txid, seq) in [(rows[15].0, -1), (-5, 3), (rows[32].0, rows[32].1 - 1_000_000)] {
        let insert = format!(
            "INSERT INTO mesh_six_events (txid, seq, occurred_at, id, trace_id, agent_id, event_type, payload) \
             SELECT {txid}, {seq}, occurred_at, gen_random_uuid(), trace_id, agent_id, event_type, payload \
             FROM mesh_six_events LIMIT 1 RETURNING id::text"
        );
        let id: String = rig.forger.query_one(&insert, &[]).await.unwrap().get(0);
        assert_row(&rig.differing_row().await, &(txid, seq, id), RowChange::Inserted);
        rig.forge(&format!("DELETE FROM mesh_six_events WHERE (txid, seq) = ({txid}, {seq})")).await;
    }
    assert_eq!(rig.verify(None).await.difference, None);
}

#[tokio::test]
async fn two_rows_that_changed_places_and_a_row_that_was_moved_are_named() {
    let rig = Rig::sealed(60, 25).await;
    let rows = rig.rows().await;
    let (one, two) = (&rows[30], &rows[40]);
    // By way of a third place, since the key is unique.
    let exchange = |from: i64, to: i64| format!("UPDATE mesh_six_events SET seq = {to} WHERE seq = {from};");
    rig.forge(&[exchange(one.1, -1), exchange(two.1, one.1), exchange(-1, two.1)].concat()).await;
    let swapped = rig.differing_row().await;
    assert_eq!((swapped.txid, swapped.seq), (one.0, one.1));
    assert_eq!(swapped.id.unwrap().to_string(), two.2, "what stands there now");
    let RowChange::Swapped { with: Position { txid, seq, .. } } = swapped.change else { panic!("{swapped}") };
    assert_eq!((txid, seq), (two.0, two.1));
    rig.forge(&[exchange(two.1, -1), exchange(one.1, two.1), exchange(-1, one.1)].concat()).await;
    assert_eq!(rig.verify(None).await.difference, None);

    // Three transactions, so that there is a place between two rows.
    let rig = Rig::new().await;
    for _ in 0..3 {
        rig.log.append(events(10)).await.unwrap();
    }
    rig.seal_all(100).await;
    let rows = rig.rows().await;
    let (row, to) = (&rows[15], rows[0].0);
    rig.forge(&format!("UPDATE mesh_six_events SET txid = {to} WHERE seq = {}", row.1)).await;
    let moved = rig.differing_row().await;
    assert_eq!((moved.txid, moved.seq, moved.id.unwrap().to_string()), (row.0, row.1, row.2.clone()));
    assert!(matches!(moved.change, RowChange::Moved { to: now } if now.txid == to && now.seq == row.1), "{moved}");
}

#[tokio::test]
async fn a_row_that_was_moved_to_another_month_is_missed() {
    let rig = Rig::sealed(10, 100).await;
    let rows = rig.rows().await;
    let away = "UPDATE mesh_six_events SET timestamp = timestamp + interval '40 days' WHERE seq = ";
    rig.forge(&format!("{away}{}", rows[4].1)).await;
    assert_row(&rig.differing_row().await, &rows[4], RowChange::Removed);
}

#[tokio::test]
async fn a_rewritten_or_shortened_chain_is_consistent_but_not_the_expected_one() {
    let rig = Rig::sealed(60, 25).await;
    let noted = rig.head().await;
    let report = rig.verify(Some(noted.hash)).await;
    assert!(report.is_intact() && report.rows == 60 && report.seals == 3, "{report:?}");
    assert_eq!(report.expected.unwrap().seal, noted.number);

    // More was sealed since: what was noted vouches for everything up to it.
    rig.log.append(events(5)).await.unwrap();
    rig.seal_all(25).await;
    let report = rig.verify(Some(noted.hash)).await;
    assert_eq!((report.is_intact(), report.expected.unwrap().seal, report.head.unwrap().number), (true, 3, 4));

    // The newest seals are cut off, and what they covered is changed.
    let newest = "DELETE FROM mesh_six_event_seals WHERE number >= 3;
        UPDATE mesh_six_events SET agent_id = 'forged' WHERE seq = (SELECT max(seq) FROM mesh_six_events)";
    rig.forge(newest).await;
    let report = rig.verify(None).await;
    assert_eq!((report.is_intact(), report.unsealed.rows), (true, 15), "all that can be said without an expectation");
    let missing = Difference::ExpectedMissing { hash: noted.hash };
    assert_eq!(rig.verify(Some(noted.hash)).await.difference, Some(missing.clone()));

    // All is made anew.
    rig.forge("DELETE FROM mesh_six_event_seals").await;
    rig.seal_all(25).await;
    assert_eq!(rig.verify(None).await.difference, None);
    assert_eq!(rig.verify(Some(noted.hash)).await.difference, Some(missing));
}

#[tokio::test]
async fn a_changed_chain_is_named_by_its_seal() {
    let rig = Rig::sealed(60, 10).await;
    let january = "month = 202001";
    for (change, expected) in [
        ("UPDATE s SET rows_hash = sha256('x') WHERE number = 4", Difference::SealChanged { seal: 4 }),
        ("UPDATE s SET hash = sha256('x') WHERE number = 4", Difference::SealChanged { seal: 4 }),
        ("UPDATE s SET previous_hash = sha256('x') WHERE number = 4", Difference::SealChanged { seal: 4 }),
        ("UPDATE s SET to_seq = to_seq - 1 WHERE number = 4", Difference::SealChanged { seal: 4 }),
        (
            "UPDATE s SET created_at = created_at - interval '1 second' WHERE number = 4",
            Difference::SealChanged { seal: 4 },
        ),
        (&format!("UPDATE s SET {january} WHERE number = 4"), Difference::SealChanged { seal: 4 }),
        (
            "UPDATE s SET row_index = sha256('x') || substr(row_index, 33) WHERE number = 4",
            Difference::SealChanged { seal: 4 },
        ),
        ("DELETE FROM s WHERE number = 4", Difference::SealMissing { seal: 4 }),
        ("DELETE FROM s WHERE number <= 2", Difference::SealMissing { seal: 1 }),
        ("UPDATE s SET number = number + 1 WHERE number = 6", Difference::SealMissing { seal: 6 }),
    ] {
        rig.forge("CREATE TEMP TABLE saved AS SELECT * FROM mesh_six_event_seals").await;
        rig.forge(&change.replace(" s ", " mesh_six_event_seals ")).await;
        assert_eq!(rig.verify(None).await.difference, Some(expected), "{change}");
        let restore = "DELETE FROM mesh_six_event_seals; INSERT INTO mesh_six_event_seals SELECT * FROM saved; \
            DROP TABLE saved";
        rig.forge(restore).await;
    }
}

#[tokio::test]
async fn a_seal_that_was_made_anew_does_not_fit_into_the_chain() {
    let rig = Rig::sealed(30, 10).await;
    let rows = rig.rows().await;
    // The forger removes the newest two seals and a row of the second, seals again, and puts the old third back.
    rig.forge("CREATE TEMP TABLE third AS SELECT * FROM mesh_six_event_seals WHERE number = 3").await;
    rig.forge("DELETE FROM mesh_six_event_seals WHERE number >= 2").await;
    rig.forge(&format!("UPDATE mesh_six_events SET agent_id = 'forged' WHERE seq = {}", rows[14].1)).await;
    rig.seal_all(10).await;
    assert_eq!(rig.verify(None).await.difference, None);
    rig.forge("DELETE FROM mesh_six_event_seals WHERE number = 3").await;
    rig.forge("INSERT INTO mesh_six_event_seals SELECT * FROM third").await;
    assert_eq!(rig.verify(None).await.difference, Some(Difference::ChainBroken { seal: 3 }));
}

#[tokio::test]
async fn verification_can_begin_later_and_says_how_far_it_is() {
    let rig = Rig::sealed(60, 10).await;
    let rows = rig.rows().await;
    rig.forge(&format!("DELETE FROM mesh_six_events WHERE seq = {}", rows[3].1)).await;
    let mut seen = Vec::new();
    let options = VerifyOptions { expect: Some(rig.head().await.hash), from: Some(3) };
    let report =
        seals::verify(&rig.db, options, |progress| seen.push((progress.rows, progress.of_rows))).await.unwrap();
    assert!(report.is_intact(), "the first seal is believed: {report:?}");
    assert_eq!((report.seals, report.rows), (4, 40));
    assert_eq!(seen, [(10, 40), (20, 40), (30, 40), (40, 40)]);
    for from in [0, 7] {
        let options = VerifyOptions { expect: None, from: Some(from) };
        assert!(seals::verify(&rig.db, options, |_| {}).await.is_err_and(|e| e.is_refused()), "{from}");
    }
}

#[tokio::test]
async fn nobody_changes_seals_by_the_way() {
    let rig = Rig::sealed(10, 10).await;
    let (app, connection) = tokio_postgres::connect(&rig.database.app_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let owner = rig.database.client().await;
    for change in [
        "UPDATE mesh_six_event_seals SET month = 202001",
        "DELETE FROM mesh_six_event_seals",
        "TRUNCATE mesh_six_event_seals",
    ] {
        let by_app = app.batch_execute(change).await.unwrap_err();
        assert_eq!(by_app.code().unwrap().code(), "42501", "{change}: {by_app}");
        let by_owner = owner.batch_execute(change).await.unwrap_err();
        assert!(by_owner.as_db_error().unwrap().message().contains("immutable"), "{change}: {by_owner}");
    }
    let refused = mesh_six_db::migrate::revert_last(rig.database.url()).await.unwrap_err();
    assert!(refused.to_string().contains("is not reverted"), "{refused}");
    assert_eq!(rig.head().await.number, 1);
}
