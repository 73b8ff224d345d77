//! Whatever order results, deadlines, duplicates and late messages come in, a task ends exactly once.

use std::time::Duration;

use mesh_six_core::{
    ErrorType, TraceId, Usage,
    id::new_id,
    task::{TaskError, TaskRequest, TaskResult},
};
use mesh_six_db::{
    Conn, Database,
    inbox::{self, InboxKey},
    outbox::Claimant,
    tasks::{self, Assignment, Change, NewTask},
};
use mesh_six_testing::TestDatabase;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;
use uuid::Uuid;

const AGENTS: [&str; 3] = ["a", "b", "c"];

/// One thing that happens to the task. Agents and attempts are counted from 0.
#[derive(Clone, Debug)]
enum Step {
    /// The agent of an attempt writes its answer.
    Finish { attempt: usize, success: bool },
    /// The message of an attempt's answer comes, perhaps again.
    Message { attempt: usize },
    /// A message that no inbox stands behind.
    Forged { attempt: usize, agent: usize },
    /// The newest attempt's deadline passes.
    Expire,
    /// The process of the newest attempt is lost.
    Lose,
    /// The sweep looks at what was not taken.
    Sweep,
    /// A task that waits gets its next attempt.
    Next,
    /// The owner has enough.
    Cancel,
}

fn step() -> impl Strategy<Value = Step> {
    let attempt = 0..3_usize;
    prop_oneof![
        4 => (attempt.clone(), any::<bool>()).prop_map(|(attempt, success)| Step::Finish { attempt, success }),
        4 => attempt.clone().prop_map(|attempt| Step::Message { attempt }),
        2 => (attempt, 0..3_usize).prop_map(|(attempt, agent)| Step::Forged { attempt, agent }),
        3 => Just(Step::Expire),
        2 => Just(Step::Lose),
        2 => Just(Step::Sweep),
        4 => Just(Step::Next),
        1 => Just(Step::Cancel),
    ]
}

struct Story {
    task: Uuid,
    request: TaskRequest,
    claimant: Claimant,
    owner: Uuid,
    ends: usize,
}

impl Story {
    async fn begin(conn: &mut Conn) -> Self {
        let claimant = Claimant::new(Duration::from_mins(1));
        let trace_id = TraceId::new();
        let new = NewTask {
            id: new_id(),
            client_key: None,
            capability: "work".to_owned(),
            payload: serde_json::Map::new(),
            priority: 5,
            timeout: 60,
            requested_by: "t".to_owned(),
            user_id: None,
            trace_id,
            traceparent: trace_id.to_traceparent(),
        };
        tasks::submit(conn, &new, &to(AGENTS[0]), claimant).await.unwrap();
        let request = TaskRequest {
            id: new.id,
            capability: new.capability,
            payload: new.payload,
            priority: 5,
            timeout: 60,
            requested_by: new.requested_by,
            created_at: mesh_six_core::time::now(),
            trace_id,
            attempt: 1,
            user_id: None,
        };
        let story = Self { task: request.id, request, claimant, owner: new_id(), ends: 0 };
        story.receive(conn, 0).await;
        story
    }

    fn key(&self, attempt: usize) -> InboxKey {
        InboxKey { task_id: self.task, attempt: number(attempt), agent_id: AGENTS[attempt].to_owned() }
    }

    /// The agent takes attempt `attempt` into its inbox and begins.
    async fn receive(&self, conn: &mut Conn, attempt: usize) {
        let request = TaskRequest { attempt: number(attempt), ..self.request.clone() };
        inbox::accept(conn, &request, AGENTS[attempt], None).await.unwrap();
        inbox::claim(conn, AGENTS[attempt], self.owner, 100, Duration::from_mins(1)).await.unwrap();
    }

    fn result(&self, attempt: usize, agent: usize, success: bool) -> TaskResult {
        let request = TaskRequest { attempt: number(attempt), ..self.request.clone() };
        let error = TaskError { error_type: ErrorType::LlmError, message: "no".to_owned() };
        let outcome = if success { Ok(json!({ "attempt": attempt })) } else { Err(error) };
        TaskResult::new(&request, AGENTS[agent], outcome, 1, Usage::default())
    }

    async fn current(&self, conn: &mut Conn) -> tasks::Task {
        tasks::get(conn, self.task).await.unwrap().unwrap()
    }

    fn note(&mut self, change: &Change) {
        self.ends += usize::from(change.verdict.is_end());
    }

