//! Criterion M1.12: one trace from the orchestrator through the broker to the agent, as a store of traces has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mesh_six_core::names::ORCHESTRATOR;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{finding::Outcome, site::Site};

const NO_TRACES: &str = "needs the store of traces: name it with --traces; the trace id stands at M1.11";
/// Spans are sent in batches.
const SENT: Duration = Duration::from_secs(40);

/// M1.12: the task's trace has spans of both, and every span's parent is in it.
pub(super) async fn one_trace(site: &Site) -> anyhow::Result<Outcome> {
    let Some(traces) = &site.around.traces else { return Ok(Outcome::not_applicable(NO_TRACES)) };
    let story = site.story().await?;
    let agent = story.task.dispatched_to.clone().unwrap_or_default();
    let url = format!("{}/api/traces/{}", traces.trim_end_matches('/'), story.task.trace_id);
    let deadline = Instant::now() + SENT;
    loop {
        let outcome = match site.around.json::<Value>(&url, &[]).await {
            Ok(answer) => judged(&answer, &agent),
            Err(error) if Instant::now() >= deadline => return Err(error),
            // Not there yet, most likely.
            Err(_) => Outcome::fail("no trace", Value::Null),
        };
        if outcome.holds() || Instant::now() >= deadline {
            return Ok(outcome);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn judged(answer: &Value, agent: &str) -> Outcome {
    // Tempo's first API calls them batches, OTLP's own JSON and the second API resourceSpans.
    let resources = [&answer["batches"], &answer["resourceSpans"], &answer["trace"]["resourceSpans"]];
    let resources = resources.into_iter().filter_map(Value::as_array).flatten();
    let (mut services, mut ids, mut parents) = (BTreeMap::<&str, usize>::new(), BTreeSet::new(), BTreeSet::new());
    for resource in resources {
        let attributes = resource["resource"]["attributes"].as_array().into_iter().flatten();
        let service =
            attributes.filter(|a| a["key"] == "service.name").find_map(|a| a["value"]["stringValue"].as_str());
        let scopes = resource["scopeSpans"].as_array().into_iter().flatten();
        for span in scopes.flat_map(|scope| scope["spans"].as_array().into_iter().flatten()) {
            *services.entry(service.unwrap_or("?")).or_default() += 1;
            ids.extend(span["spanId"].as_str());
            parents.extend(span["parentSpanId"].as_str().filter(|parent| !parent.is_empty()));
        }
    }
    let lost = parents.difference(&ids).count();
    let mut problems: Vec<String> = [ORCHESTRATOR, agent]
        .iter()
        .filter(|service| !services.contains_key(*service))
        .map(|service| format!("no span of {service}"))
        .collect();
    if lost > 0 {
        problems.push(format!("{lost} parents are not in the trace"));
    }
    Outcome::of(&problems, json!({ "spans": services, "parentsMissing": lost }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_services_and_all_parents_are_wanted() {
        let spans = |service: &str, span: &str, parent: &str| {
            json!({
                "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
                "scopeSpans": [{ "spans": [{ "spanId": span, "parentSpanId": parent }] }],
            })
        };
        let both = [spans("orchestrator", "a", ""), spans("simple-agent", "b", "a")];
        for shape in [json!({ "batches": both }), json!({ "trace": { "resourceSpans": both } })] {
            assert!(judged(&shape, "simple-agent").holds());
        }
        let torn = json!({ "batches": [spans("orchestrator", "a", ""), spans("simple-agent", "b", "c")] });
        assert!(!judged(&torn, "simple-agent").holds());
        let half = json!({ "batches": [spans("orchestrator", "a", "")] });
        assert!(!judged(&half, "simple-agent").holds());
    }
}
