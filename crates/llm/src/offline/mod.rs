//! The model of a machine that has none: always the same answer to the same question, and it says what it is.

mod example;
mod merge;
mod pattern;
mod scalar;

use async_trait::async_trait;
use mesh_six_core::Usage;

use crate::{ChatModel, ChatRequest, ChatResponse, LlmError, Provider, Role, text};

/// What every answer says.
const NOTICE: &str = "No model is configured, so this is the offline model. Set LITELLM_BASE_URL, or start with \
                      --llm-url URL --model NAME, to get real answers.";

/// Answers without a model. Text says that none is configured and what to set; a structured answer satisfies its
/// schema, and its free texts say the same. It never asks for tools. Tokens are counted as characters / 4.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfflineModel;

#[async_trait]
impl ChatModel for OfflineModel {
    fn name(&self) -> &'static str {
        "offline"
    }

    fn provider(&self) -> Provider {
        Provider { name: "mesh-six", address: None, port: None }
    }

    async fn chat(&self, request: &ChatRequest) -> Result<ChatResponse, LlmError> {
        let content = match &request.response_schema {
            Some(form) => example::example(&form.schema, NOTICE)
                .ok_or_else(|| LlmError::SchemaViolation {
                    violation: format!("the offline model finds no value for the schema {}", form.name),
                })?
                .to_string(),
            None => format!("{NOTICE} The question has {} characters.", question_length(request)),
        };
        let read = request.messages.iter().map(|m| text::chars(&m.content)).sum();
        Ok(ChatResponse {
            usage: Usage {
                input_tokens: text::tokens(read),
                output_tokens: text::tokens(text::chars(&content)),
                requests: 1,
                ..Usage::default()
            },
            content,
            finish_reason: "stop".to_owned(),
            model: self.name().to_owned(),
            ..ChatResponse::default()
        })
    }
}

fn question_length(request: &ChatRequest) -> usize {
    request.messages.iter().rev().find(|m| m.role == Role::User).map_or(0, |m| text::chars(&m.content))
}
