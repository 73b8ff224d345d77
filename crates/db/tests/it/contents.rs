//! Erasure: content goes, rows, hashes and the log stay.

use mesh_six_core::{
    Event, TraceId,
    event::{Content, EventFilter, Position},
    task::TaskResult,
};
use mesh_six_db::{
    DbError,
    contents::{Erased, Subject, erase},
    events::EventLog,
    seals::{self, SealOptions, VerifyOptions},
};
use mesh_six_testing::TestDatabase;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

const SECRET: &str = "the secret";

fn with_content(task: Uuid, user: &str) -> Event {
    let content = Content { kind: "prompt", user_id: Some(user.to_owned()), text: SECRET.to_owned() };
    Event::new("test.event", "a", TraceId::new(), json!({})).of_task(task).with_content(content)
}

/// A task that has ended, with everything that it leaves behind.
async fn task(client: &Client, user: &str) -> Uuid {
    let task = Uuid::now_v7();
    let result = json!({
        "taskId": task, "agentId": "a", "capability": "c", "attempt": 1, "traceId": TraceId::new(), "success": false,
        "result": SECRET, "resultHash": "abc", "error": {"type": "llm_error", "message": SECRET}, "durationMs": 5,
        "completedAt": "2026-01-01T00:00:00.000000Z", "usage": {}
    });
    let error = json!({"type": "llm_error", "message": SECRET});
    let (input, request) = (json!({ "query": SECRET }), json!({ "id": task, "payload": { "query": SECRET } }));
    let insert = format!(
        "INSERT INTO orchestrator_tasks (task_id, capability, requested_by, trace_id, status, user_id, payload, \
             result, result_hash, error, ended_at) \
             VALUES ('{task}', 'c', 'r', gen_random_uuid(), 'failed', '{user}', '{input}', '{result}', 'abc', '{error}', now()); \
         INSERT INTO agent_inbox (task_id, attempt, agent_id, state, request, result, result_hash, deadline_at) \
             VALUES ('{task}', 1, 'a', 'published', '{request}', '{result}', 'abc', now()); \
         INSERT INTO outbox (id, topic, key, payload, task_id) \
             VALUES (gen_random_uuid(), 'task-events', 'k', '{request}', '{task}'); \
         INSERT INTO dead_letters (app_id, topic, source, id, envelope, reason) \
             VALUES ('a', 't', 's', '{task}', convert_to('{request}', 'UTF8'), 'r')"
    );
    client.batch_execute(&insert).await.unwrap();
    task
}

