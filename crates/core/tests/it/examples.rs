//! The examples that the README points to are tasks that the mesh accepts.

use mesh_six_core::{parse_json, task::NewTaskBody};

#[test]
fn every_example_task_is_legal() {
    let lines: Vec<&str> = include_str!("../../../../examples/tasks.jsonl").lines().collect();
    assert_eq!(lines.len(), 20);
    for line in lines {
        let task: NewTaskBody = parse_json(line.as_bytes()).unwrap();
        assert!(task.payload["query"].is_string(), "{line}");
    }
}
