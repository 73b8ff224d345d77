//! What stands around the mesh and is asked by HTTP: sidecars, metrics, traces.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mesh_six_core::names::ORCHESTRATOR;
use serde::de::DeserializeOwned;

use super::{
    cluster::{Cluster, address, app, containers, is_ending, sidecar},
    site::Site,
};
use crate::{cli::AroundArgs, exit::Exit};

/// How long an answer may take, and how large it may be.
const ANSWER: Duration = Duration::from_secs(10);
const LARGEST: usize = 16 << 20;

/// Addresses of the command line.
pub(crate) struct Around {
    http: reqwest::Client,
    sidecars: BTreeMap<String, String>,
    sidecar_metrics: BTreeMap<String, String>,
    sidecar_token: Option<String>,
    pub(super) traces: Option<String>,
    pub(super) prometheus: Option<String>,
}

/// A Dapr sidecar.
pub(super) struct Sidecar {
    /// Its service.
    pub(super) app: String,
    /// Of `/v1.0/metadata`.
    pub(super) api: Option<String>,
    /// Of `/metrics`.
    pub(super) metrics: Option<String>,
}

impl Around {
    pub(super) fn new(args: &AroundArgs) -> anyhow::Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().timeout(ANSWER).redirect(reqwest::redirect::Policy::none()).build()?,
            sidecars: addresses("--sidecar", &args.sidecars)?,
            sidecar_metrics: addresses("--sidecar-metrics", &args.sidecar_metrics)?,
            sidecar_token: args.dapr_api_token.clone(),
            traces: args.traces.clone(),
            prometheus: args.prometheus.clone(),
        })
    }

    /// The text at `url`, if that answers with success.
    pub(super) async fn text(&self, url: &str, query: &[(&str, &str)]) -> anyhow::Result<String> {
        self.read(url, self.http.get(url).query(query)).await
    }

    /// What a sidecar says of itself.
    pub(super) async fn metadata<T: DeserializeOwned>(&self, url: &str) -> anyhow::Result<T> {
        let request = match &self.sidecar_token {
            Some(token) => self.http.get(url).header("dapr-api-token", token),
            None => self.http.get(url),
        };
        parsed(url, &self.read(url, request).await?)
    }

    async fn read(&self, url: &str, request: reqwest::RequestBuilder) -> anyhow::Result<String> {
        // Tempo answers in its own form otherwise.
        let request = request.header("accept", "application/json, text/plain;q=0.9, */*;q=0.1");
        let mut response = request.send().await.map_err(reqwest::Error::without_url).with_context(|| url.to_owned())?;
        let status = response.status();
        ensure!(status.is_success(), "{url} answered {status}");
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            body.extend_from_slice(&chunk);
            ensure!(body.len() <= LARGEST, "{url} answered more than {LARGEST} bytes");
        }
        String::from_utf8(body).with_context(|| format!("{url} did not answer with text"))
    }

    /// The JSON at `url`.
    pub(super) async fn json<T: DeserializeOwned>(&self, url: &str, query: &[(&str, &str)]) -> anyhow::Result<T> {
        parsed(url, &self.text(url, query).await?)
    }
}

fn parsed<T: DeserializeOwned>(url: &str, text: &str) -> anyhow::Result<T> {
    serde_json::from_str(text).with_context(|| format!("{url} did not answer as expected"))
}

/// `app=url` as a map.
fn addresses(option: &str, given: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let parse = |text: &String| {
        let (app, url) = text.split_once('=').filter(|(_, url)| url.starts_with("http"))?;
        Some((app.to_owned(), url.trim_end_matches('/').to_owned()))
    };
    let wrong = |text| Exit::usage(format!("{option} must be APP=URL, not {text:?}"));
    given.iter().map(|text| parse(text).ok_or_else(|| wrong(text))).collect()
}

impl Site {
    /// The sidecars: those of the command line, else those of the cluster's pods.
    pub(super) async fn sidecars(&self) -> anyhow::Result<Vec<Sidecar>> {
        let (apis, metrics) = (&self.around.sidecars, &self.around.sidecar_metrics);
        if let (true, true, Some(cluster)) = (apis.is_empty(), metrics.is_empty(), &self.cluster) {
            return of_pods(cluster).await;
        }
        let mut all: BTreeMap<&String, Sidecar> = BTreeMap::new();
        let empty = |app: &String| Sidecar { app: app.clone(), api: None, metrics: None };
        for (app, url) in apis {
            all.entry(app).or_insert_with(|| empty(app)).api = Some(format!("{url}/v1.0/metadata"));
        }
        for (app, url) in metrics {
            all.entry(app).or_insert_with(|| empty(app)).metrics = Some(format!("{url}/metrics"));
        }
        Ok(all.into_values().collect())
    }