/// How many rows of each kind still tell the secret.
async fn tellers(client: &Client) -> Vec<i64> {
    let tables = ["event_contents", "orchestrator_tasks", "agent_inbox", "outbox"];
    let mut found = Vec::new();
    for table in tables {
        let query = format!("SELECT count(*) FROM {table} t WHERE t::text LIKE '%{SECRET}%'");
        found.push(client.query_one(&query, &[]).await.unwrap().get(0));
    }
    let letters = "SELECT count(*) FROM dead_letters WHERE position('the secret'::bytea IN envelope) > 0";
    found.push(client.query_one(letters, &[]).await.unwrap().get(0));
    found
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn content_goes_by_event_task_and_user_while_the_log_and_its_chain_stay_whole() {
    let database = TestDatabase::new().await;
    let (client, db) = (database.client().await, database.database().await);
    let log = EventLog::start(db.clone());
    let tasks = [task(&client, "ann").await, task(&client, "ann").await, task(&client, "bob").await];
    let lone = with_content(Uuid::now_v7(), "ann");
    let mut events: Vec<Event> = tasks.iter().zip(["ann", "ann", "bob"]).map(|(t, u)| with_content(*t, u)).collect();
    events.push(lone.clone());
    events.push(with_content(tasks[2], "bob"));
    log.append(events).await.unwrap();
    seals::seal(&db, SealOptions::default()).await.unwrap();
    let before = log.query(&EventFilter::default()).await.unwrap();
    assert_eq!(tellers(&client).await, [5, 3, 3, 3, 3]);

    let mut conn = db.conn().await.unwrap();
    let whole = Erased { contents: 1, tasks: 1, inbox: 1, outbox: 1, dead_letters: 1, names: 0 };
    let of_task = Subject::Task(tasks[0]);
    assert_eq!(erase(&mut conn, &of_task, true).await.unwrap(), whole);
    assert_eq!(tellers(&client).await, [5, 3, 3, 3, 3], "a dry run changes nothing");
    assert_eq!(erase(&mut conn, &of_task, false).await.unwrap(), whole);
    assert_eq!(tellers(&client).await, [4, 2, 2, 2, 2]);
    let event = erase(&mut conn, &Subject::Event(lone.id), false).await.unwrap();
    assert_eq!(event, Erased { contents: 1, ..Erased::default() });
    let user = erase(&mut conn, &Subject::User("bob".to_owned()), false).await.unwrap();
    assert_eq!(user, Erased { contents: 2, ..whole });
    assert_eq!(tellers(&client).await, [1, 1, 1, 1, 1]);
    erase(&mut conn, &Subject::User("ann".to_owned()), false).await.unwrap();
    assert_eq!(tellers(&client).await, [0; 5]);

    // Rows and hashes stay and can still be read; nothing half erased is sent or replayed.
    let left = "SELECT t.result_hash, i.result_hash, t.result::text, t.error::text, i.result::text, i.request::text, o.sent_at IS NOT NULL, \
        d.state FROM orchestrator_tasks t JOIN agent_inbox i USING (task_id) JOIN outbox o USING (task_id) \
        JOIN dead_letters d ON d.id = task_id::text";
    let rows = client.query(left, &[]).await.unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("abc", "abc"));
        for column in [2, 4] {
            let result: TaskResult = serde_json::from_str(row.get(column)).unwrap();
            assert_eq!((result.result, result.error.unwrap().message.as_str()), (None, "erased"));
        }
        assert_eq!(json(row.get(3)), json!({"type": "llm_error", "message": "erased"}));
        assert_eq!(json(row.get(5))["payload"], json!({}));
        assert_eq!((row.get::<_, bool>(6), row.get::<_, &str>(7)), (true, "discarded"));
    }
    assert_eq!(log.query(&EventFilter::default()).await.unwrap(), before);
    assert!(before.iter().all(|e| e.event.payload["contentSha256"].is_string() && e.position > Position::START));
    assert!(seals::verify(&db, VerifyOptions::default(), |_| ()).await.unwrap().is_intact());
}

#[tokio::test]
async fn what_is_under_way_is_not_erased() {
    let database = TestDatabase::new().await;
    let (client, db) = (database.client().await, database.database().await);
    let open = task(&client, "ann").await;
    task(&client, "ann").await;
    let mut conn = db.conn().await.unwrap();
    let begin = format!("UPDATE orchestrator_tasks SET status = 'dispatched' WHERE task_id = '{open}'");
    let running = "UPDATE orchestrator_tasks SET status = 'cancelled'; \
        UPDATE agent_inbox SET state = 'running', lease_until = now() + interval '1 minute'";
    for change in [begin.as_str(), running] {
        client.batch_execute(change).await.unwrap();
        for subject in [Subject::Task(open), Subject::User("ann".to_owned())] {
            let error = erase(&mut conn, &subject, false).await.unwrap_err();
            let DbError::Refused(refusal) = error else { panic!("{error:?}") };
            assert!(refusal.message.contains("under way"), "{refusal}");
        }
    }
    assert_eq!(tellers(&client).await, [0, 2, 2, 2, 2], "all or nothing");
}

/// How many rows of each kind still name the person.
async fn namers(client: &Client, name: &str) -> Vec<i64> {
    let mut found = Vec::new();
    for table in ["event_contents", "orchestrator_tasks", "agent_inbox", "outbox", "mesh_six_events"] {
        let query = format!("SELECT count(*) FROM {table} t WHERE t::text LIKE '%{name}%'");
        found.push(client.query_one(&query, &[]).await.unwrap().get(0));
    }
    let letters = format!("SELECT count(*) FROM dead_letters WHERE position('{name}'::bytea IN envelope) > 0");
    found.push(client.query_one(&letters, &[]).await.unwrap().get(0));
    found
}

