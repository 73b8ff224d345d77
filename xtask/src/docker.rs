//! The one test that runs PostgreSQL in a container: an engine and an image for it.

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    background::Background,
    packages::{Need, ensure, postgresql_package},
    steps::{cargo, find_program, is_root, output, root, run, succeeds},
};

/// Our own image, made of Debian packages where no registry can be reached. The number rises when it changes.
const IMAGE: &str = "mesh-six-test-postgresql:1";
const FOLDER: &str = "/run/mesh-six-docker";
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(200);

/// Runs a daemon ($2, with its log in $1) until our end of standard input closes.
const UNTIL_CLOSED: &str = r#"
log="$1"; shift
"$@" >"$log" 2>&1 &
read -r _
kill "$!"
wait "$!"
"#;

/// What the image runs: the arguments and the password are given as to the usual PostgreSQL images.
const ENTRYPOINT: &str = "set -e; umask 077; cd /tmp; bin=$(echo /usr/lib/postgresql/*/bin); \
    printf %s \\\"$POSTGRES_PASSWORD\\\" >password; \
    $bin/initdb -D data -U postgres -A scram-sha-256 --pwfile=password -E UTF8 --locale=C --no-sync; \
    echo host all all all scram-sha-256 >>data/pg_hba.conf; shift; \
    exec $bin/postgres -D data -c listen_addresses=* -c unix_socket_directories=/tmp \\\"$@\\\"";

/// Runs the container test; brings an engine up and makes an image where they are missing.
pub(crate) fn test() -> Result<()> {
    let engine = Engine::get()?;
    // With all crates, since asking for one alone would build its dependencies again, with fewer features.
    let mut test = cargo(&["test", "--workspace", "--test", "it", "--", "--ignored", "testcontainers_"]);
    test.env_remove("TEST_DATABASE_URL").env("RUST_LIB_BACKTRACE", "0");
    if let Some(host) = &engine.host {
        test.env("DOCKER_HOST", host);
    }
    if let Some(image) = engine.image()? {
        test.env("MESH_SIX_TEST_IMAGE", image);
    }
    run(&mut test)
}

/// Runs a container of each service, made from its image's spec, and the Job that verifies a deployment; prints what
/// was measured. What images weigh only counts for the program `as_shipped`.
pub(crate) fn test_images(as_shipped: bool) -> Result<()> {
    let engine = Engine::get()?;
    let mut test = cargo(&["test", "--workspace", "--test", "delivery", "--", "--ignored", "--nocapture", "m1_9_"]);
    test.args(as_shipped.then_some("p13_"));
    test.env("RUST_LIB_BACKTRACE", "0");
    if let Some(host) = &engine.host {
        test.env("DOCKER_HOST", host);
    }
    run(&mut test)
}

struct Engine {
    /// Where it listens, if not where Docker's clients look anyway.
    host: Option<String>,
    /// Ended with this value.
    daemon: Option<Background>,
}

impl Engine {
    /// The engine that answers, else one that is started by hand and ended with us.
    fn get() -> Result<Self> {
        if answers(None) {
            return Ok(Self { host: None, daemon: None });
        }
        if !is_root() {
            bail!("no Docker engine answers; start one, run this as root on Debian, or add --without-containers");
        }
        ensure(&[Need::program("docker.io", "dockerd"), Need::program("docker.io", "docker")])?;
        // Where the package's own service came up with the installation, it is used.
        if answers(None) {
            return Ok(Self { host: None, daemon: None });
        }
        let plain = Self::start(&[]);
        plain.or_else(|error| {
            eprintln!("{error:#}; trying the slower storage that works everywhere");
            Self::start(&["--storage-driver=vfs"])
        })
    }

    fn start(options: &[&str]) -> Result<Self> {
        fs::create_dir_all(FOLDER).with_context(|| format!("cannot make {FOLDER}"))?;
        let host = format!("unix://{FOLDER}/docker.sock");
        let log = Path::new(FOLDER).join("log");
        let dockerd = find_program("dockerd").context("the package docker.io has brought no dockerd")?;
        let mut command = Command::new("sh");
        command.args(["-c", UNTIL_CLOSED, "sh"]).arg(&log).arg(dockerd);
        command.arg(format!("--host={host}")).arg(format!("--pidfile={FOLDER}/pid"));
        command.arg(format!("--exec-root={FOLDER}/exec")).args(options);
        let daemon = Background::spawn("dockerd", &mut command)?;
        let deadline = Instant::now() + PATIENCE;
        while !answers(Some(&host)) {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let failed = text.contains("failed to start daemon");
            if failed || Instant::now() > deadline {
                let last = text.lines().last().unwrap_or("it gave no reason");
                bail!("dockerd does not start on this machine: {last}");
            }
            thread::sleep(POLL);
        }
        eprintln!("started dockerd by hand; it ends with this run");
        Ok(Self { host: Some(host), daemon: Some(daemon) })
    }

