//! The agents' inbox against a real database.

use std::time::Duration;

use mesh_six_core::{
    ErrorType, Event, TraceId, Usage,
    event::catalogue::{self, CallContext, LlmCall},
    id::new_id,
    task::{TaskError, TaskRequest, TaskResult},
    time,
};
use mesh_six_db::{
    Database,
    inbox::{self, Accepted, Claim, Finished, InboxKey, Renewed},
};
use mesh_six_testing::TestDatabase;
use serde_json::{Map, json};
use tokio_postgres::Client;
use uuid::Uuid;

const AGENT: &str = "simple-agent";
const LEASE: Duration = Duration::from_secs(15);

struct Rig {
    db: Database,
    /// The owner, who may look and change behind the scenes.
    client: Client,
    _database: TestDatabase,
}

impl Rig {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        Self { db: database.database().await, client: database.client().await, _database: database }
    }

    /// A task with one open attempt by [`AGENT`] that ends in `seconds`.
    async fn dispatched(&self, priority: i32, seconds: i32) -> TaskRequest {
        let request = request(priority);
        let trace = request.trace_id.to_string();
        self.client
            .execute(
                "INSERT INTO orchestrator_tasks (task_id, capability, requested_by, trace_id, status, attempts)
                VALUES ($1::text::uuid, 'general-query', 'test', $2::text::uuid, 'dispatched', 1)",
                &[&request.id.to_string(), &trace],
            )
            .await
            .unwrap();
        self.client
            .execute(
                "INSERT INTO task_attempts (task_id, attempt, agent_id, deadline_at)
                VALUES ($1::text::uuid, 1, $2, now() + $3 * interval '1 s')",
                &[&request.id.to_string(), &AGENT, &f64::from(seconds)],
            )
            .await
            .unwrap();
        request
    }

    async fn accept(&self, request: &TaskRequest) -> Accepted {
        inbox::accept(&mut self.db.conn().await.unwrap(), request, AGENT, None).await.unwrap()
    }

    async fn claim(&self, owner: Uuid, limit: usize) -> Vec<Claim> {
        inbox::claim(&mut self.db.conn().await.unwrap(), AGENT, owner, limit, LEASE).await.unwrap()
    }

    async fn finish(&self, owner: Uuid, result: &TaskResult, events: &[Event]) -> Finished {
        inbox::finish(&mut self.db.conn().await.unwrap(), owner, result, events, None).await.unwrap()
    }

    async fn renew(&self, request: &TaskRequest, owner: Uuid) -> Renewed {
        let key = InboxKey::of_request(request, AGENT);
        inbox::renew(&mut self.db.conn().await.unwrap(), &key, owner, LEASE).await.unwrap()
    }

    async fn due(&self) -> Vec<TaskResult> {
        let due = inbox::unpublished(&mut self.db.conn().await.unwrap(), AGENT, 10, LEASE).await.unwrap();
        due.into_iter().map(|due| due.result).collect()
    }

    async fn end_attempt(&self, request: &TaskRequest, outcome: &str) {
        let sql = "UPDATE task_attempts SET outcome = $2, ended_at = now() WHERE task_id = $1::text::uuid";
        self.client.execute(sql, &[&request.id.to_string(), &outcome]).await.unwrap();
    }

    async fn events(&self, request: &TaskRequest) -> Vec<String> {
        let sql = "SELECT event_type FROM mesh_six_events WHERE task_id = $1::text::uuid ORDER BY txid, seq";
        self.client.query(sql, &[&request.id.to_string()]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

fn request(priority: i32) -> TaskRequest {
    TaskRequest {
        id: new_id(),
        capability: "general-query".to_owned(),
        payload: Map::from_iter([("query".to_owned(), json!("why?"))]),
        priority,
        timeout: 60,
        requested_by: "test".to_owned(),
        created_at: time::now(),
        trace_id: TraceId::new(),
        attempt: 1,
        user_id: None,
    }
}

fn answer(request: &TaskRequest) -> TaskResult {
    TaskResult::new(request, AGENT, Ok(json!({"response": "because"})), 12, Usage::default())
}

fn llm_call(request: &TaskRequest) -> Event {
    let cx = CallContext { trace_id: request.trace_id, agent_id: AGENT.to_owned(), task_id: Some(request.id) };
    catalogue::llm_call(&cx, &LlmCall::default())
}

#[tokio::test]
async fn only_what_an_open_attempt_expects_is_accepted_and_only_once() {
    let rig = Rig::new().await;
    let expected = rig.dispatched(5, 60).await;
    assert_eq!(rig.accept(&expected).await, Accepted::Queued);
    assert_eq!(rig.accept(&expected).await, Accepted::Known);

    assert_eq!(rig.accept(&request(5)).await, Accepted::NobodyAsked, "unknown task");
    let other_attempt = TaskRequest { attempt: 2, ..expected.clone() };
    assert_eq!(rig.accept(&other_attempt).await, Accepted::NobodyAsked, "unknown attempt");
    let elsewhere = rig.dispatched(5, 60).await;
    let mut conn = rig.db.conn().await.unwrap();
    let accepted = inbox::accept(&mut conn, &elsewhere, "other-agent", None).await.unwrap();
    assert_eq!(accepted, Accepted::NobodyAsked, "another agent's");
    let past = rig.dispatched(5, -1).await;
    assert_eq!(rig.accept(&past).await, Accepted::NotExpected, "deadline passed");
    let ended = rig.dispatched(5, 60).await;
    rig.end_attempt(&ended, "timeout").await;
    assert_eq!(rig.accept(&ended).await, Accepted::NotExpected, "attempt ended");
    assert_eq!(rig.one::<i64>("SELECT count(*) FROM agent_inbox").await, 1);
}

#[tokio::test]
async fn claims_go_by_priority_then_age_and_what_has_ended_is_left() {
    let rig = Rig::new().await;
    let mut expected = Vec::new();
    for priority in [1, 9, 5, 9] {
        let request = rig.dispatched(priority, 60).await;
        rig.accept(&request).await;
        expected.push((priority, request.id));
    }
    let cancelled = rig.dispatched(10, 60).await;
    rig.accept(&cancelled).await;
    rig.end_attempt(&cancelled, "cancelled").await;
    expected.sort_by_key(|(priority, id)| (-priority, *id));

    let mut conn = rig.db.conn().await.unwrap();
    assert_eq!(inbox::queued(&mut conn, AGENT).await.unwrap(), 5);
    let claims = rig.claim(new_id(), 3).await;
    assert!(claims.iter().all(|c| c.remaining > Duration::from_secs(50) && c.remaining <= Duration::from_mins(1)));
    let order: Vec<_> = claims.iter().map(|c| (c.request.priority, c.request.id)).collect();
    assert_eq!(order, expected[..3]);
    assert_eq!(rig.claim(new_id(), 3).await.len(), 1);
    assert_eq!(rig.claim(new_id(), 3).await.len(), 0);
}

#[tokio::test]
async fn replicas_that_claim_at_once_share_the_queue() {
    let rig = Rig::new().await;
    for _ in 0..40 {
        let request = rig.dispatched(5, 60).await;
        rig.accept(&request).await;
    }
    let mut claimed = Vec::new();
    while claimed.len() < 40 {
        let (a, b, c) = tokio::join!(rig.claim(new_id(), 7), rig.claim(new_id(), 7), rig.claim(new_id(), 7));
        let round: Vec<Uuid> = [a, b, c].into_iter().flatten().map(|claim| claim.request.id).collect();
        assert!(!round.is_empty(), "{} of 40 were claimed, the others never", claimed.len());
        claimed.extend(round);
    }
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), 40);
}

