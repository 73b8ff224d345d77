//! Events that stand alone: a bad one, or one whose key somebody holds, fails alone.

use std::time::{Duration, Instant};

use mesh_six_core::Event;
use mesh_six_db::{
    DbError,
    events::{Appended, append_in},
};
use mesh_six_testing::wait_until;

use super::{Rig, SOON, event, events, is_written};

#[tokio::test]
async fn a_bad_event_fails_alone() {
    let rig = Rig::new().await;
    // What only the database finds fault with.
    let poison = "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        IF NEW.event_type = 'test.poison' THEN RAISE EXCEPTION 'poison' USING ERRCODE = 'data_exception'; END IF; \
        RETURN NEW; END $$; \
        CREATE TRIGGER poison BEFORE INSERT ON mesh_six_events FOR EACH ROW EXECUTE FUNCTION poison()";
    rig.client.batch_execute(poison).await.unwrap();
    let mut batch = events(500);
    batch[7] = Event { event_type: "BAD".to_owned(), ..event(7) };
    batch[211] = Event { event_type: "test.poison".to_owned(), ..event(211) };
    batch[499] = Event { event_version: 0, ..event(499) };
    let answers = rig.log.append_each(batch).await;
    for (n, answer) in answers.iter().enumerate() {
        match n {
            7 | 499 => assert!(answer.as_ref().is_err_and(DbError::is_refused)),
            211 => assert!(matches!(answer, Err(DbError::Query(_))), "{answer:?}"),
            _ => assert!(answer.as_ref().is_ok_and(is_written), "{n}: {answer:?}"),
        }
    }
    assert_eq!(rig.count("true").await, 497);

    // In one append they fail together, and do not harm others that share their commit.
    let poisoned = vec![event(0), Event { event_type: "test.poison".to_owned(), ..event(1) }];
    let (bad, good) = tokio::join!(rig.log.append(poisoned), rig.log.append(events(3)));
    assert!(matches!(bad, Err(DbError::Query(_))));
    assert_eq!(good.unwrap().len(), 3);
    assert_eq!(rig.count("true").await, 500);
}

#[tokio::test]
async fn a_key_held_by_an_open_transaction_delays_only_its_event() {
    let rig = Rig::new().await;
    let mut conn = rig.db.conn().await.unwrap();
    hold(&mut conn, "BEGIN").await;
    append_in(&mut conn, &[event(0).keyed("held")]).await.unwrap();

    let mut batch = events(300);
    batch[150] = event(150).keyed("held");
    let started = Instant::now();
    let other = rig.log.clone();
    let each = tokio::spawn(async move { other.append_each(batch).await });
    // All others are on record long before the held one is given up.
    wait_until(SOON, async || rig.count("true").await == 299).await;
    assert!(!each.is_finished(), "the held event still waits");
    let bystander = rig.log.append(vec![event(1_000).keyed("free")]).await.unwrap();
    assert!(is_written(&bystander[0]));
    let answers = each.await.unwrap();
    assert!(matches!(answers[150], Err(DbError::Locked)), "{:?}", answers[150]);
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 299);
    assert!(started.elapsed() < Duration::from_secs(20), "waiting is bounded");

    // Let go in time, it is settled: rolled back, the key is free; committed, it is a duplicate.
    let log = rig.log.clone();
    let waiting = tokio::spawn(async move { log.append(vec![event(2).keyed("held")]).await });
    wait_until(SOON, async || waits_for_lock(&rig).await).await;
    hold(&mut conn, "ROLLBACK").await;
    assert!(is_written(&waiting.await.unwrap().unwrap()[0]));
    assert_eq!(rig.log.append(vec![event(3).keyed("held")]).await.unwrap(), [Appended::Duplicate]);
}

async fn hold(conn: &mut diesel_async::AsyncPgConnection, sql: &str) {
    diesel_async::SimpleAsyncConnection::batch_execute(conn, sql).await.unwrap();
}

async fn waits_for_lock(rig: &Rig) -> bool {
    let waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    !rig.client.query(waiting, &[]).await.unwrap().is_empty()
}
