//! Ways to hand tasks in.

use std::{io::Write, process::Stdio};

use mesh_six_testing::TestDatabase;
use serde_json::Value;

use crate::mesh::{Mesh, command};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_sent_again_under_its_key_gives_the_same_tasks() {
    let database = TestDatabase::new().await;
    let mesh = Mesh::start(&[], &[("DATABASE_URL", database.url())]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"payload\": {\"query\": \"one\"}}\n{\"payload\": {\"query\": \"two\"}}\n").unwrap();
    let path = file.path().display().to_string();
    let send = || -> Vec<Value> {
        let tasks = mesh.json(&["submit", "--file", &path, "--idempotency-key", "k", "--json"]);
        tasks.into_iter().map(|task| task["taskId"].clone()).collect()
    };
    let first = send();
    assert_eq!(first.len(), 2);
    assert_ne!(first[0], first[1]);
    assert_eq!(send(), first);
    assert_eq!(mesh.json(&["tasks", "--json"]).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_may_be_piped_in() {
    let database = TestDatabase::new().await;
    let mesh = Mesh::start(&[], &[("DATABASE_URL", database.url())]);
    let ask = |text: &str| {
        let mut submit = command(&["submit", "-"]);
        let mut child = submit.env("MESH_SIX_URL", &mesh.url).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let told = String::from_utf8(ask("Why is the sky blue?\n").stdout).unwrap();
    assert!(told.contains("The question has 20 characters."), "{told}");
    let none = ask(" \n");
    assert_eq!((none.status.code(), none.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8(none.stderr).unwrap().contains("standard input holds no question"));
}