#[tokio::test]
async fn a_result_is_written_with_its_events_once_and_only_by_its_owner() {
    let rig = Rig::new().await;
    let request = rig.dispatched(5, 60).await;
    rig.accept(&request).await;
    let owner = new_id();
    rig.claim(owner, 1).await;
    let (result, call) = (answer(&request), llm_call(&request));

    assert_eq!(rig.finish(new_id(), &result, &[]).await, Finished::Fenced);
    assert_eq!(rig.events(&request).await, Vec::<String>::new());
    let written = Finished::Written { late: false };
    assert_eq!(rig.finish(owner, &result, std::slice::from_ref(&call)).await, written);
    // As after a commit whose answer was lost.
    assert_eq!(rig.finish(owner, &result, &[call]).await, written);
    assert_eq!(rig.events(&request).await, ["llm.call", "task.result"]);
    let other = TaskResult::new(&request, AGENT, Ok(json!({"response": "else"})), 12, Usage::default());
    assert_eq!(rig.finish(owner, &other, &[]).await, Finished::Fenced, "the first answer stays");

    let hash: String = rig.one("SELECT result_hash FROM agent_inbox WHERE state = 'done' AND NOT late").await;
    assert_eq!(hash, result.result_hash);
    assert_eq!(rig.accept(&request).await, Accepted::Done);
}

#[tokio::test]
async fn a_result_after_the_end_of_its_attempt_is_stored_as_late() {
    let rig = Rig::new().await;
    let request = rig.dispatched(5, 60).await;
    rig.accept(&request).await;
    let owner = new_id();
    rig.claim(owner, 1).await;
    rig.end_attempt(&request, "timeout").await;
    assert_eq!(rig.renew(&request, owner).await, Renewed::Ended);
    assert_eq!(rig.finish(owner, &answer(&request), &[]).await, Finished::Written { late: true });
    assert!(rig.one::<bool>("SELECT late FROM agent_inbox").await);
    assert_eq!(rig.events(&request).await, ["task.result"]);
}

