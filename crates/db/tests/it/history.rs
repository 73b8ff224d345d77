//! How an agent's attempts ended.

use mesh_six_core::{ErrorType, id::new_id};
use mesh_six_db::history::{self, NewEntry};
use mesh_six_testing::TestDatabase;
use serde_json::Value;

#[tokio::test]
async fn an_agents_attempts_are_shown_newest_first_whatever_was_asked_for() {
    let database = TestDatabase::new().await;
    let db = database.database().await;
    let mut conn = db.conn().await.unwrap();
    for (agent_id, capability, duration_ms, error_type) in [
        ("a", "x", 1, None),
        ("a", "y", 2, Some(ErrorType::Timeout)),
        ("b", "x", 3, None),
        ("a", "z", 4, None),
        ("a", "x", 5, None),
    ] {
        let (task_id, success) = (new_id(), error_type.is_none());
        let entry = NewEntry {
            task_id,
            attempt: 1,
            agent_id,
            capability,
            success,
            duration_ms,
            error_type,
            context: Value::Object(serde_json::Map::default()),
        };
        history::record(&mut conn, &entry).await.unwrap();
    }
    let all = history::of_agent(&mut conn, "a", 20).await.unwrap();
    let told: Vec<_> =
        all.iter().map(|e| (e.capability.as_str(), e.success, e.duration_ms, e.error_type.as_deref())).collect();
    let expected = [
        ("x", true, Some(5), None),
        ("z", true, Some(4), None),
        ("y", false, Some(2), Some("timeout")),
        ("x", true, Some(1), None),
    ];
    assert_eq!(told, expected);
    assert!(all.is_sorted_by(|newer, older| newer.created_at > older.created_at));
    assert_eq!(history::of_agent(&mut conn, "a", 2).await.unwrap(), all[..2]);
    assert_eq!(history::of_agent(&mut conn, "nobody", 20).await.unwrap(), []);
}
