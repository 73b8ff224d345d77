//! `cargo xtask test`.

use std::{env, fs, num::NonZero, path::Path, process::Command, thread};

use anyhow::{Context, Result, bail};

use crate::{
    background, dependencies, docker,
    packages::{Need, ensure},
    program::{self, Profile},
    rig,
    scratch::Scratch,
    snapshots,
    steps::{Steps, cargo, root, run as run_command, succeeds},
    tools,
};

/// What was asked for.
pub(crate) struct Options {
    all: bool,
    container: bool,
    without_containers: bool,
    filter: Option<String>,
    repeat: u32,
}

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { all: false, container: false, without_containers: false, filter: None, repeat: 1 };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--all" => options.all = true,
                "--container" => options.container = true,
                "--without-containers" => options.without_containers = true,
                "--filter" => options.filter = Some(args.next().context("--filter needs a name")?),
                "--repeat" => {
                    let count = args.next().and_then(|count| count.parse().ok()).filter(|count| *count > 0);
                    options.repeat = count.context("--repeat needs a number from 1")?;
                }
                other => bail!("unknown argument {other}; see cargo xtask help"),
            }
        }
        Ok(options)
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::default();
    let done = all_steps(options, &mut steps);
    steps.summary();
    done
}

fn all_steps(options: &Options, steps: &mut Steps) -> Result<()> {
    if options.container {
        return steps.run("PostgreSQL in a container", docker::test);
    }
    let whole = options.filter.is_none();
    steps.run("set-up", || {
        ensure(&[Need::postgresql(), Need::program("mosquitto", "mosquitto")])?;
        tools::ensure_all()?;
        for component in ["fmt", "clippy"] {
            if whole && !succeeds(&mut cargo(&[component, "--version"])) {
                bail!("cargo {component} is missing; get it with: rustup component add rustfmt clippy");
            }
        }
        Ok(())
    })?;
    if whole {
        steps.run("formatting", || run_command(&mut cargo(&["fmt", "--all", "--check"])))?;
        steps.run("dependencies", || dependencies::check(options.all))?;
        let mut clippy = cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
        steps.run("lints", || run_command(&mut clippy))?;
    }
    steps.run("building the tests", || run_command(&mut cargo(&["test", "--workspace", "--no-run"])))?;
    let scratch = Scratch::new()?;
    tests(options, &scratch, steps)?;
    for round in 1..=options.repeat {
        let name =
            if options.repeat > 1 { format!("beside real Dapr, round {round}") } else { "beside real Dapr".to_owned() };
        steps.run(&name, || rig::test(options.filter.as_deref(), &scratch))?;
    }
    drop(scratch);
    if !whole {
        return Ok(());
    }
    if options.all {
        steps.run("a million rows", million)?;
        steps.run("two builds are the same", program::check_reproducible)?;
    }
    if options.without_containers {
        eprintln!("\nNOT RUN, as asked for: the tests with containers");
        return Ok(());
    }
    steps.run("PostgreSQL in a container", docker::test)?;
    containers(steps, Profile::Container)
}

/// `cargo xtask images`.
pub(crate) fn images() -> Result<()> {
    let mut steps = Steps::default();
    let set_up = steps.run("set-up", || ensure(&[Need::postgresql()]).and_then(|()| tools::ensure_delivery()));
    let done = set_up.and_then(|()| containers(&mut steps, Profile::Release));
    steps.summary();
    done
}

/// A container of each service, with the program built by `profile`.
fn containers(steps: &mut Steps, profile: Profile) -> Result<()> {
    steps.run("the program for images", || program::build(profile))?;
    steps.run("a container of each service", || docker::test_images(profile == Profile::Release))
}

/// All tests on one server: the one that the environment names, else one that is started now.
fn tests(options: &Options, scratch: &Scratch, steps: &mut Steps) -> Result<()> {
    let given = env::var("TEST_DATABASE_URL").ok();
    let started = match &given {
        Some(_) => None,
        None => Some(steps.run("starting PostgreSQL", || background::postgresql(scratch))?),
    };
    let url = given.or_else(|| started.as_ref().map(|(_, url)| url.clone())).unwrap_or_default();
    let references = root().join("target/snapshot-references.txt");
    for round in 1..=options.repeat {
        clear(&references)?;
        let name = if options.repeat > 1 { format!("tests, round {round}") } else { "tests".to_owned() };
        let mut command = test_command(options, &url, &references);
        scratch.tell(&mut command);
        steps.run(&name, || run_command(&mut command))?;
    }
    if options.filter.is_none() {
        steps.run("snapshots", || snapshots::check(&references))?;
    }
    Ok(())
}

/// The tests whose names say so; each prints its figures. They bring a server of their own.
fn million() -> Result<()> {
    // With all crates, since asking for one alone would build its dependencies again, with fewer features.
    let mut command = cargo(&["test", "--workspace", "--test", "it"]);
    command.args(["--", "--ignored", "--nocapture", "with_a_million_rows"]).env("RUST_LIB_BACKTRACE", "0");
    run_command(&mut command)
}

fn test_command(options: &Options, url: &str, references: &Path) -> Command {
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
    command.args(&options.filter);
    command.env("TEST_DATABASE_URL", url);
    // More than there are processors: most of a test is waiting.
    let processors = thread::available_parallelism().map_or(2, NonZero::get);
    command.env("RUST_TEST_THREADS", (2 * processors).to_string());
    // A failed test's own backtrace is enough, without one for each error that it looked at.
    command.env("RUST_LIB_BACKTRACE", "0");
    command.env("INSTA_UPDATE", "no").env("INSTA_SNAPSHOT_REFERENCES_FILE", references);
    command
}

fn clear(file: &Path) -> Result<()> {
    if file.exists() {
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}
