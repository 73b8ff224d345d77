//! Dead letters as a queue: list, show, replay, discard.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use mesh_six_core::{
    id::new_id,
    names::{DEAD_LETTER, TASK_EVENTS, TASK_PROGRESS, TASK_RESULTS},
};
use mesh_six_db::{
    contents::{self, Subject},
    dead_letters::{self, DeadLetter},
    outbox::{self, Claimant},
};
use mesh_six_testing::samples::{AGENT, envelope, message, note, request};
use serde_json::{Value, json};

use crate::{
    ask::{self, Answer},
    rig::Rig,
};

const LETTERS: &str = "/api/v1/dead-letters";

fn letter(app: &str, topic: &str, id: &str, envelope: &[u8]) -> DeadLetter {
    DeadLetter {
        app_id: app.to_owned(),
        topic: topic.to_owned(),
        source: AGENT.to_owned(),
        id: id.to_owned(),
        envelope: envelope.to_vec(),
        reason: Some(format!("because of {id}")),
    }
}

/// An event that can be sent again.
fn event(id: &str) -> Vec<u8> {
    json!({"id": id, "source": AGENT, "data": {}, "x": 1}).to_string().into_bytes()
}

async fn store(rig: &Rig, letters: &[DeadLetter]) {
    dead_letters::store(&mut rig.db.conn().await.unwrap(), letters).await.unwrap();
}

