//! What model requests used: tokens and money.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Tokens and cost of one or more model requests.
///
/// Cached tokens are part of `input_tokens`, as in the OpenTelemetry GenAI conventions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Tokens written, reasoning included.
    pub output_tokens: u64,
    /// Tokens read from the provider's cache.
    pub cached_input_tokens: u64,
    /// Cost in US dollars; absent if no request told its cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// How many real model requests this sums up, failed ones included.
    pub requests: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        // Saturating, since the numbers come from providers and from the log and must not end a reader.
        self.input_tokens = self.input_tokens.saturating_add(more.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(more.output_tokens);
        self.cached_input_tokens = self.cached_input_tokens.saturating_add(more.cached_input_tokens);
        self.requests = self.requests.saturating_add(more.requests);
        self.cost_usd = match (self.cost_usd, more.cost_usd) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        };
    }
}
