//! Producers whose clocks are a day ahead, or a century behind.

use chrono::{Duration, Utc};
use mesh_six_core::{Event, TraceId};
use mesh_six_db::{
    DbError,
    events::{EventLog, append_in},
};
use mesh_six_testing::TestServer;
use serde_json::json;

use super::Load;

fn refused(answer: &DbError) -> bool {
    matches!(answer, DbError::Refused(refusal) if refusal.field.as_deref() == Some("occurredAt"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producers_clock_a_day_ahead_is_refused_and_nothing_is_stored_in_the_future() {
    let server = TestServer::start().await;
    let (client, db) = (server.client().await, server.database().await);
    let log = EventLog::start(db.clone());
    let load = Load::start(std::slice::from_ref(&log), 4, 2, 10);
    let at = |ahead: Duration| Event::new("test.clock", "tests", TraceId::new(), json!({})).at(Utc::now() + ahead);
    for ahead in [Duration::hours(25), Duration::days(400), Duration::days(-365 * 100)] {
        for _ in 0..10 {
            assert!(refused(&log.append(vec![at(ahead)]).await.unwrap_err()), "{ahead}");
            // Alone among good ones, it fails alone.
            let each = log.append_each(vec![at(Duration::zero()), at(ahead), at(Duration::hours(23))]).await;
            assert!(each[0].is_ok() && refused(each[1].as_ref().unwrap_err()) && each[2].is_ok(), "{each:?}");
        }
        // A fact of a task's life is written whatever the clock says, under the database's time.
        append_in(&mut db.conn().await.unwrap(), &[at(ahead)]).await.unwrap();
    }
    load.goes_on(50).await;
    // now() is before the snapshot, and what was written between the two is seen.
    let wrong = "SELECT count(*) FROM mesh_six_events WHERE timestamp > clock_timestamp() \
        OR occurred_at > now() + interval '1 day' OR occurred_at < now() - interval '1 day'";
    assert_eq!(client.query_one(wrong, &[]).await.unwrap().get::<_, i64>(0), 0);
    let kept = "SELECT count(*) FROM mesh_six_events WHERE agent_id = 'tests'";
    assert_eq!(client.query_one(kept, &[]).await.unwrap().get::<_, i64>(0), 3 * 21);
    load.ends_whole(&client, &db).await;
    log.close().await;
}
