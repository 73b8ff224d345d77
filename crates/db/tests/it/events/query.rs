//! Queries: every filter, alone and together.

use chrono::{Duration, Utc};
use futures_util::TryStreamExt;
use mesh_six_core::{
    ErrorType, Event, TraceId,
    event::{EventFilter, Position},
    id::new_id,
};
use mesh_six_db::{DbError, events::append_in};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;
use uuid::Uuid;

use super::{Rig, event, events, position};

#[tokio::test]
async fn e_3_a_query_without_conditions_gives_the_first_hundred_in_order() {
    let rig = Rig::new().await;
    let positions: Vec<Position> = rig.log.append(events(150)).await.unwrap().into_iter().map(position).collect();
    let first = rig.log.query(&EventFilter::default()).await.unwrap();
    assert_eq!(first.iter().map(|e| e.position).collect::<Vec<_>>(), positions[..100]);
    let newest = rig.log.query(&EventFilter { desc: true, limit: Some(3), ..EventFilter::default() }).await.unwrap();
    assert_eq!(newest.iter().rev().map(|e| e.position).collect::<Vec<_>>(), positions[147..]);
    let between = EventFilter { after: Some(positions[10]), before: Some(positions[14]), ..EventFilter::default() };
    let between = rig.log.query(&between).await.unwrap();
    assert_eq!(between.iter().map(|e| e.position).collect::<Vec<_>>(), positions[11..14]);
    for limit in [0, 1_001] {
        let refused = rig.log.query(&EventFilter { limit: Some(limit), ..EventFilter::default() }).await;
        assert!(matches!(refused, Err(DbError::Refused(e)) if e.error_type == ErrorType::Validation));
    }
}

/// Any filter gives what the same filter gives in memory.
#[test]
fn e_3_each_filter_and_all_combinations_give_what_they_say() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rig = runtime.block_on(Rig::new());
    let traces: Vec<TraceId> = (0..3).map(|_| TraceId::new()).collect();
    let tasks: Vec<Uuid> = (0..3).map(|_| new_id()).collect();
    let agents = ["agent-a", "agent-b"];
    let types = ["test.one", "test.two"];
    let aggregates: Vec<String> =
        [format!("task:{}", tasks[0]), format!("task:{}", tasks[1]), "project:p".to_owned()].into();
    let written = (0..240_usize).map(|n| Event {
        trace_id: traces[n % 3],
        task_id: (n % 4 < 3).then(|| tasks[n % 4]),
        agent_id: agents[n / 3 % 2].to_owned(),
        event_type: types[n / 7 % 2].to_owned(),
        // Some of a task belong to a project; some name the aggregate of a task without being of it.
        aggregate_id: (n % 5 == 0).then(|| aggregates[2].clone()).or((n % 16 == 3).then(|| aggregates[0].clone())),
        ..Event::new("test.one", "agent", traces[0], json!(n))
    });
    let batches: Vec<Event> = written.collect();
    for batch in batches.chunks(60) {
        runtime.block_on(rig.log.append(batch.to_vec())).unwrap();
    }
    let all = EventFilter { limit: Some(1_000), ..EventFilter::default() };
    let all = runtime.block_on(rig.log.query(&all)).unwrap();
    assert_eq!(all.len(), 240);

    let one_of = |count: usize| proptest::option::of(0..count);
    let filters = (
        (one_of(3), one_of(3), one_of(3), one_of(2), one_of(2)),
        (one_of(240), one_of(240), one_of(240), one_of(240)),
        (proptest::option::of(1..300_i64), any::<bool>()),
    );
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&filters, |((trace, task, aggregate, agent, kind), (since, until, after, before), (limit, desc))| {
            let filter = EventFilter {
                trace_id: trace.map(|n| traces[n]),
                task_id: task.map(|n| tasks[n]),
                aggregate_id: aggregate.map(|n| aggregates[n].clone()),
                agent_id: agent.map(|n| agents[n].to_owned()),
                event_type: kind.map(|n| types[n].to_owned()),
                since: since.map(|n| all[n].timestamp),
                until: until.map(|n| all[n].timestamp),
                after: after.map(|n| all[n].position),
                before: before.map(|n| all[n].position),
                limit,
                desc,
            };
            if filter.since.zip(filter.until).is_some_and(|(since, until)| since > until) {
                let refused = runtime.block_on(rig.log.query(&filter)).unwrap_err();
                prop_assert!(refused.is_refused(), "{refused:?}");
                return Ok(());
            }
            let mut expected: Vec<Position> = all
                .iter()
                .filter(|e| filter.matches(e))
                .map(|e| e.position)
                .filter(|p| filter.after.is_none_or(|a| *p > a) && filter.before.is_none_or(|b| *p < b))
                .collect();
            if desc {
                expected.reverse();
            }
            expected.truncate(usize::try_from(filter.limit()).unwrap());
            let found = runtime.block_on(rig.log.query(&filter)).unwrap();
            prop_assert_eq!(found.iter().map(|e| e.position).collect::<Vec<_>>(), expected, "{:?}", filter);
            Ok(())
        })
        .unwrap();
    runtime.block_on(async { drop(rig) });
}

