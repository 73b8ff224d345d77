//! Agents that hang, answer late, answer twice, or answer for others: an answer is accepted once, or refused and on the
//! record.

use mesh_six_core::{
    id::new_id,
    names::{EVENT_LOGGER, ORCHESTRATOR, TASK_RESULTS},
    task::TaskRequest,
};
use mesh_six_db::{Database, DbConfig, inbox};
use mesh_six_testing::{
    Reply, StubModel,
    rig::{Rig, RigSpec},
    wait_until,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::{
    record::{Attempted, counted, ends, events, history, outcomes, rejected, request_of, taken_in},
    scripted::ScriptedAgent,
    support::{SOON, all, finished, http, sql, start, submit},
};

/// A task for one of the scripted agents.
async fn ask(url: &str, capability: &str, timeout: u32) -> String {
    let body = json!({ "capability": capability, "payload": {}, "timeout": timeout });
    let answer = http().post(format!("{url}/api/v1/tasks")).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await.unwrap());
    let task: Value = answer.json().await.unwrap();
    task["taskId"].as_str().unwrap().to_owned()
}

fn failed(attempt: i32, agent: &ScriptedAgent, why: &str) -> Attempted {
    (attempt, agent.name.clone(), Some(why.to_owned()))
}

fn done(attempt: i32, agent: &ScriptedAgent) -> Attempted {
    (attempt, agent.name.clone(), None)
}

/// How an attempt of this agent ended.
fn outcome(agent: &ScriptedAgent, outcome: &str) -> (String, Option<String>) {
    (agent.name.clone(), Some(outcome.to_owned()))
}

fn because(agent: &ScriptedAgent, reason: &str) -> (String, String) {
    (agent.name.clone(), reason.to_owned())
}

/// Waits until exactly these results of the task stand as refused.
async fn wait_rejected(sql: &Client, task: &str, expected: &[(String, String)]) {
    wait_until(SOON, async || rejected(sql, task).await == expected).await;
}

/// A task that ended with the answer `response`, once.
async fn completed(url: &str, sql: &Client, task: &str, by: &ScriptedAgent, response: &str, attempts: i32) {
    let ended = finished(url, task).await;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("completed"), &json!(attempts)), "{ended:#}");
    assert_eq!(
        (&ended["dispatchedTo"], &ended["result"]["response"]),
        (&json!(by.name), &json!(response)),
        "{ended:#}"
    );
    assert_eq!(ends(sql, task).await, 1);
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn an_agent_that_hangs_or_is_late_costs_its_attempt_and_its_task_ends_once() {
    let rig = start(all()).await;
    let (url, sql) = (rig.url(ORCHESTRATOR), sql(&rig).await);
    let slow = [("hangs", 0.9), ("late", 0.9), ("late-failure", 0.9), ("never", 0.9)];
    let quick = [("hangs", 0.1), ("late", 0.1), ("late-failure", 0.1)];
    let (slow, quick) = tokio::join!(
        ScriptedAgent::join(&rig, "slow", "memory", &slow),
        ScriptedAgent::join(&rig, "quick", "memory", &quick)
    );

    let hangs = async {
        let task = ask(&url, "hangs", 1).await;
        let first = slow.asked(&task, 1).await;
        let second = quick.asked(&task, 2).await;
        quick.say(&quick.answer(&second, "in time")).await;
        completed(&url, &sql, &task, &quick, "in time", 2).await;
        // It wakes up when all is over.
        slow.say(&slow.answer(&first, "too late")).await;
        wait_rejected(&sql, &task, &[because(&slow, "late")]).await;
        completed(&url, &sql, &task, &quick, "in time", 2).await;
        assert_eq!(history(&sql, &task).await, [failed(1, &slow, "timeout"), done(2, &quick)]);
        assert_eq!(outcomes(&sql, &task).await, [outcome(&slow, "timeout"), outcome(&quick, "success")]);
        assert_eq!((events(&sql, &task, "task.timeout").await, events(&sql, &task, "task.retry").await), (1, 1));
    };
    let late = async {
        let task = ask(&url, "late", 1).await;
        let first = slow.asked(&task, 1).await;
        let second = quick.asked(&task, 2).await;
        // While another one works on it, a late success still counts.
        slow.say(&slow.answer(&first, "late, but there")).await;
        completed(&url, &sql, &task, &slow, "late, but there", 2).await;
        quick.say(&quick.answer(&second, "for nothing")).await;
        wait_rejected(&sql, &task, &[because(&quick, "late")]).await;
        completed(&url, &sql, &task, &slow, "late, but there", 2).await;
        // Nobody is to blame for the second attempt.
        assert_eq!(history(&sql, &task).await, [failed(1, &slow, "timeout")]);
        assert_eq!(outcomes(&sql, &task).await, [outcome(&slow, "timeout"), outcome(&quick, "cancelled")]);
    };
    let late_failure = async {
        let task = ask(&url, "late-failure", 1).await;
        let first = slow.asked(&task, 1).await;
        let second = quick.asked(&task, 2).await;
        slow.say(&slow.failure(&first)).await;
        wait_rejected(&sql, &task, &[because(&slow, "late")]).await;
        quick.say(&quick.answer(&second, "well done")).await;
        completed(&url, &sql, &task, &quick, "well done", 2).await;
        assert_eq!(history(&sql, &task).await, [failed(1, &slow, "timeout"), done(2, &quick)]);
    };
    let never = async {
        let task = ask(&url, "never", 1).await;
        let ended = finished(&url, &task).await;
        assert_eq!((&ended["status"], &ended["attempts"]), (&json!("failed"), &json!(3)), "{ended:#}");
        assert_eq!(ended["error"]["type"], "timeout", "{ended:#}");
        assert_eq!(ends(&sql, &task).await, 1);
        let three = [1, 2, 3].map(|attempt| failed(attempt, &slow, "timeout"));
        assert_eq!(history(&sql, &task).await, three);
        assert_eq!((events(&sql, &task, "task.timeout").await, events(&sql, &task, "task.retry").await), (3, 2));
    };
    tokio::join!(hangs, late, late_failure, never);
    rig.shut_down().await;
}

