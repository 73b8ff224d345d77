//! The command line without a mesh: help, usage, exit codes, one-line errors.

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
        &["up", "--help"],
        &["migrate", "--help"],
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
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
    let (code, out, err) = run(&["serve", "architect-agent"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("architect-agent") && err.contains("not built yet"), "{err}");
    assert_eq!(err.lines().count(), 1);
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
        &["nonsense"],
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(!err.is_empty());
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
