//! The port to language models: a trait for one request, adapters for it, and traced generation on top.
//!
//! - [`ChatModel`] makes exactly one real request. [`OpenAiModel`] speaks to any OpenAI-compatible endpoint;
//!   [`OfflineModel`] answers without one, always the same, and says so. [`model_from_config`] chooses.
//! - [`Generator`] is what an agent uses: text with tools, structured answers, retries inside a deadline, and
//!   one `llm.call` and one `llm.response` event for each real request, with tokens, cost and duration.
//!
//! Prompts and answers never go into logs, spans or events. Where an operator opts in, they go beside the log
//! as [`Content`](mesh_six_core::event::Content).
//!
//! This is the only crate that knows the chat-completions format. Errors are [`LlmError`]s, because callers
//! match on their kind.

mod config;
mod error;
mod generator;
pub mod metrics;
mod model;
mod offline;
mod openai;
mod schema;
mod text;
mod tool;

pub use config::{ConfigError, DEFAULT_MODEL, LlmConfig, model_from_config};
pub use error::LlmError;
pub use generator::{Generator, Prompt, RetryPolicy, Text, UsageCounter};
pub use model::{ChatModel, ChatRequest, ChatResponse, Message, Provider, ResponseSchema, Role, ToolCall};
pub use offline::OfflineModel;
pub use openai::OpenAiModel;
pub use tool::{MAX_TOOL_OUTPUT_CHARS, Tool, ToolError, ToolSpec};