    /// Why what is at `error`'s end cannot be seen, if that is only because we stand outside of the cluster.
    pub(super) fn out_of_reach(&self, error: &anyhow::Error) -> Option<&'static str> {
        let outside = self.cluster.as_ref().is_some_and(|cluster| !cluster.inside);
        let http = error.chain().find_map(|cause| cause.downcast_ref::<reqwest::Error>())?;
        (outside && (http.is_connect() || http.is_timeout()))
            .then_some("the pods cannot be reached from here; the Job verify, inside of the cluster, can")
    }

    /// Where the orchestrator's own metrics are: of each of its pods, or of the one process there is.
    pub(super) async fn metrics(&self) -> anyhow::Result<Option<Vec<String>>> {
        let Some(cluster) = self.cluster.as_ref().filter(|cluster| cluster.inside) else { return Ok(None) };
        let pods = cluster.seen().await?.pods.iter().filter(|pod| app(pod) == ORCHESTRATOR && !is_ending(pod));
        let urls = pods.filter_map(|pod| {
            let mut ports = containers(pod).flat_map(|container| container.ports.iter().flatten());
            let port = ports.find(|port| port.name.as_deref() == Some("http"))?.container_port;
            Some(format!("http://{}/metrics", socket(address(pod)?, u16::try_from(port).ok()?)))
        });
        Ok(Some(urls.collect()))
    }
}

/// The sidecars of the mesh's pods, at the ports that the injector gave them.
async fn of_pods(cluster: &Cluster) -> anyhow::Result<Vec<Sidecar>> {
    let pods = cluster.seen().await?.pods.iter().filter(|pod| !is_ending(pod));
    let sidecars = pods.filter_map(|pod| {
        let (container, ip) = (sidecar(pod)?, address(pod)?);
        // The probe's port is the public one, which has the metadata too.
        let probe = container.readiness_probe.as_ref().and_then(|probe| probe.http_get.as_ref());
        let api = probe.and_then(|get| match get.port {
            IntOrString::Int(port) => u16::try_from(port).ok(),
            IntOrString::String(_) => None,
        });
        let metrics = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some("dapr-metrics"));
        let metrics = metrics.and_then(|port| u16::try_from(port.container_port).ok());
        Some(Sidecar {
            app: app(pod).to_owned(),
            api: api.map(|port| format!("http://{}/v1.0/metadata", socket(ip, port))),
            metrics: metrics.map(|port| format!("http://{}/metrics", socket(ip, port))),
        })
    });
    Ok(sidecars.collect())
}

/// An address with a port, as it stands in a URL.
fn socket(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// The samples of `metric` in Prometheus' text format: labels as they stand there, and value.
pub(super) fn samples<'a>(text: &'a str, metric: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(metric)?.strip_prefix('{')?;
        let (labels, value) = rest.rsplit_once('}')?;
        Some((labels, value.split_whitespace().next()?.parse().ok()?))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_app_and_url() {
        let given = addresses("--sidecar", &["a=http://127.0.0.1:1/".to_owned()]).unwrap();
        assert_eq!(given["a"], "http://127.0.0.1:1");
        let wrong = addresses("--sidecar", &["127.0.0.1:1".to_owned()]).unwrap_err().to_string();
        assert_eq!(wrong, "--sidecar must be APP=URL, not \"127.0.0.1:1\"");
        assert_eq!(
            (socket("10.0.0.1", 80), socket("fd00::1", 80)),
            ("10.0.0.1:80".to_owned(), "[fd00::1]:80".to_owned())
        );
    }

    #[test]
    fn samples_are_read() {
        let text = "# HELP n x\nn{app_id=\"a\",path=\"/{x}\"} 3\nn_total{a=\"b\"} 4\nn{} 1e3 17\n";
        let all: Vec<_> = samples(text, "n").collect();
        assert_eq!(all, [("app_id=\"a\",path=\"/{x}\"", 3.0), ("", 1000.0)]);
    }
}
