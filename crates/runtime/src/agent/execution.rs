//! Running the handler on one request: within its deadline, traced, and whatever it does, with a result.

use std::{sync::Arc, time::Duration};

use mesh_six_core::{
    ErrorType, EventSink,
    event::catalogue::CallContext,
    span::{set_parent, traceparent_of},
    task::{TaskError, TaskRequest, TaskResult},
};
use mesh_six_llm::{ChatModel, Generator};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, field};

use super::{
    Agent, AgentDefinition, TaskContext,
    metrics::{self, InFlight},
    progress::{Notes, Progress, ToolNotes},
};
/// How long a handler that was told to stop is waited for, so that its last events are known.
const STOPPING: Duration = Duration::from_secs(1);

/// Why a handler is stopped before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// The task was cancelled.
    Cancelled,
    /// The inbox no longer has the request for this process.
    Lost,
    /// The process is ending and its grace period is over.
    GivenUp,
}

/// One request's work as a span.
pub(super) struct Traced {
    span: Span,
    /// What names the span; where no traces are collected, what names its parent.
    pub(super) traceparent: String,
}

/// Everything that a handler needs, for all requests.
pub(super) struct Execution {
    pub(super) agent: Arc<dyn Agent>,
    pub(super) definition: Arc<AgentDefinition>,
    pub(super) model: Arc<dyn ChatModel>,
    pub(super) sink: Arc<dyn EventSink>,
    pub(super) notes: Notes,
    pub(super) capture_content: bool,
    pub(super) max_result_bytes: usize,
}

impl Execution {
    /// The span of working on `request`, a child of the span that `traceparent` names.
    pub(super) fn begin(&self, request: &TaskRequest, traceparent: Option<&str>) -> Traced {
        let agent = &self.definition.app_id;
        let span = tracing::info_span!(
            "agent.task",
            otel.name = format!("invoke_agent {agent}"),
            otel.status_code = field::Empty,
            gen_ai.operation.name = "invoke_agent",
            gen_ai.provider.name = self.model.provider().name,
            gen_ai.agent.id = agent,
            gen_ai.agent.name = agent,
            error.type = field::Empty,
            task.id = %request.id,
            task.attempt = request.attempt,
            task.capability = request.capability,
            trace.id = %request.trace_id,
        );
        let parent = traceparent.map_or_else(|| request.trace_id.to_traceparent(), str::to_owned);
        set_parent(&span, &parent);
        let traceparent = traceparent_of(&span).unwrap_or(parent);
        Traced { span, traceparent }
    }

    /// Answers `request` within `remaining`, or until `interrupt`. `None` if nobody may answer it any more.
    pub(super) async fn run(
        &self,
        traced: Traced,
        request: Arc<TaskRequest>,
        remaining: Duration,
        interrupt: impl Future<Output = Interrupt>,
    ) -> Option<TaskResult> {
        let _in_flight = InFlight::begin(&self.definition.app_id);
        let started = Instant::now();
        let Traced { span, traceparent } = traced;
        let cx = Arc::new(self.context(&request, started + remaining, &traceparent));
        cx.progress("started", Some(json!({"attempt": request.attempt, "capability": request.capability})));

        let mut handler = self.spawn(request.clone(), cx.clone(), span.clone());
        let outcome = tokio::select! {
            done = &mut handler => Ok(done),
            () = tokio::time::sleep_until(cx.deadline) => Err(failed(
                ErrorType::Timeout,
                "the agent did not finish within the attempt's time",
            )),
            reason = interrupt => Err(match reason {
                Interrupt::Cancelled => failed(ErrorType::Cancelled, "the task was cancelled"),
                Interrupt::GivenUp => failed(ErrorType::Unavailable, "the agent is ending and gave the attempt up"),
                Interrupt::Lost => {
                    tracing::warn!(task.id = %request.id, request.attempt, "the inbox lost a running request");
                    return None;
                }
            }),
        };
        let outcome = match outcome {
            Ok(done) => done.unwrap_or_else(|ended| Err(crashed(&ended))),
            Err(stopped) => {
                handler.abort();
                let _ = tokio::time::timeout(STOPPING, handler).await;
                Err(stopped)
            }
        };
        let result = self.result(&request, &cx, outcome, started);
        let status = if result.success { "finished" } else { "failed" };
        let error_type = result.error.as_ref().map(|e| e.error_type);
        if let Some(kind) = error_type {
            span.record("error.type", kind.as_str());
            span.record("otel.status_code", "ERROR");
        }
        cx.progress(status, Some(json!({"durationMs": result.duration_ms, "errorType": error_type})));
        metrics::ended(&result, self.definition.can(&result.capability));
        Some(result)
    }