#[tokio::test]
async fn a_trace_id_that_only_looks_like_a_time_is_found_all_the_same() {
    let rig = Rig::new().await;
    // A foreign trace id whose bits read as a UUIDv7 of tomorrow, or of the far future.
    for ahead in [Duration::hours(47), Duration::days(3_000)] {
        let millis = u64::try_from((Utc::now() + ahead).timestamp_millis()).unwrap();
        let trace = TraceId::from_uuid(Uuid::from_u64_pair(millis << 16 | 0x7abc, 0x8000_0000_0000_0001));
        rig.log.append(vec![Event { trace_id: trace, ..event(1) }]).await.unwrap();
        let found = rig.log.query(&EventFilter { trace_id: Some(trace), ..EventFilter::default() }).await.unwrap();
        assert_eq!(found.len(), 1, "{ahead}");
    }
}

/// A `UUIDv7` made so many days ago.
fn id_of(days_ago: i64, number: u64) -> Uuid {
    let millis = u64::try_from((Utc::now() - Duration::days(days_ago)).timestamp_millis()).unwrap();
    Uuid::from_u64_pair(millis << 16 | 0x7abc, 0x8000_0000_0000_0000 | number)
}

#[tokio::test]
async fn events_of_other_months_than_their_trace_and_task_are_noted_and_found() {
    let rig = Rig::new().await;
    let (task, trace, named) = (id_of(100, 1), TraceId::from_uuid(id_of(200, 2)), id_of(300, 3));
    let late = |n| Event { trace_id: trace, ..event(n).of_task(task) };
    let other = Event { aggregate_id: Some(format!("task:{named}")), ..event(9) };
    rig.log.append(vec![late(1)]).await.unwrap();
    rig.log.append(vec![late(2).keyed("k"), other, event(10)]).await.unwrap();
    append_in(&mut rig.db.conn().await.unwrap(), &[late(3)]).await.unwrap();
    // One row of the task's own month, and one of a month between, as if written then by other means.
    let older = "SELECT mesh_six_ensure_partitions(4, now() - interval '110 days')";
    rig.client.query(older, &[]).await.unwrap();
    for days in [100, 50] {
        let older = format!(
            "INSERT INTO mesh_six_events (txid, timestamp, occurred_at, id, trace_id, task_id, agent_id, event_type, \
             payload) VALUES (1, now() - interval '{days} days', now(), gen_random_uuid(), '{}', '{task}', 'a', \
             'test.old', '{{}}')",
            trace.as_uuid()
        );
        rig.client.batch_execute(&older).await.unwrap();
    }
    let found = rig.client.query_one("SELECT mesh_six_find_strays()", &[]).await.unwrap();
    assert_eq!(found.get::<_, i64>(0), 3, "the trace in two months and the task in one; the others were noted before");
    let noted = "SELECT count(*), count(DISTINCT (id, month)) FROM mesh_six_event_strays";
    let noted = rig.client.query_one(noted, &[]).await.unwrap();
    assert_eq!((noted.get::<_, i64>(0), noted.get::<_, i64>(1)), (6, 6), "each once");

    let count = async |filter: EventFilter| rig.log.query(&filter).await.unwrap().len();
    assert_eq!(count(EventFilter { task_id: Some(task), ..EventFilter::default() }).await, 5);
    assert_eq!(count(EventFilter { trace_id: Some(trace), ..EventFilter::default() }).await, 5);
    assert_eq!(count(EventFilter { task_id: Some(task), limit: Some(2), ..EventFilter::default() }).await, 2);
    let since = EventFilter { since: Some(Utc::now() - Duration::days(60)), ..EventFilter::default() };
    assert_eq!(count(EventFilter { task_id: Some(task), ..since }).await, 4);
    let aggregate = |id: Uuid| EventFilter { aggregate_id: Some(format!("task:{id}")), ..EventFilter::default() };
    assert_eq!(count(aggregate(task)).await, 5);
    assert_eq!(count(aggregate(named)).await, 1);
    let story: Vec<_> = rig.log.replay(&format!("task:{task}"), None).try_collect().await.unwrap();
    assert_eq!(story.len(), 5);
    assert!(story.is_sorted_by_key(|e| (e.txid, e.seq)));
}

