//! What the stub model can answer.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

/// One tool that the model asks for.
#[derive(Debug, Clone)]
pub struct ToolRequest {
    /// The tool's name.
    pub name: String,
    /// Its arguments.
    pub arguments: Value,
}

/// One answer of the stub model.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A plain answer.
    Text(String),
    /// A request to run tools, all in one message.
    Tools(Vec<ToolRequest>),
    /// An error answer.
    Status {
        /// The HTTP status, such as 429 or 500.
        code: u16,
        /// Seconds in the `Retry-After` header.
        retry_after: Option<u32>,
    },
    /// Status 200 with a body that is no JSON.
    Garbage,
    /// No answer, ever.
    Hang,
    /// Another reply, after some time.
    After(Duration, Box<Reply>),
    /// Another reply, once this is true; none if it never will be.
    When(watch::Receiver<bool>, Box<Reply>),
    /// Another reply, with what it cost in US dollars, as `LiteLLM` tells it.
    Costing(f64, Box<Reply>),
}

impl Reply {
    /// A plain answer.
    pub fn text(content: impl Into<String>) -> Self {
        Self::Text(content.into())
    }

    /// A structured answer: the object as text, as models give it. It need not satisfy the schema that was asked for.
    pub fn json(object: &Value) -> Self {
        Self::Text(object.to_string())
    }

    /// A request to run one tool.
    pub fn tool(name: impl Into<String>, arguments: Value) -> Self {
        Self::Tools(vec![ToolRequest { name: name.into(), arguments }])
    }

    /// An error answer without `Retry-After`.
    pub fn status(code: u16) -> Self {
        Self::Status { code, retry_after: None }
    }

    /// This reply, with its cost in US dollars.
    #[must_use]
    pub fn costing(self, dollars: f64) -> Self {
        Self::Costing(dollars, Box::new(self))
    }

    /// This reply, but later.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }

    /// This reply, but not before `open` is true.
    #[must_use]
    pub fn when(self, open: watch::Receiver<bool>) -> Self {
        Self::When(open, Box::new(self))
    }
}

pub(super) fn tool_message(tools: &[ToolRequest]) -> Value {
    let calls: Vec<Value> = tools
        .iter()
        .enumerate()
        .map(|(index, tool)| {
            let function = json!({"name": tool.name, "arguments": tool.arguments.to_string()});
            json!({"id": format!("call_{index}"), "type": "function", "function": function})
        })
        .collect();
    json!({"role": "assistant", "content": null, "tool_calls": calls})
}

/// The words of all texts in a message or a list of messages: the stub's tokens.
pub(super) fn words(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.split_whitespace().count() as u64,
        Value::Array(items) => items.iter().map(words).sum(),
        Value::Object(fields) => fields.iter().filter(|(name, _)| *name != "role").map(|(_, value)| words(value)).sum(),
        _ => 0,
    }
}
