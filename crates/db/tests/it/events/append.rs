//! Appending: all or nothing, in order, one row a key.

use std::collections::HashSet;

use chrono::{Duration, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use futures_util::future::join_all;
use mesh_six_core::{
    Event,
    event::{Content, EventFilter, key::cloud_event_key},
    id::new_id,
};
use mesh_six_db::{
    DbError,
    events::{Appended, EventLog, append_in},
};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use serde_json::json;

use super::{Rig, event, events, is_written, position};

#[tokio::test]
async fn e_3_append_takes_no_one_and_ten_thousand_events_in_order() {
    let rig = Rig::new().await;
    assert_eq!(rig.log.append(Vec::new()).await.unwrap(), []);
    assert_eq!(rig.count("true").await, 0);
    let one = rig.log.append(events(1)).await.unwrap();
    assert_eq!(one.len(), 1);

    let many = events(10_000);
    let ids: Vec<_> = many.iter().map(|e| e.id).collect();
    let positions: Vec<_> = rig.log.append(many).await.unwrap().into_iter().map(position).collect();
    assert!(positions.is_sorted(), "positions follow the given order");
    assert_eq!(positions.iter().map(|p| p.txid).collect::<HashSet<_>>().len(), 1, "one transaction");
    assert!(positions[0] > position(one[0]));

    let mut filter = EventFilter { after: Some(position(one[0])), limit: Some(1_000), ..EventFilter::default() };
    let mut stored = Vec::new();
    loop {
        let page = rig.log.query(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some(last.position);
        stored.extend(page);
    }
    assert_eq!(stored.iter().map(|e| e.event.id).collect::<Vec<_>>(), ids);
    assert_eq!(stored.iter().map(|e| e.position).collect::<Vec<_>>(), positions);
}

#[tokio::test]
async fn an_event_is_stored_as_it_was_given() {
    let rig = Rig::new().await;
    let task = new_id();
    let mut given = event(1).of_task(task).keyed("a caller's own key");
    given.payload = json!({"text": "ä \"quoted\" \u{1F980}", "float": 0.1, "big": u64::MAX, "none": null, "list": [1]});
    rig.log.append(vec![given.clone()]).await.unwrap();
    let stored = rig.log.query(&EventFilter { task_id: Some(task), ..EventFilter::default() }).await.unwrap();
    assert_eq!(stored[0].event, given);
    assert!((Utc::now() - stored[0].timestamp).num_seconds().abs() < 60);

    // The implied aggregate is not stored, another one is.
    let mut implied = event(2).of_task(task);
    implied.aggregate_id = Some(format!("task:{task}"));
    let mut other = event(3).of_task(task);
    other.aggregate_id = Some("project:p".to_owned());
    rig.log.append(vec![implied, other]).await.unwrap();
    assert_eq!(rig.count("aggregate_id IS NULL").await, 2);
    assert_eq!(rig.count("aggregate_id = 'project:p'").await, 1);
}

#[tokio::test]
async fn append_in_commits_and_rolls_back_with_its_transaction() {
    let rig = Rig::new().await;
    let keyed = event(1).keyed(format!("submit:{}", new_id()));
    let mut conn = rig.db.conn().await.unwrap();
    let failed = AsyncPgConnection::transaction::<(), DbError, _>(&mut conn, async |conn| {
        let appended = append_in(conn, std::slice::from_ref(&keyed)).await?;
        assert!(is_written(&appended[0]));
        Err(DbError::Locked)
    })
    .await;
    assert!(matches!(failed, Err(DbError::Locked)));
    assert_eq!(rig.count("true").await, 0);

    let again = append_in(&mut conn, std::slice::from_ref(&keyed)).await.unwrap();
    assert!(is_written(&again[0]), "the key went with the transaction");
    assert_eq!(append_in(&mut conn, &[keyed]).await.unwrap(), [Appended::Duplicate]);
    assert_eq!(rig.count("true").await, 1);

    let refused = append_in(&mut conn, &[event(2), Event { event_type: "NO".to_owned(), ..event(3) }]).await;
    assert!(matches!(refused, Err(DbError::Refused(e)) if e.field.as_deref() == Some("eventType")));
    assert_eq!(rig.count("true").await, 1, "one refused event refuses all");
}

#[tokio::test]
async fn the_statement_is_prepared_once_per_connection() {
    let rig = Rig::new().await;
    let mut conn = rig.db.conn().await.unwrap();
    for count in [1, 2, 50] {
        append_in(&mut conn, &events(count)).await.unwrap();
    }
    let prepared = "SELECT FROM pg_prepared_statements WHERE statement LIKE 'WITH keys%'";
    assert_eq!(diesel::sql_query(prepared).execute(&mut conn).await.unwrap(), 1);
}

#[tokio::test]
async fn the_caller_learns_which_events_were_duplicates() {
    let rig = Rig::new().await;
    let key = |n: i32| format!("key {n}");
    let batch = vec![event(0).keyed(key(1)), event(1), event(2).keyed(key(2)), event(3).keyed(key(1)), event(4)];
    let told: Vec<bool> = rig.log.append(batch).await.unwrap().iter().map(is_written).collect();
    assert_eq!(told, [true, true, true, false, true], "the first of two in one batch is kept");
    assert_eq!(rig.count("payload->>'number' = '3'").await, 0);

    // An id that comes twice does not confuse the answer.
    let twice = event(5).keyed(key(2));
    let same_id = Event { idempotency_key: Some(key(3)), ..twice.clone() };
    let told: Vec<bool> = rig.log.append(vec![twice, same_id]).await.unwrap().iter().map(is_written).collect();
    assert_eq!(told, [false, true]);
    assert_eq!(rig.count("true").await, 5);
}

#[tokio::test]
async fn e_11_50_concurrent_appends_of_one_key_give_one_row_across_two_partitions() {
    let rig = Rig::new().await;
    let other = EventLog::start(rig.db.clone());
    let task = new_id();
    let key = format!("end:{task}");
    // Each has its own id and its own idea of when it happened: this month, or the last.
    let appends = (0..50).map(|n: i64| {
        let event = event(n).of_task(task).keyed(key.clone()).at(Utc::now() - Duration::days(31 * (n % 2)));
        let (log, db) = (if n % 3 == 0 { &rig.log } else { &other }, &rig.db);
        async move {
            // Fifty callers share five connections. Whoever gets none in time tries again, which the key makes safe.
            loop {
                let appended = if n % 5 == 0 {
                    async { append_in(&mut *db.conn().await?, std::slice::from_ref(&event)).await }.await
                } else {
                    log.append(vec![event.clone()]).await
                };
                match appended {
                    Err(error) if error.is_transient() => {}
                    done => return done.unwrap(),
                }
            }
        }
    });
    let answers = join_all(appends).await;
    assert_eq!(answers.iter().filter(|a| is_written(&a[0])).count(), 1);
    assert_eq!(rig.count("true").await, 1);

    // A row of the same fact in another month's partition counts just as well.
    let elsewhere = format!("end:{}", new_id());
    rig.log.append(vec![event(60).keyed(elsewhere.clone())]).await.unwrap();
    let moved = "SET session_replication_role = replica; UPDATE mesh_six_events \
        SET timestamp = timestamp + interval '1 month' WHERE payload->>'number' = '60'; RESET session_replication_role";
    rig.client.batch_execute(moved).await.unwrap();
    let again = (0..50).map(|n| rig.log.append(vec![event(n).keyed(elsewhere.clone())]));
    assert!(join_all(again).await.into_iter().all(|a| a.unwrap() == [Appended::Duplicate]));
    assert_eq!(rig.count("true").await, 2);
}

#[test]
fn any_interleaving_of_keyed_and_keyless_batches_gives_one_row_per_key() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rig = runtime.block_on(Rig::new());
    // Up to six callers, each with batches of keys from a small set; 0 is no key.
    let callers = vec(vec(vec(0..6_u8, 0..8), 0..4), 1..6);
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&callers, |callers| {
            let round = new_id();
            let make = |key: &u8| match key {
                0 => event(0),
                key => event(0).keyed(format!("{round} {key}")),
            };
            let work = callers.iter().map(async |batches| {
                let mut written = 0;
                for batch in batches {
                    let answers = rig.log.append(batch.iter().map(make).collect()).await.unwrap();
                    written += answers.iter().filter(|a| is_written(a)).count();
                }
                written
            });
            let before = runtime.block_on(rig.count("true"));
            let written: usize = runtime.block_on(join_all(work)).into_iter().sum();
            let after = runtime.block_on(rig.count("true"));
            let all = callers.iter().flatten().flatten();
            let keyless = all.clone().filter(|key| **key == 0).count();
            let keys: HashSet<_> = all.filter(|key| **key > 0).collect();
            prop_assert_eq!(written, keyless + keys.len());
            prop_assert_eq!(after - before, i64::try_from(written).unwrap());
            let per_key = format!(
                "SELECT count(*) FROM mesh_six_events WHERE idempotency_key LIKE '{round} %' \
                GROUP BY idempotency_key HAVING count(*) > 1"
            );
            prop_assert!(runtime.block_on(rig.client.query(&per_key, &[])).unwrap().is_empty());
            Ok(())
        })
        .unwrap();
    runtime.block_on(async { drop(rig) });
}