async fn list(rig: &Rig, query: &str) -> Value {
    let answer = ask::get(rig.router(), &format!("{LETTERS}?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
    answer.json()
}

/// The ids of the events of the letters that a query finds.
async fn found(rig: &Rig, query: &str) -> BTreeSet<String> {
    let page = list(rig, query).await;
    page["letters"].as_array().unwrap().iter().map(|l| l["eventId"].as_str().unwrap().to_owned()).collect()
}

/// The id of the letter of an event.
async fn id_of(rig: &Rig, event: &str) -> String {
    let page = list(rig, "limit=200").await;
    let letter = page["letters"].as_array().unwrap().iter().find(|l| l["eventId"] == event).cloned();
    letter.unwrap()["id"].as_str().unwrap().to_owned()
}

async fn post(rig: &Rig, what: &str, body: &Value) -> Answer {
    ask::post(rig.router(), &format!("{LETTERS}/{what}"), "", body.to_string()).await
}

/// Decides about letters; one decision each.
async fn decide(rig: &Rig, what: &str, ids: &[&str]) -> Vec<Value> {
    let answer = post(rig, what, &json!({ "ids": ids })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()["decisions"].as_array().unwrap().clone()
}

/// State and failures of the letter of an event in an app.
async fn standing(rig: &Rig, app: &str, event: &str) -> (String, i32) {
    let letters = rig.letters().await;
    let letter = letters.into_iter().find(|l| l.app_id == app && l.id == event).unwrap();
    (letter.state, letter.tries)
}

/// How many messages are to be sent.
async fn outgoing(rig: &Rig) -> i64 {
    outbox::backlog(&mut rig.db.conn().await.unwrap()).await.unwrap().waiting
}

#[tokio::test]
async fn letters_are_found_by_each_condition_and_page_by_page() {
    let rig = Rig::start().await;
    let mut letters = Vec::new();
    for n in 0..7 {
        let (app, topic) = if n % 2 == 0 { ("a", TASK_EVENTS) } else { ("b", TASK_RESULTS) };
        letters.push(letter(app, topic, &n.to_string(), &event("x")));
    }
    store(&rig, &letters).await;
    let client = rig.database.client().await;
    let change = "UPDATE dead_letters SET last_at = '2026-01-01'::timestamptz + id::integer / 2 * interval '1 day'; \
        UPDATE dead_letters SET state = 'replayed' WHERE id = '1'; \
        UPDATE dead_letters SET state = 'discarded' WHERE id = '2'";
    client.batch_execute(change).await.unwrap();
    let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    for (query, expected) in [
        ("", set(&["0", "1", "2", "3", "4", "5", "6"])),
        ("state=waiting", set(&["0", "3", "4", "5", "6"])),
        ("state=replayed", set(&["1"])),
        ("state=discarded", set(&["2"])),
        ("topic=task-results", set(&["1", "3", "5"])),
        ("appId=a&state=waiting", set(&["0", "4", "6"])),
        ("since=2026-01-03T00:00:00Z", set(&["4", "5", "6"])),
        ("topic=nothing", set(&[])),
    ] {
        assert_eq!(found(&rig, query).await, expected, "{query}");
    }
    for limit in [1, 2, 3, 7] {
        let (mut seen, mut query, mut last) = (Vec::new(), format!("limit={limit}"), None);
        loop {
            let page = list(&rig, &query).await;
            for letter in page["letters"].as_array().unwrap() {
                let failed = letter["lastAt"].as_str().unwrap().to_owned();
                assert!(last.is_none_or(|last| failed <= last), "the newest failure first");
                last = Some(failed);
                seen.push(letter["eventId"].as_str().unwrap().to_owned());
            }
            let Some(next) = page["next"].as_str() else { break };
            query = format!("limit={limit}&after={next}");
        }
        seen.sort();
        assert_eq!(seen, ["0", "1", "2", "3", "4", "5", "6"], "{limit}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    let rig = Rig::start().await;
    for (query, field) in [
        ("state=lost", "state"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("since=yesterday", "since"),
        ("after=7", "after"),
        ("after=zz-00", "after"),
        ("topic=a%00b", "topic"),
        ("appId=a%00b", "appId"),
        ("app=a", "app"),
    ] {
        let answer = ask::get(rig.router(), &format!("{LETTERS}?{query}")).await;
        assert_eq!((answer.status, answer.field().as_str()), (StatusCode::BAD_REQUEST, field), "{query}");
    }
    for id in ["12345", "xyzxyz", "ABCDEF", &"0".repeat(33)] {
        let answer = ask::get(rig.router(), &format!("{LETTERS}/{id}")).await;
        assert_eq!((answer.status, answer.field().as_str()), (StatusCode::BAD_REQUEST, "id"), "{id}");
    }
    let many: Vec<String> = (0..101).map(|n| format!("{n:032x}")).collect();
    for (body, field) in [
        (json!({}), "ids"),
        (json!({"ids": []}), "ids"),
        (json!({"ids": many}), "ids"),
        (json!({"ids": ["000000", "00000"]}), "ids[1]"),
        (json!({"ids": [7]}), "ids[0]"),
        (json!({"ids": ["000000"], "all": true}), "all"),
    ] {
        for what in ["replay", "discard"] {
            let answer = post(&rig, what, &body).await;
            assert_eq!((answer.status, answer.field().as_str()), (StatusCode::BAD_REQUEST, field), "{body}");
        }
    }
    let unknown = ask::get(rig.router(), &format!("{LETTERS}/0123456789")).await;
    assert_eq!((unknown.status, unknown.field().as_str()), (StatusCode::NOT_FOUND, "id"));
    let decisions = decide(&rig, "replay", &["0123456789"]).await;
    assert_eq!(decisions[0]["error"]["type"], "not_found");
}

#[tokio::test]
async fn a_letter_is_shown_with_the_bytes_as_they_came() {
    let rig = Rig::start().await;
    let odd = br#" {"id":"1", "source":"x","data":1.50} "#;
    store(&rig, &[letter("a", TASK_EVENTS, "text", odd), letter("a", DEAD_LETTER, "bytes", b"\xff\x00")]).await;
    let id = id_of(&rig, "text").await;
    assert_eq!(id.len(), 32);
    let shown = ask::get(rig.router(), &format!("{LETTERS}/{}", &id[..6])).await.json();
    assert_eq!(shown["envelope"].as_str().unwrap().as_bytes(), odd);
    assert_eq!((&shown["id"], &shown["bytes"]), (&json!(id), &json!(odd.len())));
    let mut settings = insta::Settings::clone_current();
    for path in [".id", ".firstAt", ".lastAt"] {
        settings.add_redaction(path, "[own]");
    }
    settings.bind(|| insta::assert_json_snapshot!("letter", shown));
    let bytes = ask::get(rig.router(), &format!("{LETTERS}/{}", id_of(&rig, "bytes").await)).await.json();
    assert_eq!((&bytes["envelope"], &bytes["encoding"]), (&json!("/wA="), &json!("base64")));
    assert!(bytes["obstacle"].as_str().unwrap().contains("no CloudEvent"), "{bytes}");
}

#[tokio::test]
async fn an_id_is_made_of_the_key_and_its_beginning_must_name_one_letter() {
    let rig = Rig::start().await;
    // Keys that are the same text once their parts are put together.
    store(&rig, &[letter("a", "bc", "1", b"x"), letter("ab", "c", "1", b"x")]).await;
    let page = list(&rig, "").await;
    let ids: BTreeSet<&str> = page["letters"].as_array().unwrap().iter().map(|l| l["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    let again = Rig::start().await;
    store(&again, &[letter("a", "bc", "1", b"other"), letter("ab", "c", "1", b"bytes")]).await;
    for id in ids {
        let answer = ask::get(again.router(), &format!("{LETTERS}/{id}")).await;
        assert_eq!(answer.status, StatusCode::OK, "the same in any database");
    }
    // Six digits are hardly ever shared by chance.
    let client = again.database.client().await;
    let forge = "ALTER TABLE dead_letters ALTER COLUMN letter_id DROP EXPRESSION; \
        UPDATE dead_letters SET letter_id = 'abcdef' || right(letter_id, 26)";
    client.batch_execute(forge).await.unwrap();
    let answer = ask::get(again.router(), &format!("{LETTERS}/abcdef")).await;
    assert_eq!((answer.status, answer.field().as_str()), (StatusCode::CONFLICT, "id"), "{}", answer.text);
}

#[tokio::test]
async fn a_replay_is_one_outbox_row_with_the_change_of_state_however_many_ask_at_once() {
    let rig = Rig::start().await;
    store(&rig, &[letter("a", TASK_EVENTS, "1", &event("1")), letter("b", TASK_EVENTS, "1", &event("1"))]).await;
    store(&rig, &[letter("c", TASK_RESULTS, "1", &event("1"))]).await;
    let ids: Vec<String> = list(&rig, "topic=task-events").await["letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["id"].as_str().unwrap().to_owned())
        .collect();
    let asked = (0..20).map(|n| {
        let (rig, id) = (&rig, ids[n % 2].as_str());
        async move { decide(rig, "replay", &[id]).await.remove(0) }
    });
    let answers = futures_util::future::join_all(asked).await;
    let replayed: Vec<&Value> = answers.iter().filter(|a| a["letter"]["state"] == "replayed").collect();
    assert_eq!(replayed.len(), 1, "{answers:?}");
    assert!(replayed[0]["letter"]["decidedAt"].is_string());
    let refused = answers.iter().filter(|a| a["error"]["type"] == "conflict");
    assert_eq!(refused.count(), 19, "{answers:?}");
    assert_eq!(outgoing(&rig).await, 1);
    // All subscribers get the message, so the other app's letter of it went with it.
    for (app, state) in [("a", "replayed"), ("b", "replayed"), ("c", "waiting")] {
        assert_eq!(standing(&rig, app, "1").await, (state.to_owned(), 1));
    }
    let claimed = outbox::claim(&mut rig.db.conn().await.unwrap(), Claimant::new(std::time::Duration::from_secs(9)), 9)
        .await
        .unwrap();
    assert_eq!((claimed[0].topic.as_str(), claimed[0].attempt), (TASK_EVENTS, None));
    assert!(ids.contains(claimed[0].letter_id.as_ref().unwrap()));

    // A broker may have lost it.
    let again = post(&rig, "replay", &json!({"ids": [ids[0]], "again": true})).await.json();
    assert_eq!(again["decisions"][0]["letter"]["state"], "replayed");
    assert_eq!(outgoing(&rig).await, 2);
}

#[tokio::test]
async fn what_would_be_another_message_is_not_sent() {
    let rig = Rig::start().await;
    store(
        &rig,
        &[
            letter("a", TASK_EVENTS, "no event", b"{}"),
            letter("a", TASK_EVENTS, "empty", b""),
            letter("a", DEAD_LETTER, "from nowhere", &event("1")),
            letter("a", "elsewhere", "to nobody", &event("1")),
        ],
    )
    .await;
    for id in ["no event", "empty", "from nowhere", "to nobody"] {
        let decision = decide(&rig, "replay", &[&id_of(&rig, id).await]).await.remove(0);
        assert_eq!(decision["error"]["type"], "conflict", "{id}: {decision}");
        let shown = ask::get(rig.router(), &format!("{LETTERS}/{}", id_of(&rig, id).await)).await.json();
        assert_eq!(shown["obstacle"], decision["error"]["message"]);
        assert_eq!(standing(&rig, "a", id).await.0, "waiting");
    }
    assert_eq!(outgoing(&rig).await, 0);
}

#[tokio::test]
async fn a_discarded_letter_keeps_its_bytes_and_can_still_be_replayed() {
    let rig = Rig::start().await;
    store(&rig, &[letter("a", TASK_EVENTS, "1", &event("1")), letter("a", TASK_EVENTS, "2", &event("2"))]).await;
    let (one, two) = (id_of(&rig, "1").await, id_of(&rig, "2").await);
    let decisions = decide(&rig, "discard", &[&one, "0123456789", &two, &one]).await;
    let told: Vec<_> = decisions.iter().map(|d| d["error"]["type"].as_str()).collect();
    assert_eq!(told, [None, Some("not_found"), None, Some("conflict")], "each for itself");
    assert_eq!((standing(&rig, "a", "1").await.0, outgoing(&rig).await), ("discarded".to_owned(), 0));
    assert_eq!(rig.letters().await[0].envelope, event("1"));
    assert_eq!(decide(&rig, "replay", &[&one]).await[0]["letter"]["state"], "replayed");
    let refused = decide(&rig, "discard", &[&one]).await.remove(0);
    assert!(refused["error"]["message"].as_str().unwrap().contains("waits again"), "{refused}");
    // It fails again: the letter waits again, with what is new.
    store(&rig, &[letter("a", TASK_EVENTS, "1", &event("1"))]).await;
    assert_eq!(standing(&rig, "a", "1").await, ("waiting".to_owned(), 2));
}

#[tokio::test]
async fn a_copy_of_one_subscribers_failure_does_not_bring_back_the_letters_of_those_that_took_it() {
    let rig = Rig::start().await;
    store(&rig, &[letter("a", TASK_EVENTS, "1", &event("1")), letter("b", TASK_EVENTS, "1", &event("1"))]).await;
    decide(&rig, "replay", &[&id_of(&rig, "1").await]).await;
    store(&rig, &[letter("b", TASK_EVENTS, "1", &event("1"))]).await;
    // What the broker forwards after b's DROP does not tell whose it was.
    store(&rig, &[DeadLetter { reason: None, ..letter("unknown", TASK_EVENTS, "1", &event("1")) }]).await;
    assert_eq!(rig.letters().await.len(), 2);
    assert_eq!(standing(&rig, "a", "1").await, ("replayed".to_owned(), 1));
    assert_eq!(standing(&rig, "b", "1").await, ("waiting".to_owned(), 2));
}

#[tokio::test]
async fn erased_content_is_neither_sent_nor_shown() {
    let rig = Rig::start().await;
    let task = new_id();
    let body = json!({"id": "1", "source": AGENT, "data": {"taskId": task, "userId": "ann"}}).to_string();
    store(&rig, &[letter("a", TASK_EVENTS, "1", body.as_bytes()), letter("a", TASK_EVENTS, "2", body.as_bytes())])
        .await;
    let (one, two) = (id_of(&rig, "1").await, id_of(&rig, "2").await);
    // One is on its way when the content goes.
    decide(&rig, "replay", &[&one]).await;
    let mut conn = rig.db.conn().await.unwrap();
    let erased = contents::erase(&mut conn, &Subject::User("ann".to_owned()), false).await.unwrap();
    assert_eq!(erased.dead_letters, 2);
    assert_eq!(dead_letters::to_send(&mut conn, &one).await.unwrap(), None);
    let told = decide(&rig, "replay", &[&two]).await.remove(0);
    assert!(told["error"]["message"].as_str().unwrap().contains("erased"), "{told}");
    let shown = ask::get(rig.router(), &format!("{LETTERS}/{one}")).await.json();
    assert_eq!((&shown["envelope"], &shown["bytes"]), (&json!(""), &json!(0)));
}

#[tokio::test]
async fn e_5_a_replayed_message_is_one_event_however_often_it_comes() {
    let rig = Rig::start().await;
    let note = envelope(AGENT, message(TASK_PROGRESS, json!(note(&request(), "started"))));
    let bytes = note.to_string().into_bytes();
    store(&rig, &[letter("event-logger", TASK_PROGRESS, note["id"].as_str().unwrap(), &bytes)]).await;
    decide(&rig, "replay", &[&id_of(&rig, note["id"].as_str().unwrap()).await]).await;
    // What a relay sends arrives like any message.
    for _ in 0..2 {
        assert_eq!(rig.deliver("/events/task-progress", std::slice::from_ref(&note)).await, ["SUCCESS"]);
    }
    assert_eq!(rig.events().await.len(), 1);
    assert_eq!(standing(&rig, "event-logger", note["id"].as_str().unwrap()).await.0, "replayed");
}

#[tokio::test]
async fn what_was_decided_about_goes_after_a_month_and_what_waits_or_is_still_to_be_sent_never() {
    let rig = Rig::start().await;
    let names = ["waits", "sent", "unsent", "unwanted", "unwanted lately"];
    let letters = names.map(|name| letter("a", TASK_EVENTS, name, &event(name)));
    store(&rig, &letters).await;
    let mut ids = Vec::new();
    for name in names {
        ids.push(id_of(&rig, name).await);
    }
    decide(&rig, "replay", &[&ids[1], &ids[2]]).await;
    decide(&rig, "discard", &[&ids[3], &ids[4]]).await;
    let client = rig.database.client().await;
    let old = "UPDATE dead_letters SET decided_at = now() - interval '31 days', first_at = now() - interval '1 year', \
        last_at = now() - interval '1 year' WHERE id <> 'unwanted lately'";
    client.batch_execute(old).await.unwrap();
    client.execute("UPDATE outbox SET sent_at = now() WHERE letter_id = $1", &[&ids[1]]).await.unwrap();
    let mut conn = rig.db.conn().await.unwrap();
    assert_eq!(dead_letters::prune(&mut conn, dead_letters::KEEP).await.unwrap(), 2);
    let left: Vec<String> = rig.letters().await.into_iter().map(|letter| letter.id).collect();
    assert_eq!(left, ["unsent", "unwanted lately", "waits"]);
    assert_eq!(dead_letters::prune(&mut conn, dead_letters::KEEP).await.unwrap(), 0);
}
