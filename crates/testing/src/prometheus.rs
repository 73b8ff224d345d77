//! Prometheus, as Debian packages it, with a configuration and a folder of its own.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs::{self, File},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{free_port, http::client, wait_until};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_mins(1);
/// So often it scrapes, so that tests need not wait.
const EVERY: &str = "200ms";

/// A value with the labels of its series.
pub type Sample = (BTreeMap<String, String>, f64);

/// A server that scrapes what it is told to. It ends when it is dropped.
pub struct Prometheus {
    child: Child,
    folder: TempDir,
    url: String,
    client: reqwest::Client,
}

impl Prometheus {
    /// Scrapes `/metrics` of each target: the name of its job, and host and port. Fails the test if there is no
    /// Prometheus on the machine.
    pub async fn scraping(targets: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for Prometheus: {error}"));
        let mut text = format!("global: {{scrape_interval: {EVERY}, scrape_timeout: {EVERY}}}\nscrape_configs:\n");
        for (job, address) in targets {
            // Writing into a text cannot fail.
            let _ = writeln!(text, "  - job_name: {job}\n    static_configs: [{{targets: ['{address}']}}]");
        }
        let (config, log) = (folder.path().join("prometheus.yml"), folder.path().join("log"));
        let written = fs::write(&config, text).and_then(|()| File::create(&log));
        let log = written.unwrap_or_else(|error| panic!("cannot write Prometheus' files: {error}"));
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start prometheus; install it: {error}"));
        let mut server = Self { child, folder, url: format!("http://{address}"), client: client() };
        wait_until(PATIENCE, async || server.is_ready().await).await;
        server
    }

    async fn is_ready(&mut self) -> bool {
        if let Ok(Some(status)) = self.child.try_wait() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            panic!("Prometheus ended with {status}: {log}");
        }
        let answer = self.client.get(format!("{}/-/ready", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Root of its API.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What `query` gives now.
    pub async fn query(&self, query: &str) -> Vec<Sample> {
        let request = self.client.get(format!("{}/api/v1/query", self.url)).query(&[("query", query)]);
        let answer = request.send().await.unwrap_or_else(|error| panic!("Prometheus does not answer: {error}"));
        let body: Value = answer.json().await.unwrap_or_else(|error| panic!("Prometheus answers no JSON: {error}"));
        assert_eq!(body["status"], "success", "{query}: {body}");
        let series = body["data"]["result"].as_array().into_iter().flatten();
        series.map(sample).collect()
    }

    /// Waits until `query` gives one series with this value.
    #[expect(clippy::float_cmp, reason = "counts are whole")]
    pub async fn wait_for(&self, query: &str, value: f64, within: Duration) {
        let mut last = Vec::new();
        let reached = async {
            loop {
                last = self.query(query).await;
                if matches!(last.as_slice(), [(_, found)] if *found == value) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let reached = tokio::time::timeout(within, reached).await;
        assert!(reached.is_ok(), "{query} did not become {value} within {within:?}, but is {last:?}");
    }
}

fn sample(series: &Value) -> Sample {
    let labels = series["metric"].as_object().into_iter().flatten();
    let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
    let value = series["value"][1].as_str().and_then(|text| text.parse().ok());
    (labels.collect(), value.unwrap_or_else(|| panic!("no number: {series}")))
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