    /// The failure to answer with when `request` cannot be begun any more.
    pub(super) fn never_begun(&self, request: &TaskRequest) -> TaskResult {
        let given_up = failed(ErrorType::Unavailable, "the agent is ending and never began the attempt");
        TaskResult::new(request, &self.definition.app_id, Err(given_up), 1, mesh_six_core::Usage::default())
    }

    fn context(&self, request: &TaskRequest, deadline: Instant, traceparent: &str) -> TaskContext {
        let agent = &self.definition.app_id;
        let progress = Arc::new(Progress::new(self.notes.clone(), request.id, agent, request.trace_id, traceparent));
        let context = CallContext { trace_id: request.trace_id, agent_id: agent.clone(), task_id: Some(request.id) };
        let sink = Arc::new(ToolNotes::new(self.sink.clone(), progress.clone()));
        let mut generator = Generator::new(self.model.clone(), sink, context, deadline);
        generator.capture_content = self.capture_content;
        generator.traceparent = Some(traceparent.to_owned());
        generator.user_id = Some(user_of(request));
        TaskContext { generator, deadline, trace_id: request.trace_id, agent: self.definition.clone(), progress }
    }

    /// The handler gets a task of its own: a panic ends only that, and a handler that never yields does not keep
    /// the deadline from being noticed.
    fn spawn(
        &self,
        request: Arc<TaskRequest>,
        cx: Arc<TaskContext>,
        span: Span,
    ) -> AbortOnDropHandle<Result<Value, TaskError>> {
        let known = self.definition.can(&request.capability);
        let agent = self.agent.clone();
        let work = async move {
            if !known {
                let message = format!("capability: this agent cannot do {:?}", request.capability);
                return Err(failed(ErrorType::Validation, &message));
            }
            agent.handle(&request, &cx).await
        };
        AbortOnDropHandle::new(tokio::spawn(work.instrument(span)))
    }

    fn result(
        &self,
        request: &TaskRequest,
        cx: &TaskContext,
        outcome: Result<Value, TaskError>,
        started: Instant,
    ) -> TaskResult {
        let outcome = outcome.and_then(|value| match value.to_string().len() {
            length if length > self.max_result_bytes => Err(failed(
                ErrorType::PayloadTooLarge,
                &format!("the answer has {length} bytes, but at most {} can be kept", self.max_result_bytes),
            )),
            _ => Ok(value),
        });
        let took = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX).max(1);
        TaskResult::new(request, &self.definition.app_id, outcome, took, cx.generator.usage())
    }
}

/// Whose task it is (services.md §2).
fn user_of(request: &TaskRequest) -> String {
    let in_payload = request.payload.get("userId").and_then(Value::as_str).map(str::to_owned);
    request.user_id.clone().or(in_payload).unwrap_or_else(|| request.requested_by.clone())
}

fn failed(error_type: ErrorType, message: &str) -> TaskError {
    TaskError { error_type, message: message.to_owned() }
}

/// The panic's message may hold data; the process's panic hook logs it with its place.
fn crashed(ended: &tokio::task::JoinError) -> TaskError {
    let what = if ended.is_panic() { "the agent's handler panicked" } else { "the agent's handler was stopped" };
    failed(ErrorType::Unhandled, what)
}
