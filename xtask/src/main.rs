//! The project's commands: `cargo xtask up`, `cargo xtask test` and more. They do all set-up themselves.

mod background;
mod dependencies;
mod docker;
mod licence;
mod packages;
mod program;
mod rig;
mod scratch;
mod snapshots;
mod soak;
mod steps;
mod test;
mod tools;
mod up;

use std::{env, process::ExitCode};

const HELP: &str = "\
Usage: cargo xtask <command>

  up [--release] [args]   sets up what is missing, builds, and runs `mesh-six up` with these arguments
  test [options]          sets up what the tests need and runs all checks and tests
      --filter NAME       only tests whose names contain NAME; no other checks
      --repeat N          runs the tests N times
      --container         only the test of PostgreSQL in a container
      --without-containers
                          all but the tests that need a Docker engine
      --all               also the tests with a million rows; also installs cargo-deny (some minutes), asks for known
                          vulnerabilities, and builds the shipped program twice, to compare
  rig <command>           the mesh beside real Dapr, RabbitMQ, Redis and PostgreSQL on this machine
      up                      sets up what is missing, starts everything in the background, prints what runs where;
                              --help tells its options
      status [--json]         what runs
      logs [NAME] [--follow]  what a part says, or all
      down                    ends everything, also what an earlier rig has left over
      env                     prints addresses and secrets for a shell's eval
  generate                writes what is made from services.toml: dapr.yaml, the folders of new services in k8s/base
  soak [options]          the same under load while everything in it fails at random; ends with a table of what must hold
      --minutes N             the time with faults, from 2 (default 20); 0: only what is measured without any
      --seed S                the same seed gives the same plan of faults
      --json                  the table as JSON
  images                  builds the program as it is shipped, runs a container of each service, prints what it measured
  tools                   sets up what the tests of images and manifests need

As root, missing Debian packages are installed; otherwise the one command to type is printed.
";

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let done = match args.next().as_deref() {
        Some("up") => up::run(args.collect()),
        Some("test") => test::Options::parse(args).and_then(|options| test::run(&options)),
        Some("rig") => rig::run(&args.collect::<Vec<_>>()),
        Some("generate") => rig::generate(),
        Some("soak") => soak::run(&args.collect::<Vec<_>>()),
        Some("images") => test::images(),
        Some("tools") => tools::ensure_all(),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