    async fn go(&mut self, conn: &mut Conn, sql: &tokio_postgres::Client, step: &Step) {
        let now = self.current(conn).await.summary;
        let newest = usize::try_from(now.attempts).unwrap() - 1;
        let id = self.task.to_string();
        match *step {
            Step::Finish { attempt, success } if attempt <= newest => {
                inbox::finish(conn, self.owner, &self.result(attempt, attempt, success), &[], None).await.unwrap();
            }
            Step::Message { attempt } if attempt <= newest => {
                let stored = "SELECT result->>'success' FROM agent_inbox WHERE task_id::text = $1 AND attempt = $2";
                let row = sql.query_opt(stored, &[&id, &number(attempt)]).await.unwrap();
                let Some(success) = row.and_then(|r| r.get::<_, Option<String>>(0)) else { return };
                let message = self.result(attempt, attempt, success == "true");
                let change =
                    tasks::accept(conn, &self.key(attempt), Some(&message), true, self.claimant).await.unwrap();
                self.note(&change);
            }
            Step::Forged { attempt, agent } => {
                let mut message = self.result(attempt, agent, true);
                message.result_hash = "0".repeat(64);
                let key = InboxKey::of_result(&message);
                let change = tasks::accept(conn, &key, Some(&message), false, self.claimant).await.unwrap();
                assert!(!change.verdict.is_end(), "{change:?}");
            }
            Step::Expire => {
                let past = "UPDATE task_attempts SET deadline_at = now() - interval '1 hour' \
                    WHERE task_id::text = $1 AND attempt = $2";
                sql.execute(past, &[&id, &now.attempts]).await.unwrap();
                let change = tasks::expire(conn, self.task, now.attempts, self.claimant).await.unwrap();
                self.note(&change);
            }
            Step::Lose => {
                let over = "UPDATE agent_inbox SET lease_until = now() - interval '1 s' \
                    WHERE task_id::text = $1 AND attempt = $2 AND state = 'running'";
                sql.execute(over, &[&id, &now.attempts]).await.unwrap();
                let change = tasks::lost(conn, &self.key(newest), self.claimant).await.unwrap();
                self.note(&change);
            }
            Step::Sweep => {
                for tasks::Untaken { key, .. } in tasks::untaken(conn, 100).await.unwrap() {
                    let change = tasks::accept(conn, &key, None, false, self.claimant).await.unwrap();
                    self.note(&change);
                }
            }
            Step::Next => {
                let next = to(AGENTS[(newest + 1) % 3]);
                let sent = tasks::redispatch(conn, self.task, now.attempts, &next, self.claimant).await.unwrap();
                if sent.is_some() {
                    self.receive(conn, newest + 1).await;
                }
            }
            Step::Cancel => match tasks::cancel(conn, self.task, self.claimant).await {
                Ok(change) => self.note(&change),
                Err(error) => assert!(error.is_refused(), "{error}"),
            },
            Step::Finish { .. } | Step::Message { .. } => {}
        }
    }
}

fn number(attempt: usize) -> i32 {
    i32::try_from(attempt).unwrap() + 1
}

fn to(agent: &str) -> Assignment {
    Assignment { agent: agent.to_owned(), score: 0.5, scores: Vec::new() }
}

async fn tell(db: Database, sql: &tokio_postgres::Client, steps: Vec<Step>) {
    let mut conn = db.conn().await.unwrap();
    let mut story = Story::begin(&mut conn).await;
    for step in &steps {
        story.go(&mut conn, sql, step).await;
    }
    // Then time passes: what is open ends, what waits goes on.
    for step in [Step::Expire, Step::Next].iter().cycle().take(6) {
        story.go(&mut conn, sql, step).await;
    }
    story.go(&mut conn, sql, &Step::Sweep).await;
    let task = story.current(&mut conn).await;
    assert!(task.summary.status.is_final(), "{:?}", task.summary);
    assert!(task.summary.attempts <= 3);
    assert_eq!(story.ends, 1, "the task ended once");
    let id = story.task.to_string();
    let row = sql
        .query_one(
            "SELECT (SELECT count(*) FROM mesh_six_events WHERE task_id::text = $1
                    AND event_type IN ('task.completed', 'task.failed', 'task.cancelled')),
                (SELECT count(*) FROM task_attempts WHERE task_id::text = $1 AND outcome IS NULL),
                (SELECT count(*) FROM agent_task_history WHERE task_id::text = $1),
                (SELECT count(*) FROM agent_inbox WHERE task_id::text = $1 AND result IS NOT NULL AND taken_at IS NULL),
                (SELECT count(*) FROM outbox WHERE task_id::text = $1 AND attempt IS NOT NULL)",
            &[&id],
        )
        .await
        .unwrap();
    let counts: Vec<i64> = (0..5).map(|i| row.get(i)).collect();
    assert_eq!((counts[0], counts[1], counts[3], counts[4]), (1, 0, 0, 0), "{counts:?}");
    assert!(counts[2] <= i64::from(task.summary.attempts), "{counts:?}");
}

#[test]
fn any_order_of_results_and_deadlines_ends_a_task_exactly_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (test, db, sql) = runtime.block_on(async {
        let test = TestDatabase::new().await;
        let (db, sql) = (test.database().await, test.client().await);
        (test, db, sql)
    });
    let mut runner = TestRunner::new(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() });
    runner
        .run(&prop::collection::vec(step(), 0..25), |steps| {
            runtime.block_on(tell(db.clone(), &sql, steps));
            Ok(())
        })
        .unwrap();
    drop(db);
    drop(test);
}
