//! The examples that the README points to are tasks that the mesh accepts.

use mesh_six_core::task::{check_payload, check_person, check_task_fields, default_priority, default_timeout};
use serde_json::Value;

#[test]
fn every_example_task_is_legal() {
    let lines: Vec<Value> =
        include_str!("../../../../examples/tasks.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 20);
    for task in lines {
        let number =
            |name: &str, default: i32| task.get(name).map_or(default, |v| v.as_i64().unwrap().try_into().unwrap());
        let (priority, timeout) = (number("priority", default_priority()), number("timeout", default_timeout()));
        check_task_fields(task["capability"].as_str().unwrap(), priority, timeout).unwrap();
        check_payload(task["payload"].as_object().unwrap()).unwrap();
        assert!(task["payload"]["query"].is_string(), "{task}");
        check_person("userId", task.get("userId").map_or("", |u| u.as_str().unwrap())).unwrap();
    }
}
