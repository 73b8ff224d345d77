//! Metrics of model requests, by agent and model.

use std::{sync::Once, time::Duration};

use mesh_six_core::Usage;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const DURATION: &str = "mesh_six_llm_request_duration_seconds";
const TOKENS: &str = "mesh_six_llm_tokens_total";
const COST: &str = "mesh_six_llm_cost_usd";

/// Counts one real request; `outcome` is `ok` or the error's kind.
pub(crate) fn request(agent: &str, model: &str, outcome: &'static str, duration: Duration, usage: &Usage) {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(|| {
        describe_histogram!(DURATION, Unit::Seconds, "How long real model requests took, errors included");
        describe_counter!(TOKENS, "Tokens of model requests; kind cached_input is part of kind input");
        describe_gauge!(COST, "US dollars that model requests have cost since the process began, where told");
    });
    let labels = [("agent", agent.to_owned()), ("model", model.to_owned())];
    let mut timed = labels.to_vec();
    timed.push(("outcome", outcome.to_owned()));
    histogram!(DURATION, &timed).record(duration.as_secs_f64());
    let kinds =
        [("input", usage.input_tokens), ("output", usage.output_tokens), ("cached_input", usage.cached_input_tokens)];
    for (kind, tokens) in kinds {
        let mut counted = labels.to_vec();
        counted.push(("kind", kind.to_owned()));
        counter!(TOKENS, &counted).increment(tokens);
    }
    if let Some(cost) = usage.cost_usd {
        gauge!(COST, &labels).increment(cost);
    }
}
