//! Criterion D.2: no pod fails to start, or is killed.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use mesh_six_core::{roster::SERVICES, time};
use serde_json::{Value, json};

use super::{
    cluster::{NO_CLUSTER, app, name, statuses},
    finding::Outcome,
    site::Site,
};

/// Why a container waits that will not start by itself.
const STUCK: [&str; 7] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "CrashLoopBackOff",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];
/// For how long there must have been no crash, and no kill for want of memory.
const CALM: TimeDelta = TimeDelta::minutes(10);
const MEMORY: TimeDelta = TimeDelta::hours(1);

/// D.2: what the pods' statuses tell of now, of the last ten minutes and of the last hour.
pub(super) async fn calm(site: &Site) -> anyhow::Result<Outcome> {
    let Some(cluster) = &site.cluster else { return Ok(Outcome::not_applicable(NO_CLUSTER)) };
    let (seen, now) = (cluster.seen().await?, time::now());
    let mut problems: Vec<String> = seen.pods.iter().flat_map(|pod| troubles(pod, now)).collect();
    let services = seen.pods.iter().filter(|pod| SERVICES.iter().any(|service| service.name == app(pod)));
    let begun: Vec<DateTime<Utc>> = services.filter_map(|pod| utc(pod.status.as_ref()?.start_time.as_ref()?)).collect();
    if begun.is_empty() {
        problems.push("no service has a pod".to_owned());
    }
    let youngest = begun.iter().max().map_or(TimeDelta::zero(), |begun| now - *begun);
    let evidence = json!({ "pods": seen.pods.len(), "youngestServiceSeconds": youngest.num_seconds() });
    let outcome = Outcome::of(&problems, evidence);
    if youngest < CALM {
        return Ok(
            outcome.at_best("well so far, but a service's pod is younger than the ten minutes that are asked for")
        );
    }
    Ok(outcome)
}

fn troubles(pod: &Pod, now: DateTime<Utc>) -> Vec<String> {
    let mut found = Vec::new();
    for status in statuses(pod) {
        let (state, last) = (status.state.as_ref(), status.last_state.as_ref());
        if let Some(reason) = state.and_then(|s| s.waiting.as_ref()?.reason.as_deref()).filter(|r| STUCK.contains(r)) {
            found.push(format!("{}/{}: {reason}", name(pod), status.name));
        }
        let ended = [state, last].into_iter().flatten().filter_map(|state| state.terminated.as_ref());
        for end in ended {
            let ago = end.finished_at.as_ref().and_then(utc).map(|at| now - at);
            let within = |span| ago.is_none_or(|ago| ago <= span);
            let reason = end.reason.as_deref().unwrap_or_default();
            if reason == "OOMKilled" && within(MEMORY) {
                found.push(format!("{}/{}: killed for want of memory", name(pod), status.name));
            } else if end.exit_code != 0 && status.restart_count > 0 && within(CALM) {
                found.push(format!("{}/{}: ended with {} and was restarted", name(pod), status.name, end.exit_code));
            }
        }
    }
    found
}

/// A time of the API's.
fn utc(at: &Time) -> Option<DateTime<Utc>> {
    let text: Value = serde_json::to_value(at).ok()?;
    DateTime::parse_from_rfc3339(text.as_str()?).ok().map(|at| at.to_utc())
}