#[tokio::test]
async fn a_payload_over_64_kib_is_cut_and_says_so() {
    let rig = Rig::new().await;
    let mut large = event(1);
    large.payload = json!({ "small": "kept", "text": "x".repeat(70_000) });
    let length = large.payload.to_string().len();
    rig.log.append(vec![large.clone()]).await.unwrap();
    append_in(&mut rig.db.conn().await.unwrap(), &[large]).await.unwrap();
    for stored in rig.log.query(&EventFilter::default()).await.unwrap() {
        let payload = stored.event.payload;
        assert_eq!(payload["truncated"], true);
        assert_eq!(payload["originalLength"], length);
        assert_eq!(payload["small"], "kept");
        assert!(payload.to_string().len() < 65_536);
    }
    // Many large ones make several statements of one transaction.
    let mut big = events(200);
    for event in &mut big {
        event.payload = json!("y".repeat(60_000));
    }
    let answers = rig.log.append(big).await.unwrap();
    assert_eq!(answers.into_iter().map(|a| position(a).txid).collect::<HashSet<_>>().len(), 1);
}

#[tokio::test]
async fn a_producers_clock_may_be_a_day_ahead() {
    let rig = Rig::new().await;
    let ahead = |hours| event(hours).at(Utc::now() + Duration::hours(hours));
    let refused = rig.log.append(vec![ahead(25)]).await;
    assert!(matches!(refused, Err(DbError::Refused(e)) if e.field.as_deref() == Some("occurredAt")));
    rig.log.append(vec![ahead(23)]).await.unwrap();
    assert_eq!(rig.count("occurred_at > now() + interval '22 hours'").await, 1);

    // A fact of a task's life is written whatever the clock says.
    let ancient = event(7).at(Utc::now() - Duration::days(365 * 100));
    append_in(&mut rig.db.conn().await.unwrap(), &[ahead(48), ancient]).await.unwrap();
    assert_eq!(rig.count("occurred_at = timestamp").await, 2);
}

