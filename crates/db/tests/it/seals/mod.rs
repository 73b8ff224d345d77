//! Seals: made in one chain whatever sealers and writers do, and broken by every change.

mod chain;
mod close;
mod format;
mod tamper;

use std::time::Duration;

use mesh_six_core::{Event, TraceId};
use mesh_six_db::{
    Database,
    events::EventLog,
    seals::{self, Difference, Hash, RowChange, RowDifference, SealOptions, VerifyOptions, VerifyReport},
};
use mesh_six_testing::{TestDatabase, wait_until};
use serde_json::json;
use tokio_postgres::Client;

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_mins(1);

/// A log in a database of its own.
struct Rig {
    log: EventLog,
    db: Database,
    /// A superuser to whom the triggers mean nothing.
    forger: Client,
    database: TestDatabase,
}

impl Rig {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let db = database.database().await;
        let forger = database.client().await;
        forger.batch_execute("SET session_replication_role = replica").await.unwrap();
        Self { log: EventLog::start(db.clone()), db, forger, database }
    }

    /// One with this many rows, all sealed.
    async fn sealed(rows: i64, max_rows_per_seal: u32) -> Self {
        let rig = Self::new().await;
        rig.log.append(events(rows)).await.unwrap();
        rig.seal_all(max_rows_per_seal).await;
        rig
    }

    /// Seals until nothing is left; tests on the same server may hold the horizon back for a while.
    async fn seal_all(&self, max_rows_per_seal: u32) {
        let options = SealOptions { max_rows_per_seal, ..SealOptions::default() };
        let left = "SELECT (SELECT count(*) FROM mesh_six_events) - \
            (SELECT coalesce(sum(row_count), 0)::bigint FROM mesh_six_event_seals)";
        wait_until(SOON, async || {
            seals::seal(&self.db, options).await.unwrap();
            self.forger.query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0
        })
        .await;
    }

    async fn verify(&self, expect: Option<Hash>) -> VerifyReport {
        seals::verify(&self.db, VerifyOptions { expect, from: None }, |_| {}).await.unwrap()
    }

    /// The first row that differs.
    async fn differing_row(&self) -> RowDifference {
        match self.verify(None).await.difference {
            Some(Difference::Row(row)) => row,
            other => panic!("no row differs: {other:?}"),
        }
    }

    async fn head(&self) -> seals::Head {
        seals::head(&mut self.db.conn().await.unwrap()).await.unwrap().unwrap()
    }

    async fn forge(&self, statements: &str) {
        self.forger.batch_execute(statements).await.unwrap();
    }

    /// Places and ids of all rows, in order.
    async fn rows(&self) -> Vec<(i64, i64, String)> {
        let rows = "SELECT txid, seq, id::text FROM mesh_six_events ORDER BY txid, seq";
        let rows = self.forger.query(rows, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }
}

fn events(count: i64) -> Vec<Event> {
    (0..count).map(|n| Event::new("test.event", "test-agent", TraceId::new(), json!({ "number": n }))).collect()
}

fn assert_row(row: &RowDifference, expected: &(i64, i64, String), change: RowChange) {
    assert_eq!((row.txid, row.seq, row.change), (expected.0, expected.1, change));
    let id = row.id.map(|id| id.to_string());
    assert_eq!(id.as_deref(), (change != RowChange::Removed).then_some(expected.2.as_str()));
}
