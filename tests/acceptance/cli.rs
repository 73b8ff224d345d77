//! The command line without a mesh: help, usage, exit codes, one-line errors.

use mesh_six_core::roster::SERVICES;
use serde_json::{Value, json};

use crate::mesh::command;

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = command(args).env("MESH_SIX_URL", "http://127.0.0.1:9").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_has_examples() {
    for args in [
        &["--help"][..],
        &["submit", "--help"],
        &["events", "--help"],
        &["events", "query", "--help"],
        &["events", "tail", "--help"],
        &["events", "replay", "--help"],
        &["events", "seal", "--help"],
        &["events", "verify", "--help"],
        &["events", "stats", "--help"],
        &["events", "export", "--help"],
        &["events", "import", "--help"],
        &["events", "erase", "--help"],
        &["agents", "--help"],
        &["dead-letters", "--help"],
        &["dead-letters", "list", "--help"],
        &["dead-letters", "replay", "--help"],
        &["trace", "--help"],
        &["tasks", "--help"],
        &["partitions", "--help"],
        &["verify", "--help"],
        &["bench", "--help"],
        &["completions", "--help"],
        &["serve", "--help"],
        &["services", "--help"],
        &["up", "--help"],
        &["migrate", "--help"],
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
        assert!(out.contains("Example"), "{args:?}: {out}");
        insta::assert_snapshot!(format!("help {}", args[..args.len() - 1].join(" ")).trim(), out);
    }
}

