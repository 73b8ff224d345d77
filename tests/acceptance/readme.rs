//! The README says what is so: its tests exist, its variables are the ones that are read.

use std::{collections::BTreeSet, fs, path::Path};

use mesh_six_runtime::config::Variable;

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

fn root() -> &'static Path {
    // The package of these tests is crates/mesh-six.
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The names of all functions below `folder`.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let heads =
                text.lines().filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
            names.extend(heads.filter_map(|head| head.split(['(', '<']).next()).map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_the_readme_names_exists() {
    let readme = readme();
    let section = readme.split("\n## ").find(|section| section.starts_with("The event log\n")).unwrap();
    let mut known = BTreeSet::new();
    for folder in ["crates", "tests"] {
        functions(&root().join(folder), &mut known);
    }
    // Names of tests are sentences; nothing else in the tables has so many words.
    let quoted =
        section.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('`').skip(1).step_by(2));
    let named: Vec<&str> = quoted.filter(|word| word.matches('_').count() >= 4).collect();
    assert!(named.len() > 30, "the tables are not read: {named:?}");
    let missing: Vec<_> = named.into_iter().filter(|name| !known.contains(*name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

#[test]
fn the_readme_lists_every_variable() {
    let tables: [&[Variable]; 3] =
        [&mesh_six_runtime::config::VARIABLES, &mesh_six_orchestrator::VARIABLES, &mesh_six_event_logger::VARIABLES];
    let readme = readme();
    for variable in tables.into_iter().flatten() {
        let line = readme.lines().find(|line| line.starts_with(&format!("| `{}` |", variable.name)));
        let line = line.unwrap_or_else(|| panic!("{} is not in the README", variable.name));
        let [default, meaning] = [2, 3].map(|cell| line.split('|').nth(cell).unwrap().trim());
        assert_eq!((default.trim_matches('`'), meaning), (variable.default, variable.meaning), "{}", variable.name);
    }
}
