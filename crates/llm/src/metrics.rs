//! What model requests and tool calls count. Names and labels follow OpenTelemetry's conventions where those have one.

use std::time::Duration;

use mesh_six_core::{
    Usage,
    metric::{Metric, OTHER},
};
use metrics::{counter, histogram};

use crate::Provider;

const DURATION: Metric = Metric::histogram(
    "gen_ai_client_operation_duration_seconds",
    &[
        "gen_ai_operation_name",
        "gen_ai_provider_name",
        "gen_ai_request_model",
        "gen_ai_agent_name",
        "error_type",
        "server_address",
        "server_port",
    ],
    "How long real model requests took, failed ones included; those have an error_type",
);
const USAGE: Metric = Metric::histogram(
    "gen_ai_client_token_usage",
    &[
        "gen_ai_operation_name",
        "gen_ai_provider_name",
        "gen_ai_request_model",
        "gen_ai_agent_name",
        "gen_ai_token_type",
        "server_address",
        "server_port",
    ],
    "Tokens of a model request, by type: input or output",
);
const TOKENS: Metric = Metric::counter(
    "mesh_six_llm_tokens_total",
    &["agent", "model", "kind"],
    "Tokens of model requests by kind: input, output, and cached_input, which is part of input",
);
const COST: Metric = Metric::histogram(
    "mesh_six_llm_request_cost_usd",
    &["agent", "model"],
    "What a model request cost in US dollars, where the endpoint told; its sum is the cost so far",
);
const TOOL: Metric = Metric::histogram(
    "mesh_six_tool_call_duration_seconds",
    &["agent", "tool", "outcome"],
    "How long tool calls took, by outcome: ok, tool_error or timeout; tools that the model made up are one, other",
);

/// All of them.
pub const METRICS: [Metric; 5] = [DURATION, USAGE, TOKENS, COST, TOOL];

/// Buckets that suit no other metric: those that OpenTelemetry's conventions advise, and cents.
pub const BUCKETS: [(&str, &[f64]); 3] = [
    (DURATION.name, &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]),
    (USAGE.name, &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0]),
    (COST.name, &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]),
];

/// Counts one real request; `error` is the kind of error, if it failed.
pub(crate) fn request(
    agent: &str,
    model: &str,
    provider: Provider,
    error: Option<&'static str>,
    duration: Duration,
    usage: &Usage,
) {
    let mut labels = vec![
        ("gen_ai_operation_name", "chat".to_owned()),
        ("gen_ai_provider_name", provider.name.to_owned()),
        ("gen_ai_request_model", model.to_owned()),
        ("gen_ai_agent_name", agent.to_owned()),
    ];
    labels.extend(provider.address.map(|address| ("server_address", address)));
    labels.extend(provider.port.map(|port| ("server_port", port.to_string())));
    let with = |more: Option<(&'static str, &'static str)>| {
        let more = more.map(|(name, value)| (name, value.to_owned()));
        labels.iter().cloned().chain(more).collect::<Vec<_>>()
    };
    histogram!(DURATION.name, &with(error.map(|kind| ("error_type", kind)))).record(duration.as_secs_f64());
    let kinds =
        [("input", usage.input_tokens), ("output", usage.output_tokens), ("cached_input", usage.cached_input_tokens)];
    for (kind, tokens) in kinds {
        let counted = [("agent", agent.to_owned()), ("model", model.to_owned()), ("kind", kind.to_owned())];
        counter!(TOKENS.name, &counted).increment(tokens);
        if tokens > 0 && kind != "cached_input" {
            #[expect(clippy::cast_precision_loss, reason = "a request has far fewer than 2^53 tokens")]
            histogram!(USAGE.name, &with(Some(("gen_ai_token_type", kind)))).record(tokens as f64);
        }
    }
    if let Some(cost) = usage.cost_usd {
        histogram!(COST.name, "agent" => agent.to_owned(), "model" => model.to_owned()).record(cost);
    }
}

/// Counts a tool call; `tool` is its name, if there is such a tool.
pub(crate) fn tool(agent: &str, tool: Option<&str>, outcome: &'static str, duration: Duration) {
    let tool = tool.unwrap_or(OTHER).to_owned();
    histogram!(TOOL.name, "agent" => agent.to_owned(), "tool" => tool, "outcome" => outcome)
        .record(duration.as_secs_f64());
}