#[tokio::test]
async fn a_deadline_check_and_a_result_wait_for_each_other() {
    let mut rig = Rig::new().await;
    let request = rig.dispatched(5, 60).await;
    rig.accept(&request).await;
    let owner = new_id();
    rig.claim(owner, 1).await;
    let check = rig.client.transaction().await.unwrap();
    let sql = "UPDATE task_attempts SET outcome = 'timeout', ended_at = now() WHERE task_id = $1::text::uuid";
    check.execute(sql, &[&request.id.to_string()]).await.unwrap();
    let db = rig.db.clone();
    let result = answer(&request);
    let finishing =
        tokio::spawn(
            async move { inbox::finish(&mut db.conn().await.unwrap(), owner, &result, &[], None).await.unwrap() },
        );
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'
        AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
    mesh_six_testing::wait_until(Duration::from_secs(10), async || {
        check.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    check.commit().await.unwrap();
    assert_eq!(finishing.await.unwrap(), Finished::Written { late: true });
}

#[tokio::test]
async fn a_lease_is_renewed_by_its_owner_and_a_dead_one_is_found() {
    let rig = Rig::new().await;
    let request = rig.dispatched(5, 60).await;
    rig.accept(&request).await;
    let owner = new_id();
    assert_eq!(rig.renew(&request, owner).await, Renewed::Lost, "not claimed yet");
    rig.claim(owner, 1).await;
    assert_eq!(rig.renew(&request, owner).await, Renewed::Open);
    assert_eq!(rig.renew(&request, new_id()).await, Renewed::Lost);

    let mut conn = rig.db.conn().await.unwrap();
    assert_eq!(inbox::expired(&mut conn, 10).await.unwrap(), []);
    rig.client.execute("UPDATE agent_inbox SET lease_until = now() - interval '1 s'", &[]).await.unwrap();
    assert_eq!(inbox::expired(&mut conn, 10).await.unwrap(), [InboxKey::of_request(&request, AGENT)]);
    assert_eq!(rig.claim(new_id(), 1).await.len(), 0, "what ran once is never given out again");
    rig.end_attempt(&request, "unavailable").await;
    assert_eq!(inbox::expired(&mut conn, 10).await.unwrap(), []);
    rig.end_attempt(&request, "cancelled").await;
    assert_eq!(rig.renew(&request, owner).await, Renewed::Cancelled);
}

#[tokio::test]
async fn a_result_is_due_until_it_is_published_and_again_when_asked_for() {
    let rig = Rig::new().await;
    let request = rig.dispatched(5, 60).await;
    rig.accept(&request).await;
    let owner = new_id();
    rig.claim(owner, 1).await;
    let failure = TaskError { error_type: ErrorType::LlmError, message: "the model failed".to_owned() };
    let result = TaskResult::new(&request, AGENT, Err(failure), 7, Usage::default());
    rig.finish(owner, &result, &[]).await;

    assert_eq!(rig.due().await, std::slice::from_ref(&result));
    assert_eq!(rig.due().await, [], "somebody is publishing it");
    let key = InboxKey::of_result(&result);
    let mut conn = rig.db.conn().await.unwrap();
    inbox::postpone(&mut conn, &key, Duration::ZERO).await.unwrap();
    let due = inbox::unpublished(&mut conn, AGENT, 10, LEASE).await.unwrap();
    assert_eq!(due.iter().map(|d| d.tries).collect::<Vec<_>>(), [1]);
    inbox::published(&mut conn, &key).await.unwrap();
    assert_eq!(rig.due().await, []);
    assert_eq!(rig.accept(&request).await, Accepted::Done);
    assert_eq!(rig.due().await, [result]);
}

#[tokio::test]
async fn old_rows_go_but_results_that_nobody_got_stay() {
    let rig = Rig::new().await;
    let owner = new_id();
    for _ in 0..2 {
        let request = rig.dispatched(5, 60).await;
        rig.accept(&request).await;
        rig.claim(owner, 1).await;
        rig.finish(owner, &answer(&request), &[]).await;
    }
    let published = rig.due().await.remove(0);
    let mut conn = rig.db.conn().await.unwrap();
    inbox::published(&mut conn, &InboxKey::of_result(&published)).await.unwrap();
    let never_begun = rig.dispatched(5, 60).await;
    rig.accept(&never_begun).await;
    assert_eq!(inbox::prune(&mut conn, AGENT, inbox::KEEP).await.unwrap(), 0);

    let age = "UPDATE agent_inbox SET created_at = now() - interval '8 days', deadline_at = now() - interval '2 min'";
    rig.client.execute(age, &[]).await.unwrap();
    assert_eq!(inbox::prune(&mut conn, "other-agent", inbox::KEEP).await.unwrap(), 0);
    assert_eq!(inbox::prune(&mut conn, AGENT, inbox::KEEP).await.unwrap(), 2);
    assert_eq!(rig.one::<String>("SELECT state FROM agent_inbox").await, "done");
}
