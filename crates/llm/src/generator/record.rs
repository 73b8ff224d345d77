//! One real request on the record: its two events, its span, its metrics, its usage.

use std::time::Duration;

use mesh_six_core::{
    Event, Usage,
    event::{
        Content,
        catalogue::{LlmCall, LlmResponse, llm_call, llm_response},
    },
    id::new_id,
    span::traceparent_of,
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span, field, info_span};

use super::Generator;
use crate::{ChatRequest, ChatResponse, LlmError, Message, Role, metrics, text};

impl Generator {
    /// Exactly one real request.
    pub(super) async fn request_once(
        &self,
        request: &mut ChatRequest,
        step: u32,
        attempt: u32,
    ) -> Result<ChatResponse, LlmError> {
        let record = Record::begin(self, request, step, attempt);
        let around = || self.traceparent.clone().unwrap_or_else(|| self.context.trace_id.to_traceparent());
        request.traceparent = Some(traceparent_of(&record.span).unwrap_or_else(around));
        let answer = self.model.chat(request).instrument(record.span.clone());
        // A model that does not keep its time must not take the task's.
        let outcome = match timeout(request.timeout, answer).await {
            Ok(outcome) => outcome,
            Err(_) => Err(LlmError::Timeout { after: request.timeout }),
        };
        record.end(&outcome);
        outcome
    }

    /// Hands `event` over, with its content where the operator opted in.
    pub(super) fn send(&self, event: Event, kind: &'static str, content: impl FnOnce() -> String) {
        self.sink.send(if self.capture_content {
            event.with_content(Content { kind, user_id: self.user_id.clone(), text: content() })
        } else {
            event
        });
    }
}

/// A request under way. Dropped before its end, because the caller gave up, it still writes its response event.
struct Record<'a> {
    generator: &'a Generator,
    call: LlmCall,
    started: Instant,
    span: Span,
    ended: bool,
}

impl<'a> Record<'a> {
    fn begin(generator: &'a Generator, request: &ChatRequest, step: u32, attempt: u32) -> Self {
        let length = |system: bool| {
            let of_side = request.messages.iter().filter(|m| (m.role == Role::System) == system);
            of_side.map(|m| text::chars(&m.content)).sum()
        };
        let call = LlmCall {
            call_id: new_id(),
            model: generator.model.name().to_owned(),
            system_prompt_length: length(true),
            prompt_length: length(false),
            message_count: request.messages.len(),
            tool_count: request.tools.len(),
            attempt,
            step,
            structured: request.response_schema.is_some(),
        };
        let span = span(generator, &call);
        generator.send(llm_call(&generator.context, &call), "prompt", || conversation(&request.messages));
        Self { generator, call, started: Instant::now(), span, ended: false }
    }

    fn end(mut self, outcome: &Result<ChatResponse, LlmError>) {
        match outcome {
            Ok(answer) => self.answered(answer),
            Err(error) => self.failed(error.kind(), &error.to_string(), error.status()),
        }
    }

    fn answered(&mut self, answer: &ChatResponse) {
        let response = LlmResponse {
            model: if answer.model.is_empty() { self.call.model.clone() } else { answer.model.clone() },
            response_length: text::chars(&answer.content),
            tool_call_count: answer.tool_calls.len(),
            finish_reason: answer.finish_reason.clone(),
            usage: answer.usage,
            response_id: answer.response_id.clone(),
            ..self.response()
        };
        self.span.record("gen_ai.response.model", &response.model);
        self.span.record("gen_ai.response.id", response.response_id.as_deref());
        self.span.record("gen_ai.response.finish_reasons", &response.finish_reason);
        self.span.record("gen_ai.usage.input_tokens", response.usage.input_tokens);
        self.span.record("gen_ai.usage.output_tokens", response.usage.output_tokens);
        self.span.record("gen_ai.usage.cache_read.input_tokens", response.usage.cached_input_tokens);
        self.span.record("mesh_six.cost_usd", response.usage.cost_usd);
        self.write(&response, None, || conversation(&[Message::assistant(&answer.content, answer.tool_calls.clone())]));
    }

    fn failed(&mut self, kind: &'static str, message: &str, status: Option<u16>) {
        let mut error = json!({"type": kind, "message": message});
        if let Some(status) = status {
            error["status"] = Value::from(status);
        }
        self.span.record("error.type", kind);
        self.span.record("otel.status_code", "ERROR");
        let response = LlmResponse {
            finish_reason: "error".to_owned(),
            usage: Usage { requests: 1, ..Usage::default() },
            error: Some(error),
            ..self.response()
        };
        self.write(&response, Some(kind), || message.to_owned());
    }

    /// What call and response have in common.
    fn response(&self) -> LlmResponse {
        LlmResponse {
            call_id: self.call.call_id,
            model: self.call.model.clone(),
            duration_ms: millis(self.started.elapsed()),
            attempt: self.call.attempt,
            step: self.call.step,
            structured: self.call.structured,
            ..LlmResponse::default()
        }
    }

    fn write(&mut self, response: &LlmResponse, error: Option<&'static str>, content: impl FnOnce() -> String) {
        self.ended = true;
        let agent = &self.generator.context.agent_id;
        let provider = self.generator.model.provider();
        metrics::request(agent, &self.call.model, provider, error, self.started.elapsed(), &response.usage);
        self.generator.usage.add(response.usage);
        self.generator.send(llm_response(&self.generator.context, response), "response", content);
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.failed("cancelled", "the caller gave up before the model answered", None);
        }
    }
}

/// A span by the OpenTelemetry conventions for model calls; prompts and answers stay out of it.
fn span(generator: &Generator, call: &LlmCall) -> Span {
    let provider = generator.model.provider();
    info_span!(
        "chat",
        otel.name = format!("chat {}", call.model),
        otel.kind = "client",
        otel.status_code = field::Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider.name,
        gen_ai.request.model = call.model,
        gen_ai.agent.name = generator.context.agent_id,
        gen_ai.response.id = field::Empty,
        gen_ai.response.model = field::Empty,
        gen_ai.response.finish_reasons = field::Empty,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
        gen_ai.usage.cache_read.input_tokens = field::Empty,
        mesh_six.cost_usd = field::Empty,
        server.address = provider.address,
        server.port = provider.port,
        error.type = field::Empty,
        task.id = generator.context.task_id.map(field::display),
        llm.call_id = %call.call_id,
        llm.attempt = call.attempt,
        llm.step = call.step,
    )
}

/// Messages as content is kept: JSON.
fn conversation(messages: &[Message]) -> String {
    serde_json::to_string(messages).unwrap_or_default()
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