#[tokio::test]
async fn a_query_by_trace_or_task_leaves_old_partitions_alone() {
    let rig = Rig::new().await;
    // Two years of months before this one.
    let past = "SELECT mesh_six_ensure_partitions(23, now() - interval '2 years')";
    rig.client.query(past, &[]).await.unwrap();
    let (task, old) = (new_id(), id_of(400, 1));
    rig.log.append(vec![event(1).of_task(task)]).await.unwrap();
    let scans = "SELECT count(DISTINCT relname) FROM pg_stat_user_indexes \
        WHERE relname LIKE 'mesh_six_events_2%' AND idx_scan > 0";
    rig.client.batch_execute("SELECT pg_stat_reset()").await.unwrap();
    let found = rig.log.query(&EventFilter { task_id: Some(task), ..EventFilter::default() }).await.unwrap();
    assert_eq!(found.len(), 1);
    let none = rig.log.query(&EventFilter { task_id: Some(old), ..EventFilter::default() }).await.unwrap();
    assert!(none.is_empty());
    rig.log.close().await;
    rig.db.close();
    // The statistics of a connection are told when it ends.
    let ended = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    mesh_six_testing::wait_until(super::SOON, async || {
        rig.client.query_one(ended, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    assert_eq!(rig.client.query_one(scans, &[]).await.unwrap().get::<_, i64>(0), 2, "the months of the two ids");
}

/// Of a type or an agent with more rows than are sorted, the log is walked in its order.
#[tokio::test]
async fn e_6_by_type_or_agent_alone_few_rows_and_many_come_in_the_logs_order() {
    let rig = Rig::new().await;
    // Each row is of one of four agents and three types; one type is rare, one agent came late.
    let written = (0..7_000_i64).map(|n| {
        let agent = if n > 6_000 && n % 2 == 0 { "agent-late".to_owned() } else { format!("agent-{}", n % 3) };
        let kind = if n % 1_000 == 7 {
            "test.rare"
        } else if n % 4 == 0 {
            "test.one"
        } else {
            "test.two"
        };
        Event { agent_id: agent, event_type: kind.to_owned(), ..event(n) }
    });
    let written: Vec<Event> = written.collect();
    for batch in written.chunks(500) {
        rig.log.append(batch.to_vec()).await.unwrap();
    }
    rig.client.batch_execute("ANALYZE mesh_six_events").await.unwrap();
    let rows = "SELECT payload->>'number' FROM mesh_six_events ORDER BY txid, seq";
    let rows = rig.client.query(rows, &[]).await.unwrap();
    let order: Vec<usize> = rows.iter().map(|row| row.get::<_, &str>(0).parse().unwrap()).collect();
    let agents = [None, Some("agent-0"), Some("agent-late"), Some("agent-none")];
    let kinds = [None, Some("test.rare"), Some("test.one"), Some("test.two"), Some("test.none")];
    for (agent, kind) in agents.iter().flat_map(|agent| kinds.map(|kind| (*agent, kind))) {
        for desc in [false, true] {
            let mut filter = EventFilter {
                agent_id: agent.map(str::to_owned),
                event_type: kind.map(str::to_owned),
                limit: Some(1_000),
                desc,
                ..EventFilter::default()
            };
            let matches = |n: &usize| {
                agent.is_none_or(|agent| written[*n].agent_id == agent)
                    && kind.is_none_or(|kind| written[*n].event_type == kind)
            };
            let mut expected: Vec<usize> = order.iter().copied().filter(matches).collect();
            if desc {
                expected.reverse();
            }
            let mut found = Vec::new();
            loop {
                let page = rig.log.query(&filter).await.unwrap();
                found
                    .extend(page.iter().map(|e| usize::try_from(e.event.payload["number"].as_u64().unwrap()).unwrap()));
                if page.len() < 1_000 {
                    break;
                }
                let last = page.last().map(|e| e.position);
                if desc { filter.before = last } else { filter.after = last }
            }
            assert_eq!(found, expected, "{agent:?} {kind:?} desc {desc}");
        }
    }
}

/// More agents than are jumped to one by one.
#[tokio::test]
async fn a_query_by_type_finds_the_rows_of_any_number_of_agents() {
    let rig = Rig::new().await;
    let written = (0..600).map(|n| Event { agent_id: format!("agent-{n:03}"), ..event(n) });
    rig.log.append(written.collect()).await.unwrap();
    let filter =
        EventFilter { event_type: Some("test.event".to_owned()), limit: Some(1_000), ..EventFilter::default() };
    let found = rig.log.query(&filter).await.unwrap();
    let numbers: Vec<_> = found.iter().map(|e| e.event.payload["number"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (0..600).collect::<Vec<_>>());
}