/// Changes the rows of a task that name people.
async fn name(client: &Client, task: Uuid, user: Option<&str>, in_payload: Option<&str>, asked_by: &str) {
    let payload = json!({ "userId": in_payload, "query": SECRET });
    let mut request = json!({ "id": task, "payload": payload, "requestedBy": asked_by });
    if let Some(user) = user {
        request["userId"] = json!(user);
    }
    let user = user.map_or("NULL".to_owned(), |user| format!("'{user}'"));
    let change = format!(
        "UPDATE orchestrator_tasks SET user_id = {user}, requested_by = '{asked_by}', payload = '{payload}', \
             client_key = '{asked_by} {task}' WHERE task_id = '{task}'; \
         UPDATE agent_inbox SET request = '{request}' WHERE task_id = '{task}'; \
         UPDATE outbox SET payload = '{request}' WHERE task_id = '{task}'; \
         UPDATE dead_letters SET envelope = convert_to('{{\"data\":{request}}}', 'UTF8') WHERE id = '{task}'"
    );
    client.batch_execute(&change).await.unwrap();
}

#[tokio::test]
async fn a_person_s_name_goes_with_the_content_and_others_keep_theirs() {
    let database = TestDatabase::new().await;
    let (client, db) = (database.client().await, database.database().await);
    let log = EventLog::start(db.clone());
    let mut tasks = Vec::new();
    for _ in 0..5 {
        tasks.push(task(&client, "nobody").await);
    }
    // Whose a task is: the user, else the user in the input, else who asked.
    name(&client, tasks[0], Some("ann-lee"), None, "a-service").await;
    name(&client, tasks[1], None, Some("ann-lee"), "a-service").await;
    name(&client, tasks[2], None, None, "ann-lee").await;
    // Asked for by her, for somebody else.
    name(&client, tasks[3], Some("bob-ray"), None, "ann-lee").await;
    name(&client, tasks[4], Some("bob-ray"), None, "a-service").await;
    log.append(vec![with_content(tasks[0], "ann-lee"), with_content(tasks[4], "bob-ray")]).await.unwrap();
    assert_eq!(namers(&client, "ann-lee").await, [1, 4, 4, 4, 0, 4]);
    assert_eq!(namers(&client, "bob-ray").await, [1, 2, 2, 2, 0, 2]);

    let mut conn = db.conn().await.unwrap();
    let ann = Subject::User("ann-lee".to_owned());
    let expected = Erased { contents: 1, tasks: 3, inbox: 3, outbox: 3, dead_letters: 4, names: 1 };
    assert_eq!(erase(&mut conn, &ann, true).await.unwrap(), expected);
    assert_eq!(erase(&mut conn, &ann, false).await.unwrap(), expected);
    assert_eq!(namers(&client, "ann-lee").await, [0; 6]);
    assert_eq!(namers(&client, "bob-ray").await, [1, 2, 2, 2, 0, 1], "his stay, but for a message that named her");
    assert_eq!(tellers(&client).await, [1, 2, 2, 2, 1]);
    assert_eq!(erase(&mut conn, &ann, false).await.unwrap(), Erased::default(), "once is enough");

    // What is left can be read.
    let left = "SELECT request::text, (SELECT requested_by FROM orchestrator_tasks t WHERE t.task_id = i.task_id) \
        FROM agent_inbox i";
    for row in client.query(left, &[]).await.unwrap() {
        let request = json(row.get(0));
        assert_eq!(request["requestedBy"], row.get::<_, &str>(1));
        assert!(["erased", "a-service"].contains(&row.get(1)));
    }
    let keys = "SELECT count(*) FROM orchestrator_tasks WHERE client_key IS NOT NULL";
    assert_eq!(client.query_one(keys, &[]).await.unwrap().get::<_, i64>(0), 1);
}
