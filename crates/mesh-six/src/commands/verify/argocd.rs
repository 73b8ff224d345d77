//! Criterion M1.14: what Argo CD says of the mesh's Application.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{cluster::NO_CLUSTER, finding::Outcome, site::Site};

/// The Application's name.
const APPLICATION: &str = "mesh-six";
/// How long it may take to notice what was just applied; verify itself runs in a sync's last phase.
const SETTLED: Duration = Duration::from_mins(1);

/// M1.14: synced and healthy, and told to heal and to prune. That it does is not tried: verify changes nothing.
pub(super) async fn synced(site: &Site) -> anyhow::Result<Outcome> {
    let Some(cluster) = &site.cluster else { return Ok(Outcome::not_applicable(NO_CLUSTER)) };
    let deadline = Instant::now() + SETTLED;
    loop {
        let application = match cluster.application(APPLICATION).await? {
            Ok(application) => application.data,
            Err(outcome) => return Ok(outcome),
        };
        let outcome = judged(&application);
        if outcome.holds() || Instant::now() >= deadline {
            return Ok(outcome);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn judged(application: &Value) -> Outcome {
    let (status, automated) = (&application["status"], &application["spec"]["syncPolicy"]["automated"]);
    let (sync, health) = (&status["sync"]["status"], &status["health"]["status"]);
    let held = [
        (sync == "Synced", format!("it is {sync}")),
        (health == "Healthy", format!("it is {health}")),
        // Unset means on.
        (automated.is_object() && automated["enabled"] != false, "it does not sync by itself".to_owned()),
        (automated["selfHeal"] == true, "it is not told to heal".to_owned()),
        (automated["prune"] == true, "it is not told to prune".to_owned()),
    ];
    let problems: Vec<String> = held.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what).collect();
    let evidence = json!({ "sync": sync, "health": health, "revision": status["sync"]["revision"],
        "operation": status["operationState"]["phase"], "selfHeal": automated["selfHeal"], "prune": automated["prune"] });
    Outcome::of(&problems, evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_sync_unhealthy_or_by_hand_is_not_well() {
        let good = json!({
            "spec": { "syncPolicy": { "automated": { "prune": true, "selfHeal": true } } },
            "status": { "sync": { "status": "Synced" }, "health": { "status": "Healthy" } },
        });
        assert!(judged(&good).holds());
        for (at, wrong) in [
            ("/status/sync/status", json!("OutOfSync")),
            ("/status/health/status", json!("Degraded")),
            ("/spec/syncPolicy/automated/prune", json!(false)),
            ("/spec/syncPolicy/automated/selfHeal", Value::Null),
            ("/spec/syncPolicy/automated", Value::Null),
        ] {
            let mut bad = good.clone();
            if let Some(place) = bad.pointer_mut(at) {
                *place = wrong;
            }
            assert!(!judged(&bad).holds(), "{at}");
        }
        let mut paused = good;
        paused["spec"]["syncPolicy"]["automated"]["enabled"] = json!(false);
        assert!(!judged(&paused).holds());
    }
}
