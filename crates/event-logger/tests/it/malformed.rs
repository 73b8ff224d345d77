//! Generated malformed messages: none is stored as an event, none ends the service, each is counted.

use futures_util::future::join_all;
use mesh_six_testing::{
    malformed::{Generator, Pattern},
    samples::{request, result},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;

use crate::{
    ask,
    rig::{Rig, TOKEN, fill_inbox},
};

/// Each comes alone and in a batch.
const CASES: usize = 5_001;
/// Messages that are under way at once, and entries of a batch.
const AT_ONCE: usize = 64;

/// What the counter of refused messages says, whatever the topic and cause.
pub(crate) fn refused(metrics: &PrometheusHandle) -> usize {
    let text = metrics.render();
    let lines = text.lines().filter(|l| l.starts_with("mesh_six_messages_refused_total{"));
    lines.map(|l| l.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

#[tokio::test]
async fn e_5_no_malformed_message_is_stored_crashes_or_goes_uncounted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counted_here = metrics::set_default_local_recorder(&recorder);
    let counted = recorder.handle();
    let rig = Rig::start().await;
    let answer = result(&request());
    fill_inbox(&rig.database.client().await, std::slice::from_ref(&answer), true).await;
    let patterns = [Pattern::result(&answer), Pattern::note(), Pattern::fact()];
    let mut generator = Generator::new(1);
    let route = |pattern: &Pattern| format!("/events/{}", pattern.topic);
    for pattern in &patterns {
        let cases: Vec<String> =
            (0..CASES / patterns.len()).map(|number| generator.next(pattern, number).text).collect();
        let route = route(pattern);
        for part in cases.chunks(AT_ONCE) {
            let alone = part.iter().map(|case| ask::post(rig.router(), &route, TOKEN, case.clone()));
            for (case, answer) in part.iter().zip(join_all(alone).await) {
                assert_eq!(answer.json(), json!({"status": "DROP"}), "{case}");
            }
            let entries: Vec<&str> = part.iter().map(String::as_str).collect();
            let answer = ask::post(rig.router(), &route, TOKEN, ask::bulk_of_texts(&entries)).await;
            for (case, status) in part.iter().zip(ask::statuses(&answer)) {
                assert_eq!(status, "BURIED", "{case}");
            }
        }
    }
    assert_eq!(rig.events().await.len(), 0);
    assert_eq!(refused(&counted), 2 * CASES);
    let letters = rig.letters().await;
    assert_eq!(usize::try_from(letters.iter().map(|l| l.tries).sum::<i32>()).unwrap(), 2 * CASES);
    assert!(letters.iter().all(|l| l.reason.contains(": ")), "each reason names a field");
    // The undamaged ones are good.
    for pattern in &patterns {
        assert_eq!(rig.deliver(&route(pattern), std::slice::from_ref(&pattern.good)).await, ["SUCCESS"]);
    }
    assert_eq!(rig.events().await.len(), patterns.len());
}
