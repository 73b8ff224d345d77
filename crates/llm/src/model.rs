//! One request to a model, in our own words.

use std::time::Duration;

use async_trait::async_trait;
use mesh_six_core::Usage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{LlmError, ToolSpec};

/// A language model that can be asked.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// The model that is asked for, as it stands in events and metrics.
    fn name(&self) -> &str;

    /// Who answers, for spans.
    fn provider(&self) -> Provider;

    /// Makes exactly one real request: no retry, no redirect, no second endpoint. Ends within the request's
    /// timeout.
    async fn chat(&self, request: &ChatRequest) -> Result<ChatResponse, LlmError>;
}

/// Who answers, in the words of the OpenTelemetry conventions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// `gen_ai.provider.name`.
    pub name: &'static str,
    /// `server.address`: the host, without scheme, path or credentials.
    pub address: Option<String>,
    /// `server.port`.
    pub port: Option<u16>,
}

/// What the model is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools that the model may ask for.
    pub tools: Vec<ToolSpec>,
    /// The form that the answer must have, for a structured answer.
    pub response_schema: Option<ResponseSchema>,
    /// How long this one request may take.
    pub timeout: Duration,
    /// W3C trace context for the endpoint.
    pub traceparent: Option<String>,
}

/// A JSON schema with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseSchema {
    /// 1 to 64 of `a-z A-Z 0-9 _ -`; the wire allows no more.
    pub name: String,
    /// The schema.
    pub schema: Value,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The agent's standing instructions.
    System,
    /// The task.
    User,
    /// The model.
    Assistant,
    /// A tool's output.
    Tool,
}

/// One turn of the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text.
    pub content: String,
    /// Tools that the model asked for in this turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// For a tool's output: which call it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl Message {
    fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), tool_calls: Vec::new(), tool_call_id: None }
    }

    /// Standing instructions.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content)
    }

    /// The task.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// What the model said.
    pub fn assistant(content: impl Into<String>, tool_calls: Vec<ToolCall>) -> Self {
        Self { tool_calls, ..Self::new(Role::Assistant, content) }
    }

    /// The output of the tool call `id`.
    pub fn tool(id: impl Into<String>, content: impl Into<String>) -> Self {
        Self { tool_call_id: Some(id.into()), ..Self::new(Role::Tool, content) }
    }
}

/// A tool that the model wants to have run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Joins call and output.
    pub id: String,
    /// The tool's name, as the model wrote it.
    pub name: String,
    /// Its arguments; a JSON string holding the raw text where that was not JSON.
    pub arguments: Value,
}

/// What the model answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatResponse {
    /// The text; empty where the model only asks for tools.
    pub content: String,
    /// Tools that it asks for.
    pub tool_calls: Vec<ToolCall>,
    /// `stop`, `length`, `tool_calls`, ...
    pub finish_reason: String,
    /// The model that answered.
    pub model: String,
    /// The provider's id of the response.
    pub response_id: Option<String>,
    /// Tokens and cost of this request; `requests` is 1.
    pub usage: Usage,
}
