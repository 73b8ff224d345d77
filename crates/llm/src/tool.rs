//! What an agent lets the model do.

use async_trait::async_trait;
use serde_json::Value;

/// Characters of a tool's output that the model gets to see (3,000 tokens by the rule of four).
pub const MAX_TOOL_OUTPUT_CHARS: usize = 12_000;

/// Something that the model may ask for.
#[async_trait]
pub trait Tool: Send + Sync {
    /// What the model is told about it.
    fn spec(&self) -> ToolSpec;

    /// Runs it. The arguments have been checked against [`ToolSpec::parameters`]. It may be dropped halfway,
    /// at the task's deadline.
    async fn call(&self, arguments: Value) -> Result<Value, ToolError>;
}

/// A tool as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// 1 to 64 of `a-z A-Z 0-9 _ -`.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// JSON schema of the arguments, of type object.
    pub parameters: Value,
    /// Whether it changes nothing, so that several calls may run at once.
    pub read_only: bool,
}

/// Why a tool failed. The message is fed back to the model and stands in `tool.result`: one sentence, without
/// secrets, upstream bodies or the model's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ToolError(pub String);
