//! Counters, gauges and histograms of the process, in Prometheus' text form.
//!
//! Each crate lists what it counts as [`Metric`]s and counts with the `metrics` crate's macros; `GET /metrics` shows it
//! all. docs/metrics.md has the whole list.

use std::{sync::OnceLock, time::Duration};

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use mesh_six_core::metric::{Kind, Metric};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use crate::{agent::METRICS as AGENT, mqtt::METRICS as MQTT};

pub(crate) const BUILD: Metric =
    Metric::gauge("mesh_six_build_info", &["service", "version"], "1, labelled with the version of a service");
pub(crate) const HTTP_REQUESTS: Metric = Metric::counter(
    "mesh_six_http_requests_total",
    &["service", "method", "route", "status"],
    "HTTP requests answered",
);
pub(crate) const HTTP_SECONDS: Metric = Metric::histogram(
    "mesh_six_http_request_duration_seconds",
    &["service", "method", "route"],
    "Time until the head of an HTTP answer was ready",
);
pub(crate) const PANICS: Metric = Metric::counter(
    "mesh_six_panics_total",
    &["where"],
    "Panics caught, by place: http, or the name of a background task",
);
pub(crate) const REGISTRY_CONFLICTS: Metric = Metric::counter(
    "mesh_six_registry_conflicts_total",
    &[],
    "Changes of the registry's index that had to be tried again",
);

/// What every service counts.
pub const COMMON: [Metric; 5] = [BUILD, HTTP_REQUESTS, HTTP_SECONDS, PANICS, REGISTRY_CONFLICTS];

/// From a millisecond, a fast query, to fifteen minutes, the longest attempt.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0];
/// Sizes of batches.
const SIZES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];

/// The process's recorder; installed by the first call. What is counted before that is lost, so call it early.
pub fn handle() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(install)
}

/// All metrics in Prometheus' text form.
pub fn render() -> String {
    handle().render()
}

/// Says what `metrics` are, and begins the counters that have no labels at 0: an increase from nothing at all would
/// not be seen as one.
pub fn describe(metrics: &[Metric]) {
    handle();
    metrics.iter().for_each(describe_one);
}

fn describe_one(metric: &Metric) {
    let Metric { name, kind, labels, help } = *metric;
    match kind {
        Kind::Counter => {
            describe_counter!(name, help);
            if labels.is_empty() {
                counter!(name).increment(0);
            }
        }
        Kind::Gauge => describe_gauge!(name, help),
        Kind::Histogram if name.ends_with("_seconds") => describe_histogram!(name, Unit::Seconds, help),
        Kind::Histogram => describe_histogram!(name, help),
    }
}

fn install() -> PrometheusHandle {
    let suffixes = [("_seconds", &SECONDS[..]), ("_size", &SIZES[..])];
    let suffixes = suffixes.map(|(suffix, buckets)| (Matcher::Suffix(suffix.to_owned()), buckets));
    let names = mesh_six_llm::metrics::BUCKETS.map(|(name, buckets)| (Matcher::Full(name.to_owned()), buckets));
    let builder = suffixes.into_iter().chain(names).fold(PrometheusBuilder::new(), |builder, (matcher, buckets)| {
        // Refuses only an empty list, and these are not.
        builder.set_buckets_for_metric(matcher, buckets).unwrap_or_default()
    });
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if ::metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
    }
    let lists: [&[Metric]; 4] =
        [&COMMON, &mesh_six_db::metrics::METRICS, &mesh_six_llm::metrics::METRICS, &mesh_six_sidecar::metrics::METRICS];
    lists.into_iter().flatten().for_each(describe_one);
    keep_small(handle.clone());
    handle
}

/// Without this, samples of histograms pile up for as long as nobody asks for `/metrics`.
fn keep_small(handle: PrometheusHandle) {
    let upkeep = std::thread::Builder::new().name("metrics-upkeep".to_owned()).stack_size(256 * 1024);
    let spawned = upkeep.spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(5));
            handle.run_upkeep();
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(error = &error as &dyn std::error::Error, "histograms are not kept small");
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    #[test]
    fn durations_have_buckets_and_counters_a_description() {
        handle();
        ::metrics::histogram!(HTTP_SECONDS.name, "route" => "/unit").record(0.003);
        ::metrics::histogram!("gen_ai_client_token_usage", "unit" => "test").record(65.0);
        counter!(PANICS.name, "where" => "unit").increment(1);
        let text = render();
        assert!(text.contains("# HELP mesh_six_panics_total Panics caught, by place"), "{text}");
        assert!(text.contains("# TYPE mesh_six_panics_total counter"), "{text}");
        assert!(text.contains(r#"_duration_seconds_bucket{route="/unit",le="0.005"} 1"#), "{text}");
        assert!(text.contains(r#"_duration_seconds_bucket{route="/unit",le="0.0025"} 0"#), "{text}");
        assert!(text.contains(r#"gen_ai_client_token_usage_bucket{unit="test",le="256"} 1"#), "{text}");
        assert!(text.contains("\nmesh_six_events_dropped_total 0\n"), "an increase needs something to begin from");
        // As the upkeep thread does it, on a stack no larger than its own.
        let small = std::thread::Builder::new().stack_size(64 * 1024);
        small.spawn(|| handle().run_upkeep()).unwrap().join().unwrap();
    }
}
