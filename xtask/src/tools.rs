//! Programs and facts that only the tests of what is delivered need, in target/tools. Each is made once and again
//! when what it is made of changes.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    packages::{Need, ensure},
    steps::{find_program, output, root, run, succeeds},
};

/// Where custom resources of the manifests come from, beside those of Dapr.
const ARGO_CD: &str = "github.com/argoproj/argo-cd/v3@v3.5.1";
const GO: &str = "/usr/local/go/bin/go";
/// Which of Dapr's components daprd is built with; without a tag it has none and ends at once.
const DAPRD_BUILD: &str = "stablecomponents";

/// Makes sure of all of them.
pub(crate) fn ensure_all() -> Result<()> {
    ensure_delivery()?;
    ensure_rig()
}

/// What the tests of images and manifests need.
pub(crate) fn ensure_delivery() -> Result<()> {
    let python = succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"]));
    ensure(&[
        Need::program("nix-bin", "nix"),
        Need::program("prometheus", "promtool"),
        Need::program("prometheus", "prometheus"),
        Need::program("skopeo", "skopeo"),
        Need::program("jq", "jq"),
        Need::program("git", "git"),
        Need::program("openssl", "openssl"),
        Need::new("python3-venv", python),
        Need::new("ca-certificates", Path::new("/etc/ssl/certs/ca-certificates.crt").exists()),
    ])?;
    fs::create_dir_all(folder().join("nix"))?;
    let kustomize = fs::read_to_string(root().join("tools/kustomize/go.mod"))?;
    once("kustomize", &kustomize, build_kustomize)?;
    let python = fs::read_to_string(root().join("tools/python/requirements.txt"))?;
    once("python", &python, make_environment)?;
    let dapr = format!("github.com/dapr/dapr@v{}", dapr_version()?);
    once("crds", &format!("{dapr}\n{ARGO_CD}\n"), || fetch_custom_resources(&dapr))
}

/// What stands around the services where they run beside Dapr: brokers, databases, sidecar, a network of their own.
pub(crate) fn ensure_rig() -> Result<()> {
    ensure(&[
        Need::postgresql(),
        Need::program("rabbitmq-server", "rabbitmq-server"),
        Need::program("redis-server", "redis-server"),
        Need::program("iproute2", "ip"),
        Need::program("util-linux", "unshare"),
        Need::new("ca-certificates", Path::new("/etc/ssl/certs/ca-certificates.crt").exists()),
    ])?;
    fs::create_dir_all(folder())?;
    ensure_dapr()
}

/// target/tools.
pub(crate) fn folder() -> PathBuf {
    root().join("target/tools")
}

fn stamp(name: &str) -> PathBuf {
    folder().join(format!("{name}.made-of"))
}

/// Runs `make` unless it was done with the same `recipe` before.
fn once(name: &str, recipe: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = stamp(name);
    if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == recipe) {
        return Ok(());
    }
    make().with_context(|| format!("cannot set up {name}"))?;
    fs::write(&stamp, recipe).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Go, in the folder of the module that is built.
fn go(module: &str) -> Result<Command> {
    let go = find_program("go").or_else(|| Path::new(GO).is_file().then(|| GO.into()));
    let go = go.context("Go 1.21 or newer is needed for kustomize and daprd, see https://go.dev/dl")?;
    let mut command = Command::new(go);
    command.current_dir(root().join(module)).env_remove("GOFLAGS");
    Ok(command)
}

/// An installed daprd of the right version is used, else one is built, which takes some minutes once.
fn ensure_dapr() -> Result<()> {
    let version = dapr_version()?;
    let program = folder().join("daprd");
    if let Some(installed) = installed_dapr(&version) {
        if fs::read_link(&program).is_ok_and(|target| target == installed) {
            return Ok(());
        }
        eprintln!("using the installed {} (Dapr {version})", installed.display());
        let _ = fs::remove_file(&program);
        let _ = fs::remove_file(stamp("daprd"));
        return symlink(&installed, &program).with_context(|| format!("cannot make {}", program.display()));
    }
    if program.is_symlink() {
        fs::remove_file(&program)?;
    }
    let module = fs::read_to_string(root().join("tools/dapr/go.mod"))?;
    once("daprd", &format!("{DAPRD_BUILD}\n{module}"), || build_dapr(&version, &program))
}