#[test]
fn the_roster_is_complete() {
    let (code, out, _) = run(&["services"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(out);
    assert_eq!(run(&["services", "--json"]).1.lines().count(), 16);
}

#[test]
fn a_service_that_is_not_built_says_so() {
    for service in SERVICES.iter().filter(|service| !service.built) {
        let (code, out, err) = run(&["serve", service.name]);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(err.contains(service.name) && err.contains("not built yet"), "{err}");
        assert_eq!(err.lines().count(), 1);
    }
    let (code, _, err) = run(&["serve", "nobody"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("nobody"), "{err}");
}

#[test]
fn nobody_answers_is_exit_code_3_and_one_line_that_says_what_to_do() {
    for args in [
        &["submit", "x"][..],
        &["tasks"],
        &["agents"],
        &["events", "query"],
        &["events", "tail"],
        &["events", "replay", "task:x"],
        &["dead-letters", "list"],
        &["dead-letters", "replay", "abcdef"],
        &["trace", "01a206f1-cc8b-7455-b34f-5bc9fe8106a1"],
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (Some(3), ""), "{args:?}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains("mesh-six up"), "{err}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [
        &["submit"][..],
        &["submit", "--payload", "[1]"],
        &["submit", "--file", "/nowhere/tasks.jsonl"],
        &["submit", "x", "--url", "ftp://x"],
        &["events", "query", "--since", "yesterday"],
        &["events", "query", "--limit", "0"],
        &["events", "query", "--task", "no-uuid"],
        &["tasks", "no-uuid"],
        &["dead-letters", "replay"],
        &["dead-letters", "replay", "abcdef", "--all"],
        &["dead-letters", "discard", "abc"],
        &["dead-letters", "discard", "abcdef", "--topic", "task-results"],
        &["dead-letters", "list", "--state", "lost"],
        &["trace", "no-id"],
        &["nonsense"],
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{args:?}: {err}");
    }
    // What clap says, and where there is more.
    for (args, says) in [
        (
            &["submit"][..],
            "error: the following required arguments were not provided: <QUERY>; see `mesh-six submit --help`\n",
        ),
        (
            &["events", "query", "--limt", "3"],
            "error: unexpected argument '--limt' found; a similar argument exists: '--limit'; see `mesh-six events \
             query --help`\n",
        ),
    ] {
        assert_eq!(run(args).2, says);
    }
}

#[test]
fn a_closed_pipe_is_no_fault() {
    for args in ["completions bash", "services --json", "help"] {
        let script = format!("\"$0\" {args} | true; echo \"${{PIPESTATUS[0]}}\"");
        let output = std::process::Command::new("bash").args(["-c", &script, crate::mesh::BINARY]).output().unwrap();
        let told = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((told.0.as_ref(), told.1.as_ref()), ("0\n", ""), "{args}");
    }
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = run(&["completions", shell]);
        assert_eq!(code, Some(0));
        assert!(out.contains("submit") && out.contains("partitions"), "{shell}");
    }
}

#[test]
fn wrong_values_are_told_what_is_wanted() {
    for (args, wanted) in [
        (&["submit", "x", "--priority", "high"][..], "a whole number from 0 to 10 is wanted"),
        (&["submit", "x", "--priority", "11"], "a whole number from 0 to 10 is wanted"),
        (&["submit", "x", "--timeout", "2m"], "a whole number from 1 to 900 is wanted"),
        (&["up", "--port", "70000"], "a whole number from 0 to 65535 is wanted"),
        (&["submit", "x", "--timeout", "-1"], "a whole number from 1 to 900 is wanted"),
        (&["submit", "--payload", "[1]"], "--payload must be a JSON object"),
        (&["submit", "--payload", "{\"a\":"], "--payload is not JSON: it ends too early, at line 1, column 5"),
        (&["submit", "--payload", "{a}"], "--payload is not JSON: key must be a string, at line 1, column 2"),
        (
            &["submit", "--file", "/nowhere/tasks.jsonl"],
            "cannot read /nowhere/tasks.jsonl: No such file or directory\n",
        ),
        (&["events", "tail", "--after", "garbage"], "neither `start` nor a position"),
        (&["events", "import", "/nowhere"], "cannot use /nowhere"),
        (&["up", "--port", "0", "--data-dir", "/etc/passwd"], "/etc/passwd is not a folder"),
        (&["tasks", "no-uuid"], "an id is wanted"),
        (&["tasks", "--limit", "0"], "a whole number from 1 to 200 is wanted"),
        (&["dead-letters", "show", "x"], "the id of a letter is wanted"),
        (&["events", "query", "--trace", "x"], "a trace id is 32 hex digits"),
        (&["events", "query", "--since", "yesterday"], "neither a time"),
    ] {
        let (code, _, err) = run(args);
        assert_eq!(code, Some(2), "{args:?}");
        assert!(err.split_inclusive('\n').next().unwrap().contains(wanted), "{args:?}: {err}");
    }
}

#[test]
fn with_json_errors_are_json() {
    for (args, code, kind, field) in [
        (&["submit", "x", "--json"][..], 3, "unavailable", Value::Null),
        (&["submit", "--json", "--file", "/nowhere/tasks.jsonl"], 2, "validation", Value::Null),
        (&["submit", "x", "--json", "--priority", "high"], 2, "validation", json!("--priority")),
        (&["tasks", "--json", "--nonsense"], 2, "validation", json!("--nonsense")),
        (&["events", "query", "--json"], 3, "unavailable", Value::Null),
    ] {
        let (found, out, err) = run(args);
        assert_eq!((found, out.as_str()), (Some(code), ""), "{args:?}: {err}");
        let body: Value = serde_json::from_str(&err).unwrap_or_else(|_| panic!("{args:?}: {err}"));
        assert_eq!((&body["error"]["type"], &body["error"]["field"]), (&json!(kind), &field), "{args:?}: {err}");
        assert!(!body["error"]["message"].as_str().unwrap().contains('\n'));
    }
}

#[test]
fn a_wrong_line_of_a_file_is_named_before_anything_is_submitted() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (line, says) in [
        (r#"{"payload": {}, "priority": "high"}"#, "priority: must be a whole number from 0 to 10"),
        (r#"{"payload": {}, "prioritty": 7}"#, "prioritty: unknown field"),
        (r#"{"payload": {}, "timeout": 0}"#, "timeout: timeout is 0 s, but must be from 1 to 900 s"),
        (r#"{"payload": []}"#, "payload: must be a JSON object"),
        ("{", "not JSON"),
    ] {
        std::fs::write(file.path(), format!("{{\"payload\": {{}}}}\n\n{line}\n")).unwrap();
        let path = file.path().display().to_string();
        let (code, _, err) = run(&["submit", "--file", &path]);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains(&format!("{path}:3: {says}")), "{err}");
    }
}

#[test]
fn a_database_that_is_named_wrongly_is_wrong_usage() {
    for (url, says) in [
        ("my database", "postgres://"),
        (
            "postgres://u:secret@h/d?sslmode=always",
            "sslmode: disable, prefer, require, verify-ca or verify-full is wanted",
        ),
        ("postgres://u:secret@h/d?sslmode=verify-full&sslrootcert=/nowhere", "sslrootcert: cannot read /nowhere"),
    ] {
        for args in [
            &["up", "--port", "0"][..],
            &["serve", "orchestrator"],
            &["migrate", "--status"],
            &["migrate"],
            &["partitions"],
            &["events", "stats"],
            &["events", "seal"],
            &["events", "verify"],
            &["events", "export"],
            &["events", "erase", "--user", "x"],
        ] {
            let output = command(args).env("DATABASE_URL", url).output().unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            let told = told.lines().last().unwrap_or_default();
            assert_eq!(output.status.code(), Some(2), "{args:?} {url}: {told}");
            assert!(
                told.contains("DATABASE_URL") && told.contains(says) && !told.contains("secret"),
                "{args:?}: {told}"
            );
        }
    }
}
