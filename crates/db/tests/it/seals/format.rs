//! The page for strangers: its statements and vectors are run as they stand there.

use mesh_six_testing::TestDatabase;

use super::{Rig, events};

const PAGE: &str = include_str!("../../../../../docs/seal-format.md");

/// The statement of the page that begins so.
fn statement(beginning: &str) -> &'static str {
    let blocks = PAGE.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.into_iter().find(|block| block.starts_with(beginning)).unwrap()
}

/// Seals for which the page's own statement finds something wrong.
async fn wrong(client: &tokio_postgres::Client) -> Vec<i64> {
    let rows = client.query(statement("SELECT"), &[]).await.unwrap();
    assert!(!rows.is_empty());
    rows.iter().filter(|row| !(1..5).all(|column| row.get::<_, bool>(column))).map(|row| row.get(0)).collect()
}

/// The vector that the page has for this.
fn vector(name: &str) -> &'static str {
    let line = PAGE.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
    line.split('`').nth(1).unwrap()
}

#[tokio::test]
async fn the_pages_statement_agrees_with_our_seals_and_finds_a_change() {
    let rig = Rig::new().await;
    for batch in 1..5 {
        rig.log.append(events(batch * 10)).await.unwrap();
    }
    rig.forge("SELECT mesh_six_ensure_partitions(0, '2020-11-15')").await;
    rig.seal_all(30).await;
    assert_eq!(wrong(&rig.forger).await, Vec::<i64>::new());
    let third = "UPDATE mesh_six_events SET payload = '{}' WHERE (txid, seq) = (SELECT to_txid, to_seq \
        FROM mesh_six_event_seals WHERE row_count > 0 ORDER BY number OFFSET 2 LIMIT 1) RETURNING txid";
    assert_eq!(rig.forger.query(third, &[]).await.unwrap().len(), 1);
    let wrong = wrong(&rig.forger).await;
    assert_eq!(wrong, [rig.differing_row().await.seal]);
}

#[tokio::test]
async fn the_pages_vectors_hold() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    client.batch_execute("SELECT mesh_six_ensure_partitions(0, '2026-11-15')").await.unwrap();
    client.batch_execute(statement("INSERT")).await.unwrap();
    let seal = |number: i64, kind: &str, from: &str, rows: &str, created_at: &str, index: &str| {
        let previous = if number == 1 { "00".repeat(32) } else { vector("hash of seal 1").to_owned() };
        let (rows_hash, hash) =
            (vector(&format!("rows_hash of seal {number}")), vector(&format!("hash of seal {number}")));
        format!(
            "INSERT INTO mesh_six_event_seals (number, month, kind, from_txid, from_seq, to_txid, to_seq, row_count, \
             rows_hash, previous_hash, hash, row_index, created_at) VALUES ({number}, 202611, '{kind}', {from}, 9, 3, \
             {rows}, '\\x{rows_hash}', '\\x{previous}', '\\x{hash}', '\\x{index}', '{created_at}')"
        )
    };
    let entry = |txid: i64, seq: i64, content: &str| format!("{txid:016x}{seq:016x}{}", &vector(content)[..8]);
    let index = entry(7, 1, "content of the first row") + &entry(9, 3, "content of the second row");
    client.batch_execute(&seal(1, "rows", "0, 0", "2", "2026-12-01T00:00:01Z", &index)).await.unwrap();
    client.batch_execute(&seal(2, "closed", "9, 3", "0", "2026-12-01T00:10:00.25Z", "")).await.unwrap();
    assert_eq!(wrong(&client).await, Vec::<i64>::new(), "SQL");
    let expect = vector("hash of seal 2").parse().unwrap();
    let options = mesh_six_db::seals::VerifyOptions { expect: Some(expect), from: None };
    let report = mesh_six_db::seals::verify(&database.database().await, options, |_| {}).await.unwrap();
    assert!(report.is_intact() && report.rows == 2, "{report:?}");
    // The same rows sealed by ourselves have the same hash and index.
    client.batch_execute("SET session_replication_role = replica; DELETE FROM mesh_six_event_seals").await.unwrap();
    let db = database.database().await;
    let own = "SELECT encode(rows_hash, 'hex'), encode(row_index, 'hex') FROM mesh_six_event_seals WHERE number = 1";
    mesh_six_testing::wait_until(super::SOON, async || {
        mesh_six_db::seals::seal(&db, mesh_six_db::seals::SealOptions::default()).await.unwrap().head.is_some()
    })
    .await;
    let own = client.query_one(own, &[]).await.unwrap();
    assert_eq!((own.get::<_, &str>(0), own.get::<_, &str>(1)), (vector("rows_hash of seal 1"), index.as_str()));
}