/// Another attempt than the one that was asked for.
fn another_attempt(request: &TaskRequest) -> TaskRequest {
    TaskRequest { attempt: request.attempt + 1, ..request.clone() }
}

/// A task that nobody has asked for.
fn unknown(request: &TaskRequest) -> TaskRequest {
    TaskRequest { id: new_id(), ..request.clone() }
}

/// The reasons of the event logger's dead letters of results that name this task.
async fn letters_of(sql: &Client, task: &str) -> Vec<String> {
    let query = "SELECT reason FROM dead_letters WHERE app_id = 'event-logger' AND topic = 'task-results' \
        AND position(convert_to($1, 'UTF8') IN envelope) > 0 ORDER BY 1";
    sql.query(query, &[&task]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn an_answer_counts_once_and_only_from_the_agent_that_was_asked() {
    let rig = start(all()).await;
    let (url, sql) = (rig.url(ORCHESTRATOR), sql(&rig).await);
    let (asked, other) = tokio::join!(
        ScriptedAgent::join(&rig, "asked", "memory", &[("twice", 0.9), ("foreign", 0.9)]),
        ScriptedAgent::join(&rig, "other", "memory", &[]),
    );
    let mut said = 0;
    let mut also = |more: u64| {
        said += more;
        said
    };

    // Twice the same under one id and under another, then something else.
    let task = ask(&url, "twice", 60).await;
    let request = asked.asked(&task, 1).await;
    let answer = asked.answer(&request, "once");
    for id in ["first", "first", "second"] {
        asked.say_as(id, &answer).await;
    }
    completed(&url, &sql, &task, &asked, "once", 1).await;
    let all_said = also(3);
    for instance in [ORCHESTRATOR, EVENT_LOGGER] {
        taken_in(&rig, instance, TASK_RESULTS, all_said).await;
    }
    assert_eq!(rejected(&sql, &task).await, [], "what is the same is nothing new");
    asked.say(&asked.answer(&request, "or rather this")).await;
    also(1);
    wait_rejected(&sql, &task, &[because(&asked, "forged")]).await;
    completed(&url, &sql, &task, &asked, "once", 1).await;
    assert_eq!((history(&sql, &task).await, events(&sql, &task, "task.result").await), (vec![done(1, &asked)], 1));

    // Somebody else answers: in the asked one's name, in its own, for an attempt and a task that there are not.
    let task = ask(&url, "foreign", 60).await;
    let request = asked.asked(&task, 1).await;
    let nobodys = unknown(&request);
    other.say(&asked.answer(&request, "forged")).await;
    other.say(&other.answer(&request, "mine")).await;
    asked.say(&asked.answer(&another_attempt(&request), "before I was asked")).await;
    other.say(&other.answer(&nobodys, "of what?")).await;
    let all_said = also(4);
    wait_rejected(&sql, &task, &[because(&asked, "forged"), because(&asked, "forged"), because(&other, "wrong_agent")])
        .await;
    for instance in [ORCHESTRATOR, EVENT_LOGGER] {
        taken_in(&rig, instance, TASK_RESULTS, all_said).await;
    }
    assert_eq!((ends(&sql, &task).await, events(&sql, &task, "task.result").await), (0, 0));
    let nobody = "agentId: nobody asked this agent for that attempt";
    let somebody = "source: somebody else than the agent sent this";
    assert_eq!(letters_of(&sql, &task).await, [nobody, nobody, somebody]);
    assert_eq!(letters_of(&sql, &nobodys.id.to_string()).await, [nobody]);
    asked.say(&asked.answer(&request, "honest")).await;
    completed(&url, &sql, &task, &asked, "honest", 1).await;
    assert_eq!(history(&sql, &task).await, [done(1, &asked)]);
    wait_until(SOON, async || events(&sql, &task, "task.result").await == 1).await;
    for (verdict, count) in [("accepted", 2), ("duplicate", 2), ("forged", 3), ("wrong_agent", 1), ("unknown_task", 1)]
    {
        let label = format!("verdict=\"{verdict}\"");
        assert_eq!(counted(&rig, ORCHESTRATOR, "mesh_six_task_results_total", &[&label]).await, count, "{verdict}");
    }
    rig.shut_down().await;
}

/// What `agent` does when it works as agreed: takes the request in, claims it, writes the answer. No message.
async fn work_as_agreed(rig: &Rig, agent: &ScriptedAgent, request: &TaskRequest, answer: &str) {
    let db = Database::connect(DbConfig::new(rig.database_url(), "a test's agent")).await.unwrap();
    let (mut conn, owner) = (db.conn().await.unwrap(), new_id());
    inbox::accept(&mut conn, request, &agent.name, None).await.unwrap();
    let claimed = inbox::claim(&mut conn, &agent.name, owner, 1, SOON).await.unwrap();
    assert_eq!(claimed.len(), 1);
    inbox::finish(&mut conn, owner, &agent.answer(request, answer), &[], None).await.unwrap();
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn the_inbox_decides_where_an_agent_has_one() {
    let model = StubModel::start().await;
    let rig = start(RigSpec { model_url: Some(model.url().to_owned()), ..all() }).await;
    let (url, sql) = (rig.url(ORCHESTRATOR), sql(&rig).await);
    let (stranger, kept) = tokio::join!(
        ScriptedAgent::join(&rig, "stranger", "memory", &[]),
        ScriptedAgent::join(&rig, "kept", "database", &[("kept", 0.9)]),
    );

    // A real agent is at work on it.
    let (gate, open) = watch::channel(false);
    model.script([Reply::text("the real answer").when(open)]);
    let task = submit(&url, "general-query", "Who answers?").await["taskId"].as_str().unwrap().to_owned();
    model.wait_for_calls(1, SOON).await;
    let request = request_of(&sql, &task).await;
    let in_its_name = |answer: &str| {
        let mut forged = stranger.answer(&request, answer);
        "simple-agent".clone_into(&mut forged.agent_id);
        forged
    };
    stranger.say(&in_its_name("forged")).await;
    wait_rejected(&sql, &task, &[("simple-agent".to_owned(), "forged".to_owned())]).await;
    wait_until(SOON, async || letters_of(&sql, &task).await == ["resultHash: the agent's inbox holds no answer yet"])
        .await;
    gate.send(true).unwrap();
    let ended = finished(&url, &task).await;
    assert_eq!(ended["result"]["response"], "the real answer", "{ended:#}");
    // And when it is done.
    stranger.say(&in_its_name("forged again")).await;
    let another = "resultHash: the agent's inbox holds another answer";
    wait_until(SOON, async || letters_of(&sql, &task).await.first().is_some_and(|reason| reason == another)).await;
    assert_eq!((ends(&sql, &task).await, events(&sql, &task, "task.result").await), (1, 1));
    assert_eq!(history(&sql, &task).await.len(), 1);

    // One that says that its inbox is in the database is not believed without it, and needs no message with it.
    let task = ask(&url, "kept", 60).await;
    let request = kept.asked(&task, 1).await;
    kept.say(&kept.answer(&request, "take my word")).await;
    wait_rejected(&sql, &task, &[because(&kept, "forged")]).await;
    assert_eq!(ends(&sql, &task).await, 0);
    work_as_agreed(&rig, &kept, &request, "on record").await;
    completed(&url, &sql, &task, &kept, "on record", 1).await;
    assert_eq!(history(&sql, &task).await, [done(1, &kept)]);
    rig.shut_down().await;
}
