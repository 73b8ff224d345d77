//! What an agent uses to think: prompts in, answers out, every request on the record.

mod record;
mod retry;
mod structured;
mod tools;
mod usage;

use std::sync::Arc;

use mesh_six_core::{EventSink, Usage, event::catalogue::CallContext};
use tokio::time::Instant;

use crate::{ChatModel, ChatRequest, LlmError, Message, Tool};
pub use retry::RetryPolicy;
use tools::Toolbox;
pub use usage::UsageCounter;

/// Makes model requests for one task, inside the task's time.
///
/// Each real request, retries included, gives one `llm.call` before and one `llm.response` after it, also where
/// it fails or its caller gives up; each tool call gives `tool.invocation` and `tool.result`.
#[derive(Clone)]
pub struct Generator {
    /// Who is asked.
    pub model: Arc<dyn ChatModel>,
    /// Where the events go.
    pub sink: Arc<dyn EventSink>,
    /// Whose requests these are.
    pub context: CallContext,
    /// When the task's time is up; nothing goes on after it.
    pub deadline: Instant,
    /// Whether prompts and answers are kept beside the log. Off unless the operator opted in.
    pub capture_content: bool,
    /// Whose content it is, for erasure by user.
    pub user_id: Option<String>,
    /// What names the work in its trace, for requests where no traces are collected; with none a new one.
    pub traceparent: Option<String>,
    /// How often and how patiently a failed request is repeated.
    pub retry: RetryPolicy,
    /// What all requests used; clones of this generator share it.
    pub usage: UsageCounter,
}

/// What the model is asked.
#[derive(Clone, Default)]
pub struct Prompt {
    /// Standing instructions.
    pub system: String,
    /// The task.
    pub user: String,
    /// What the model may do.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Model requests (retries not counted) that may be made until the answer; at least 1.
    pub max_steps: u32,
}

/// A free-text answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub content: String,
    /// Steps it took.
    pub steps: u32,
    /// `stop`, or `length` where the answer was cut off by the model's own limit.
    pub finish_reason: String,
}

impl Generator {
    /// A generator that keeps no content and retries as usual.
    pub fn new(model: Arc<dyn ChatModel>, sink: Arc<dyn EventSink>, context: CallContext, deadline: Instant) -> Self {
        Self {
            model,
            sink,
            context,
            deadline,
            capture_content: false,
            user_id: None,
            traceparent: None,
            retry: RetryPolicy::default(),
            usage: UsageCounter::default(),
        }
    }

    /// What all requests so far used, failed ones included.
    pub fn usage(&self) -> Usage {
        self.usage.get()
    }

    /// Asks, runs the tools that the model asks for, feeds their output back, and so on until it answers.
    pub async fn text(&self, prompt: Prompt) -> Result<Text, LlmError> {
        let toolbox = Toolbox::new(prompt.tools)?;
        let max_steps = prompt.max_steps.max(1);
        let mut request = self.request(prompt.system, prompt.user);
        request.tools = toolbox.specs();
        for step in 1..=max_steps {
            let answer = self.ask(&mut request, step).await?;
            if answer.tool_calls.is_empty() {
                return Ok(Text { content: answer.content, steps: step, finish_reason: answer.finish_reason });
            }
            if step < max_steps {
                let outputs = self.run_tools(&toolbox, &answer.tool_calls).await?;
                request.messages.push(Message::assistant(answer.content, answer.tool_calls));
                request.messages.extend(outputs);
            }
        }
        Err(LlmError::StepLimit { steps: max_steps })
    }

    fn request(&self, system: String, user: String) -> ChatRequest {
        let mut messages = Vec::with_capacity(2);
        if !system.is_empty() {
            messages.push(Message::system(system));
        }
        messages.push(Message::user(user));
        ChatRequest {
            messages,
            tools: Vec::new(),
            response_schema: None,
            timeout: self.retry.request_timeout,
            traceparent: None,
        }
    }
}
