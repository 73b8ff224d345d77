//! Running the tools that the model asks for.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt, stream};
use mesh_six_core::event::catalogue::{tool_invocation, tool_result};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, field, info_span};

use super::{Generator, record::millis};
use crate::{
    LlmError, Message, Tool, ToolCall, ToolError, ToolSpec, metrics, schema::Checker, text, tool::MAX_TOOL_OUTPUT_CHARS,
};

/// Tool calls of one answer that are run; the model is told that the others were not.
const MAX_CALLS: usize = 32;
/// Read-only calls that run at once.
const MAX_PARALLEL: usize = 8;
/// Longest tool name and error in an event, in characters.
const MAX_NAME: usize = 64;
const MAX_ERROR: usize = 300;

/// The tools of one prompt, their schemas made ready.
pub(super) struct Toolbox(BTreeMap<String, Entry>);

struct Entry {
    tool: Arc<dyn Tool>,
    spec: ToolSpec,
    checker: Checker,
}

impl Toolbox {
    pub(super) fn new(tools: Vec<Arc<dyn Tool>>) -> Result<Self, LlmError> {
        let entry = |tool: Arc<dyn Tool>| {
            let spec = tool.spec();
            let checker = Checker::new(&spec.name, &spec.parameters)?;
            Ok((spec.name.clone(), Entry { tool, spec, checker }))
        };
        tools.into_iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        self.0.values().map(|entry| entry.spec.clone()).collect()
    }

    fn is_read_only(&self, call: &ToolCall) -> bool {
        self.0.get(&call.name).is_none_or(|entry| entry.spec.read_only)
    }
}

/// Why a call gave nothing, in two voices.
struct Failure {
    /// For the model.
    told: String,
    /// For the event: nothing that the model wrote.
    recorded: String,
}

impl Generator {
    /// Runs `calls` and gives their outputs in the same order. Calls that only read run together; one that
    /// writes runs alone, after those before it and before those after it.
    pub(super) async fn run_tools(&self, toolbox: &Toolbox, calls: &[ToolCall]) -> Result<Vec<Message>, LlmError> {
        let (run, refused) = calls.split_at(calls.len().min(MAX_CALLS));
        let mut outputs = Vec::with_capacity(calls.len());
        for group in run.chunk_by(|a, b| toolbox.is_read_only(a) && toolbox.is_read_only(b)) {
            // Collected first: a closure over borrowed calls, kept across an await, is not Send for every lifetime.
            let runs: Vec<_> = group.iter().map(|call| self.run_tool(toolbox, call)).collect();
            let mut together = stream::iter(runs).buffered(MAX_PARALLEL);
            while let Some(output) = together.next().await {
                outputs.push(output?);
            }
        }
        let many = format!("error: not run, because one answer may ask for at most {MAX_CALLS} tools");
        outputs.extend(refused.iter().map(|call| Message::tool(&call.id, &many)));
        Ok(outputs)
    }

    async fn run_tool(&self, toolbox: &Toolbox, call: &ToolCall) -> Result<Message, LlmError> {
        let entry = toolbox.0.get(&call.name);
        let name = text::word(&call.name, MAX_NAME);
        let id = text::word(&call.id, MAX_NAME);
        let span = info_span!(
            "execute_tool",
            otel.name = format!("execute_tool {name}"),
            otel.status_code = field::Empty,
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = name,
            gen_ai.tool.call.id = id,
            gen_ai.tool.r#type = "function",
            error.type = field::Empty,
        );
        let started = Instant::now();
        let invocation = tool_invocation(&self.context, &id, &name, &summary(entry, &call.arguments));
        self.send(invocation, "tool_input", || call.arguments.to_string());

        let outcome = timeout_at(self.deadline, execute(entry, call)).instrument(span.clone()).await;
        let duration = millis(started.elapsed());
        let result = |error: Option<&str>| tool_result(&self.context, &id, &name, error, duration);
        let counted = |outcome| {
            let known = entry.map(|entry| entry.spec.name.as_str());
            metrics::tool(&self.context.agent_id, known, outcome, started.elapsed());
        };
        let failed = |kind: &'static str| {
            counted(kind);
            span.record("error.type", kind);
            span.record("otel.status_code", "ERROR");
        };
        let output = match outcome {
            Ok(Ok(value)) => {
                counted("ok");
                let output = text::cut(shown(value), MAX_TOOL_OUTPUT_CHARS);
                self.send(result(None), "tool_output", || output.clone());
                output
            }
            Ok(Err(failure)) => {
                failed("tool_error");
                self.send(result(Some(&failure.recorded)), "tool_output", || failure.told.clone());
                text::cut(format!("error: {}", failure.told), MAX_TOOL_OUTPUT_CHARS)
            }
            Err(_) => {
                failed("timeout");
                self.sink.send(result(Some("the task's time was up")));
                return Err(LlmError::Timeout { after: started.elapsed() });
            }
        };
        Ok(Message::tool(&call.id, output))
    }
}

async fn execute(entry: Option<&Entry>, call: &ToolCall) -> Result<Value, Failure> {
    let Some(entry) = entry else {
        return Err(Failure { told: "there is no such tool".to_owned(), recorded: "unknown tool".to_owned() });
    };
    entry.checker.check(&call.arguments).map_err(|violation| Failure {
        told: format!("the arguments do not fit the tool's schema:\n{}", violation.for_model),
        recorded: "the arguments do not fit the tool's schema".to_owned(),
    })?;
    entry
        .tool
        .call(call.arguments.clone())
        .await
        .map_err(|ToolError(message)| Failure { recorded: text::word(&message, MAX_ERROR), told: message })
}

/// A text as it is, anything else as JSON.
fn shown(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Which arguments were given and of what sort: names from the tool's schema, no values, since the model may
/// have copied the prompt into them.
fn summary(entry: Option<&Entry>, arguments: &Value) -> String {
    let Value::Object(arguments) = arguments else { return sort(arguments) };
    let known = entry.and_then(|entry| entry.spec.parameters.get("properties")).and_then(Value::as_object);
    let (known, unknown): (Vec<_>, Vec<_>) =
        arguments.iter().partition(|(name, _)| known.is_some_and(|known| known.contains_key(*name)));
    let mut parts: Vec<String> = known.into_iter().map(|(name, value)| format!("{name}: {}", sort(value))).collect();
    if !unknown.is_empty() {
        parts.push(format!("{} unknown", unknown.len()));
    }
    parts.join(", ")
}

fn sort(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(text) => format!("text of {} characters", text::chars(text)),
        Value::Array(items) => format!("list of {}", items.len()),
        Value::Object(fields) => format!("object of {}", fields.len()),
    }
}
