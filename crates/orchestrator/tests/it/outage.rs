//! The database goes away and comes back.

use axum::http::Method;
use mesh_six_sidecar::LocalMesh;
use mesh_six_testing::{TestServer, wait_until};
use serde_json::json;

use crate::{
    agent::{Act, fine},
    rig::{LONG, Rig, settings},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_waits_for_what_was_accepted_learns_its_id_without_the_database() {
    let mut server = TestServer::start().await;
    let rig = Rig::on(server.database().await, LocalMesh::new(), settings()).await;
    let a = rig.agent("a", 0.9, |_| Act::Hang).await;
    let body = json!({"capability": "work", "payload": {}, "wait": 300});
    let gone = async {
        wait_until(LONG, async || a.seen().len() == 1).await;
        server.stop().await;
    };
    let ((status, accepted), ()) = tokio::join!(rig.post(&body), gone);
    assert_eq!((status.as_u16(), &accepted["status"]), (202, &json!("dispatched")), "{accepted}");
    let id = accepted["taskId"].as_str().unwrap();
    let (status, refused) = rig.get(&format!("/api/v1/tasks/{id}?wait=300")).await;
    assert_eq!((status.as_u16(), &refused["error"]["type"]), (503, &json!("unavailable")), "{refused}");
    server.restart().await;
    wait_until(LONG, async || rig.get("/readyz").await.0 == 200).await;
    assert_eq!(rig.task(serde_json::from_str(&format!("{id:?}")).unwrap()).await["taskId"], accepted["taskId"]);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_the_database_nothing_is_accepted_and_afterwards_all_goes_on() {
    let mut server = TestServer::start().await;
    let rig = Rig::on(server.database().await, LocalMesh::new(), settings()).await;
    let a = rig.agent(
        "a",
        0.9,
        |request| {
            if request.payload.contains_key("hang") { Act::Hang } else { Act::Answer(fine()) }
        },
    );
    let a = a.await;
    let open = rig.submit(json!({"payload": {"hang": 1}})).await;
    let sql = server.client().await;
    let running = "SELECT count(*) FROM agent_inbox WHERE state = 'running'";
    wait_until(LONG, async || sql.query_one(running, &[]).await.unwrap().get::<_, i64>(0) == 1).await;
    let result = a.result(&a.seen()[0], fine());
    wait_until(LONG, async || rig.get("/readyz").await.0 == 200).await;
    server.stop().await;
    let body = json!({"capability": "work", "payload": {}}).to_string();
    let (status, headers, answer) = rig.call(Method::POST, "/api/v1/tasks", &[], body).await;
    assert_eq!((status.as_u16(), &answer["error"]["type"]), (503, &json!("unavailable")), "{answer}");
    assert!(headers.contains_key("retry-after"));
    let (status, table) = rig.get("/api/v1/agents/score/work").await;
    assert_eq!((status.as_u16(), &table["scores"][0]["finalScore"]), (200, &json!(0.9)), "scored without history");
    wait_until(LONG, async || rig.get("/readyz").await.0 == 503).await;
    server.restart().await;
    wait_until(LONG, async || rig.get("/readyz").await.0 == 200).await;
    a.finish(&result).await;
    a.publish(&result).await;
    rig.task_in(open, "completed").await;
    let (_, page) = rig.get("/api/v1/tasks").await;
    assert_eq!(page["tasks"].as_array().unwrap().len(), 1, "what got 503 was not accepted");
    rig.end().await;
}