/// The one place that says which Dapr the tests run.
fn dapr_version() -> Result<String> {
    let module = fs::read_to_string(root().join("tools/dapr/go.mod"))?;
    let after = module.split_once("github.com/dapr/dapr v").map(|(_, after)| after);
    let version = after.and_then(|after| after.split_whitespace().next());
    Ok(version.context("tools/dapr/go.mod names no version of Dapr")?.to_owned())
}

/// Where `dapr init` or a package has put it.
fn installed_dapr(version: &str) -> Option<PathBuf> {
    let home = env::home_dir().unwrap_or_default().join(".dapr/bin/daprd");
    let mut places = find_program("daprd").into_iter().chain(Some(home));
    places.find(|place| output(Command::new(place).arg("--version")).is_ok_and(|said| said.trim() == version))
}

fn build_dapr(version: &str, program: &Path) -> Result<()> {
    eprintln!("building Dapr's sidecar {version}: some minutes, once (3.7 GB of modules)");
    let mut build = go("tools/dapr")?;
    build.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-tags", DAPRD_BUILD]);
    build.args(["-ldflags", &format!("-s -w -X github.com/dapr/dapr/pkg/buildinfo.version={version}")]);
    build.arg("-o").arg(program).arg("github.com/dapr/dapr/cmd/daprd");
    run(build.env("CGO_ENABLED", "0"))
}

fn build_kustomize() -> Result<()> {
    let mut build = go("tools/kustomize")?;
    build.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o"]);
    build.arg(folder().join("kustomize")).arg("sigs.k8s.io/kustomize/kustomize/v5");
    run(build.env("CGO_ENABLED", "0"))
}

fn make_environment() -> Result<()> {
    let environment = folder().join("python");
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    let mut install = Command::new(environment.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    run(install.arg(root().join("tools/python/requirements.txt")))
}

/// The definitions stay out of the repository: they are other projects' and only looked at.
fn fetch_custom_resources(dapr: &str) -> Result<()> {
    // The chart of Dapr stands beside its own.
    let (dapr, argo_cd) = (module(dapr)?, module(ARGO_CD)?);
    let (crds, chart) = (folder().join("crds"), folder().join("dapr-chart"));
    copy(&dapr.join("charts/dapr/crds"), &crds.join("dapr"))?;
    copy(&argo_cd.join("manifests/crds"), &crds.join("argocd"))?;
    fs::create_dir_all(&chart)?;
    let values = |from: &str, to: &str| -> Result<()> {
        Ok(fs::write(chart.join(to), fs::read(dapr.join("charts/dapr").join(from))?)?)
    };
    values("values.yaml", "values.yaml")?;
    for part in ["dapr_rbac", "dapr_sidecar_injector"] {
        values(&format!("charts/{part}/values.yaml"), &format!("{part}.yaml"))?;
    }
    Ok(())
}

/// Where Go keeps a module, which it fetches and checks if it has to.
fn module(version: &str) -> Result<PathBuf> {
    let told = output(go("tools/kustomize")?.args(["mod", "download", "-json", version]))?;
    let (_, rest) = told.split_once("\"Dir\": \"").with_context(|| format!("{version} is not to be had"))?;
    Ok(rest.split('"').next().unwrap_or_default().into())
}

/// The YAML files of a folder, which may be written again next time.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("{} is missing", from.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_name().unwrap_or_default();
            fs::write(to.join(name), fs::read(&path)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_dapr_is_a_number() -> Result<()> {
        let version = dapr_version()?;
        assert!(
            version.split('.').count() == 3 && version.split('.').all(|part| part.parse::<u32>().is_ok()),
            "{version}"
        );
        Ok(())
    }
}
