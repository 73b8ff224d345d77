//! Running the programs that check, and reading what they say.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use serde_json::Value;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_mesh-six");

/// The repository.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> =
        LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap());
    &ROOT
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A program or folder that `cargo xtask` has put into target/tools.
pub(crate) fn tool(name: &str) -> PathBuf {
    let tool = root().join("target/tools").join(name);
    assert!(tool.exists(), "{} is missing: run cargo xtask tools", tool.display());
    tool
}

/// What a program prints, and its last words if it fails.
pub(crate) fn output(command: &mut Command, input: &str) -> Result<String, String> {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}; run cargo xtask tools"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // The program may end without reading all of it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr) + &text(output.stdout)) }
}

/// [`output`] of a program that must not fail.
pub(crate) fn run(command: &mut Command, input: &str) -> String {
    output(command, input).unwrap_or_else(|words| panic!("{command:?}:\n{words}"))
}

/// Python with what tools/python/requirements.txt names.
pub(crate) fn python() -> Command {
    Command::new(tool("python/bin/python"))
}

/// The documents of a YAML text.
pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    let script = root().join("tests/delivery/check.py");
    serde_json::from_str(&run(python().arg(script).arg("json"), yaml)).unwrap()
}

/// What the schemas of Kubernetes, Dapr and Argo CD say against a YAML text; an unknown field is a fault.
pub(crate) fn faults(yaml: &str) -> Vec<String> {
    let script = root().join("tests/delivery/check.py");
    let mut command = python();
    command.arg(script).arg("validate").arg(tool("crds/dapr")).arg(tool("crds/argocd"));
    serde_json::from_str(&run(&mut command, yaml)).unwrap()
}

/// `kustomize build` of a folder of the repository.
pub(crate) fn kustomize(folder: &Path) -> String {
    run(Command::new(tool("kustomize")).arg("build").arg(folder), "")
}

/// Copies the repository's own files into an empty folder, also those that are not committed yet.
pub(crate) fn copy(folder: &Path) {
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    for file in run(&mut list, "").lines() {
        let (from, to) = (root().join(file), folder.join(file));
        if from.is_file() {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
    }
}

/// `a.b.0.c` of a JSON value; null where there is no such thing.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, key| match key.parse::<usize>() {
        Ok(index) if value.is_array() => &value[index],
        _ => &value[key],
    })
}

/// A text of a JSON value.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_else(|| panic!("{path} is no text in {value:#}"))
}

/// A list of a JSON value; empty where there is none.
pub(crate) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// Asserts that nothing was found, showing all of it otherwise.
#[track_caller]
pub(crate) fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n  {}", faults.join("\n  "));
}