    /// The image to use, if not the default one: given by the environment, or made by ourselves as root on Debian.
    fn image(&self) -> Result<Option<String>> {
        if let Ok(image) = env::var("MESH_SIX_TEST_IMAGE") {
            return Ok(Some(image));
        }
        if succeeds(self.docker().args(["image", "inspect", IMAGE])) {
            return Ok(Some(IMAGE.to_owned()));
        }
        if !is_root() || find_program("apt-get").is_none() {
            return Ok(None);
        }
        self.make_image()?;
        Ok(Some(IMAGE.to_owned()))
    }

    fn make_image(&self) -> Result<()> {
        ensure(&[Need::program("mmdebstrap", "mmdebstrap")])?;
        let begin = Instant::now();
        let package = postgresql_package();
        let tar = root().join("target/test-image.tar");
        fs::create_dir_all(root().join("target"))?;
        let mut make = Command::new("mmdebstrap");
        make.args(["--quiet", "--variant=essential", "--dpkgopt=force-unsafe-io", &format!("--include={package}")]);
        make.arg(suite()?).arg(&tar).args(sources()?);
        run(&mut make)?;
        let mut import = self.docker();
        import.args(["import", "--change", "USER postgres", "--change", r#"CMD ["postgres"]"#]);
        import.args(["--change", &format!(r#"ENTRYPOINT ["sh", "-c", "{ENTRYPOINT}", "sh"]"#)]).arg("-").arg(IMAGE);
        let tar_file = File::open(&tar)?;
        let status = import.stdin(tar_file).stdout(Stdio::null()).status().context("cannot run docker import")?;
        fs::remove_file(&tar)?;
        if !status.success() {
            bail!("docker import failed ({status})");
        }
        eprintln!("made the image {IMAGE} with {package} in {:.1} s", begin.elapsed().as_secs_f64());
        Ok(())
    }

    fn docker(&self) -> Command {
        docker(self.host.as_deref())
    }
}

impl Drop for Engine {
    /// The tests' containers are removed by a watcher of each test process, which needs the engine a moment longer.
    fn drop(&mut self) {
        if self.daemon.is_some() {
            let ours = ["ps", "--all", "--quiet", "--filter", "label=org.testcontainers.managed-by=testcontainers"];
            let list = output(self.docker().args(ours)).unwrap_or_default();
            if !list.trim().is_empty() {
                succeeds(self.docker().args(["rm", "--force", "--volumes"]).args(list.split_whitespace()));
            }
        }
    }
}

fn docker(host: Option<&str>) -> Command {
    let mut command = Command::new("docker");
    if let Some(host) = host {
        command.env("DOCKER_HOST", host);
    }
    command
}

fn answers(host: Option<&str>) -> bool {
    succeeds(docker(host).args(["version", "--format", "{{.Server.Version}}"]))
}

/// This machine's release, such as `bookworm`.
fn suite() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("/etc/os-release names no release")?.trim_matches('"').to_owned())
}

/// The distribution's own package sources as this machine has them configured, without those of others.
fn sources() -> Result<Vec<String>> {
    let mut command = Command::new("apt-get");
    let format = "$(ORIGIN) deb $(REPO_URI) $(CODENAME) $(COMPONENT)";
    let all = output(command.args(["indextargets", "--format", format, "Identifier: Packages"]))?;
    let own =
        |line: &str| ["Debian ", "Ubuntu "].iter().find_map(|origin| line.strip_prefix(origin).map(str::to_owned));
    let mut lines: Vec<String> = all.lines().filter_map(own).collect();
    lines.dedup();
    if lines.is_empty() {
        bail!("apt-get knows no package sources; run: apt-get update");
    }
    Ok(lines)
}
