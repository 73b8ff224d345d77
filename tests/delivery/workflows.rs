//! The workflows for people: what they run exists, and what they take from others is pinned.

use std::fs;

use crate::{
    evaluated::value,
    support::{assert_none, documents, read, root},
};

#[test]
fn actions_are_pinned_and_outputs_exist() {
    let mut problems = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(root().join(".github/workflows")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let workflow = documents(&text).remove(0);
        assert!(workflow["permissions"].is_object(), "a workflow names its rights: {}", workflow["name"]);
        for job in workflow["jobs"].as_object().unwrap().values() {
            assert!(job["timeout-minutes"].is_u64());
            for step in job["steps"].as_array().unwrap() {
                let run = step["run"].as_str().unwrap_or_default();
                if run.contains("${{") {
                    problems.push(format!("an expression inside a script: {run}"));
                }
                if let Some(action) = step["uses"].as_str() {
                    count += 1;
                    let commit = action.split_once('@').map_or("", |(_, commit)| commit);
                    if commit.len() != 40 || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
                        problems.push(format!("{action} is not pinned to a commit"));
                    }
                }
            }
        }
    }
    assert!(count >= 4, "{count}");
    assert_none(&problems);
    let deploy = read(".github/workflows/deploy.yml");
    assert!(deploy.contains("nix run .#push --") && value("apps.x86_64-linux.push.type") == "app");
    for ecosystem in ["cargo", "gomod", "pip", "github-actions"] {
        assert!(read(".github/dependabot.yml").contains(ecosystem), "{ecosystem}");
    }
}
