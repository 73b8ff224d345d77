//! What is wrong with services.toml is said in one line.

#[path = "../../build/table.rs"]
#[expect(dead_code, reason = "the build script reads all fields, these tests only some")]
mod services;

const TABLE: &str = include_str!("../../../../services.toml");

fn problem(from: &str, to: &str) -> String {
    assert!(TABLE.contains(from), "{from}");
    let problem = services::read(&TABLE.replacen(from, to, 1)).err().unwrap_or_default();
    assert_eq!(problem.lines().count(), 1, "{problem}");
    problem
}

#[test]
fn the_table_is_that_of_the_roster() {
    let services = services::read(TABLE).unwrap();
    assert_eq!(services.len(), mesh_six_core::roster::SERVICES.len());
    for (read, built_in) in services.iter().zip(mesh_six_core::roster::SERVICES) {
        assert_eq!(read.name, built_in.name);
        assert_eq!((read.port, read.local_port), (built_in.port, built_in.local_port));
    }
    let beside_dapr = mesh_six_core::roster::SERVICES.iter().filter(|s| s.has_sidecar()).count();
    assert_eq!(beside_dapr, 14);
}

#[test]
fn bad_entries_are_one_line() {
    let faults = [
        problem("port = 3000\n", ""),
        problem("title = \"Simple Agent\"\n", ""),
        problem("kind = \"agent\"", "kind = \"robot\""),
        problem("built = true", "built = 1"),
        problem("built = true", "bilt = true"),
        problem("local_port = 7611", "local_port = 7610"),
        problem("name = \"simple-agent\"", "name = \"orchestrator\""),
        problem("name = \"simple-agent\"", "name = \"Simple Agent\""),
        problem("port = 8080", "port = 80"),
        problem("kind = \"agent\"", "kind = \"infrastructure\""),
        problem("[[service]]", "[[services]]"),
    ];
    insta::assert_snapshot!(faults.join("\n"));
}