#[tokio::test]
async fn content_goes_beside_the_log_with_its_event() {
    let rig = Rig::new().await;
    let content = || Content { kind: "prompt", user_id: Some("ada".to_owned()), text: "secret".to_owned() };
    let task = new_id();
    let with = event(1).of_task(task).with_content(content());
    let duplicate = event(2).keyed("k").with_content(content());
    rig.log.append(vec![event(0).keyed("k")]).await.unwrap();
    rig.log.append(vec![with.clone(), duplicate]).await.unwrap();
    let rows = rig
        .client
        .query("SELECT event_id::text, task_id::text, user_id, kind, content, month FROM event_contents", &[]);
    let rows = rows.await.unwrap();
    assert_eq!(rows.len(), 1, "a duplicate's content is not kept");
    assert_eq!(rows[0].get::<_, String>(0), with.id.to_string());
    assert_eq!(rows[0].get::<_, String>(1), task.to_string());
    assert_eq!(rows[0].get::<_, String>(4), "secret");
    assert_eq!(rig.count("payload::text LIKE '%secret%'").await, 0);
    assert_eq!(rig.count("payload->>'contentLength' = '6'").await, 1);
}

#[tokio::test]
async fn a_key_of_a_dropped_month_is_refused_and_a_missing_month_is_made() {
    let rig = Rig::new().await;
    let old = cloud_event_key("test", "1", Utc::now() - Duration::days(200));
    let refused = rig.log.append(vec![event(1).keyed(old.clone())]).await;
    assert!(
        matches!(&refused, Err(DbError::Refused(e)) if e.field.as_deref() == Some("idempotencyKey")),
        "{refused:?}"
    );
    let mut conn = rig.db.conn().await.unwrap();
    let refused = append_in(&mut conn, &[event(1).keyed(old.clone())]).await;
    assert!(matches!(refused, Err(DbError::Refused(e)) if e.message.contains("too old")));
    let each = rig.log.append_each(vec![event(1).keyed(old), event(2)]).await;
    assert!(each[0].as_ref().is_err_and(DbError::is_refused) && each[1].is_ok());

    // A month that upkeep has missed is newer than the oldest and made when it is needed.
    let month = mesh_six_core::event::key::month(Utc::now());
    rig.client.batch_execute(&format!("DROP TABLE mesh_six_event_keys_{month}")).await.unwrap();
    let now = || event(3).keyed(format!("submit:{}", new_id()));
    rig.log.append(vec![now()]).await.unwrap();
    rig.client.batch_execute(&format!("DROP TABLE mesh_six_event_keys_{month}")).await.unwrap();
    // In a caller's transaction the first try may fail; the caller's next one finds the month made.
    if let Err(missing) = append_in(&mut conn, &[now()]).await {
        assert!(missing.is_transient(), "{missing}");
        append_in(&mut conn, &[now()]).await.unwrap();
    }
}

#[tokio::test]
async fn closing_writes_what_was_taken_in_and_refuses_more() {
    let rig = Rig::new().await;
    let log = rig.log.clone();
    let taken: Vec<_> = (0..20)
        .map(|n| {
            tokio::spawn({
                let log = log.clone();
                async move { log.append(events(n)).await }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    log.close().await;
    let mut written = 0;
    for append in taken {
        match append.await.unwrap() {
            Ok(appended) => written += appended.len(),
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
    assert_eq!(rig.count("true").await, i64::try_from(written).unwrap());
    assert!(rig.log.append(events(1)).await.is_err_and(|e| e.is_transient()));
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_all_or_nothing() {
    let rig = Rig::new().await;
    let mut appends = Vec::new();
    for _ in 0..20 {
        let log = rig.log.clone();
        appends.push(tokio::spawn(async move { log.append(events(50)).await }));
    }
    for (n, append) in appends.iter().enumerate() {
        for _ in 0..n {
            tokio::task::yield_now().await;
        }
        append.abort();
    }
    rig.log.close().await;
    assert_eq!(rig.count("true").await % 50, 0);
}
