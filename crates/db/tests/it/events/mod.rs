//! The event log against a real database.

mod append;
mod each;
mod immutable;
mod large;
mod query;
mod replay;
mod sink;
mod tail;

use std::time::Duration;

use mesh_six_core::{Event, TraceId, event::Position};
use mesh_six_db::{
    Database,
    events::{Appended, EventLog},
};
use mesh_six_testing::TestDatabase;
use serde_json::json;
use tokio_postgres::Client;

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A log on a database of its own.
struct Rig {
    log: EventLog,
    db: Database,
    /// The owner, who may look and change behind the scenes.
    client: Client,
    database: TestDatabase,
}

impl Rig {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let db = database.database().await;
        Self { log: EventLog::start(db.clone()), db, client: database.client().await, database }
    }

    async fn count(&self, condition: &str) -> i64 {
        count(&self.client, condition).await
    }
}

async fn count(client: &Client, condition: &str) -> i64 {
    let query = format!("SELECT count(*) FROM mesh_six_events WHERE {condition}");
    client.query_one(&query, &[]).await.unwrap().get(0)
}

fn event(number: i64) -> Event {
    Event::new("test.event", "test-agent", TraceId::new(), json!({ "number": number }))
}

fn events(count: i64) -> Vec<Event> {
    (0..count).map(event).collect()
}

fn position(appended: Appended) -> Position {
    match appended {
        Appended::Written(position) => position,
        Appended::Duplicate => panic!("the event was taken for a duplicate"),
    }
}

fn is_written(appended: &Appended) -> bool {
    matches!(appended, Appended::Written(_))
}
