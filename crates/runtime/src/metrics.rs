//! Counters, gauges and histograms of the process, in Prometheus' text form.
//!
//! Services count with the `metrics` crate's macros and describe what they count; `GET /metrics` shows it all.

use std::{sync::OnceLock, time::Duration};

use ::metrics::{Unit, describe_counter, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Requests answered, by service, method, route and status.
pub const HTTP_REQUESTS: &str = "mesh_six_http_requests_total";
/// Time until an answer's head was ready, by service, method and route.
pub const HTTP_SECONDS: &str = "mesh_six_http_request_duration_seconds";
/// Panics caught, by where: in an HTTP handler or in a background task.
pub const PANICS: &str = "mesh_six_panics_total";
/// Changes of the registry's index that had to be tried again.
pub const REGISTRY_CONFLICTS: &str = "mesh_six_registry_conflicts_total";

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

fn install() -> PrometheusHandle {
    let builder = [("_seconds", &SECONDS[..]), ("_size", &SIZES[..])].into_iter().fold(
        PrometheusBuilder::new(),
        |builder, (suffix, buckets)| {
            // Refuses only an empty list, and these are not.
            builder.set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), buckets).unwrap_or_default()
        },
    );
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if ::metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
    }
    describe();
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

fn describe() {
    describe_counter!(HTTP_REQUESTS, "Requests answered, by service, method, route and status");
    describe_histogram!(HTTP_SECONDS, Unit::Seconds, "Time until an answer's head was ready");
    describe_counter!(PANICS, "Panics caught, by place");
    describe_counter!(REGISTRY_CONFLICTS, "Changes of the registry's index that had to be tried again");
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    #[test]
    fn durations_have_buckets_and_counters_a_description() {
        handle();
        ::metrics::histogram!(HTTP_SECONDS, "route" => "/unit").record(0.003);
        ::metrics::counter!(PANICS, "where" => "unit").increment(1);
        let text = render();
        assert!(text.contains("# HELP mesh_six_panics_total Panics caught, by place"), "{text}");
        assert!(text.contains(r#"_duration_seconds_bucket{route="/unit",le="0.005"} 1"#), "{text}");
        assert!(text.contains(r#"_duration_seconds_bucket{route="/unit",le="0.0025"} 0"#), "{text}");
        // As the upkeep thread does it, on a stack no larger than its own.
        let small = std::thread::Builder::new().stack_size(64 * 1024);
        small.spawn(|| handle().run_upkeep()).unwrap().join().unwrap();
    }
}
