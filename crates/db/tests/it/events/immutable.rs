//! Nobody changes the log: not the application, not a superuser by mistake.

use mesh_six_db::partitions;
use tokio_postgres::{Client, NoTls};

use super::{Rig, events};

#[tokio::test]
async fn update_delete_and_truncate_are_refused_on_every_table_for_everyone() {
    let rig = Rig::new().await;
    rig.log.append(events(3)).await.unwrap();
    let mut tables: Vec<String> = partitions::list(&mut rig.db.conn().await.unwrap())
        .await
        .unwrap()
        .into_iter()
        .map(|partition| partition.name)
        .collect();
    assert_eq!(tables.len(), 5, "four months and the default one");
    tables.push("mesh_six_events".to_owned());
    let app = app(&rig).await;
    for table in &tables {
        for change in ["UPDATE {} SET agent_id = 'x'", "DELETE FROM {}", "DELETE FROM {} WHERE false", "TRUNCATE {}"] {
            let change = change.replace("{}", table);
            let by_app = app.batch_execute(&change).await.unwrap_err();
            assert_eq!(by_app.code().unwrap().code(), "42501", "{change}: {by_app}");
            let by_owner = rig.client.batch_execute(&change).await.unwrap_err();
            let message = by_owner.as_db_error().unwrap().message().to_owned();
            assert!(message.contains("immutable"), "{change}: {message}");
        }
    }
    assert_eq!(rig.count("true").await, 3);
}

#[tokio::test]
async fn order_and_time_are_the_databases() {
    let rig = Rig::new().await;
    let app = app(&rig).await;
    let given = "occurred_at, id, trace_id, agent_id, event_type, payload";
    let values = "now(), gen_random_uuid(), gen_random_uuid(), 'a', 'test.event', '{}'";
    app.batch_execute(&format!("INSERT INTO mesh_six_events ({given}) VALUES ({values})")).await.unwrap();
    for (column, value) in [("seq", "1"), ("txid", "1"), ("timestamp", "now()")] {
        let insert = format!("INSERT INTO mesh_six_events ({given}, {column}) VALUES ({values}, {value})");
        let refused = app.batch_execute(&insert).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{column}: {refused}");
    }
    for change in [
        "UPDATE mesh_six_event_keys SET bucket = 0",
        "DELETE FROM mesh_six_event_keys",
        "SELECT nextval('mesh_six_events_seq'), setval('mesh_six_events_seq', 1)",
        "ALTER TABLE mesh_six_events DISABLE TRIGGER ALL",
        "DROP TABLE mesh_six_events_default",
        "CREATE TABLE mine (a int)",
    ] {
        let refused = app.batch_execute(change).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{change}: {refused}");
    }
    assert_eq!(rig.count("true").await, 1);
}

/// A plain connection with the application's rights.
async fn app(rig: &Rig) -> Client {
    let (client, connection) = tokio_postgres::connect(&rig.database.app_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
