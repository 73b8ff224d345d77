//! `POST /invoke`: one request answered directly, without the queue.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use mesh_six_core::{
    ApiError, ErrorType, TraceId, Validate,
    id::new_id,
    names::MAX_MESSAGE_BYTES,
    task::{Payload, TaskRequest, TaskResult, default_priority, default_timeout},
    time,
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::execution::{Execution, Interrupt};
use crate::http::{HealthState, HttpError, RequestTrace, ValidJson};

/// Who asked, where the caller does not say.
const ANONYMOUS: &str = "invoke";

/// Calls that wait at most, for each request that the agent works on at once; one more is told that it is busy. Each
/// may wait as long as its timeout, and none of them goes by priority as the inbox does.
const WAITING_PER_SLOT: usize = 2;

/// What `/invoke` needs.
#[derive(Clone)]
pub(super) struct Invoke {
    pub(super) execution: Arc<Execution>,
    /// One permit for each request in work, the inbox's included.
    pub(super) slots: Arc<Semaphore>,
    pub(super) places: Places,
    pub(super) health: HealthState,
    /// The calls in work.
    pub(super) in_work: TaskTracker,
    /// Calls in work are to be given up.
    pub(super) give_up: CancellationToken,
}

/// How many callers `/invoke` bears.
#[derive(Clone)]
pub(super) struct Places {
    /// One permit for each call in work: where there is more than one slot, one is left to the inbox, so that its
    /// most urgent request never waits for callers alone.
    working: Arc<Semaphore>,
    /// One permit for each call that works or waits. Those that wait are not counted on their own: while the worker
    /// looks for requests it holds every free slot, and a call at that moment is not one too many.
    taken: Arc<Semaphore>,
}

impl Places {
    /// For an agent with `slots`.
    pub(super) fn new(slots: usize) -> Self {
        let slots = slots.clamp(1, Semaphore::MAX_PERMITS / (WAITING_PER_SLOT + 1));
        let working = slots.saturating_sub(1).max(1);
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits));
        Self { working: semaphore(working), taken: semaphore(working + WAITING_PER_SLOT * slots) }
    }
}

/// The route.
pub(super) fn router(invoke: Invoke) -> Router {
    Router::new().route("/invoke", post(answer)).with_state(invoke)
}

/// A task's request of which nearly everything may be left out. Ids are ours: the caller's comes back as
/// `requestId`, and its attempt and time are of no use here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvokeRequest {
    id: Option<String>,
    capability: Option<String>,
    #[serde(default)]
    payload: Payload,
    #[serde(default = "default_priority")]
    priority: i32,
    #[serde(default = "default_timeout")]
    timeout: i32,
    requested_by: Option<String>,
    user_id: Option<String>,
    trace_id: Option<TraceId>,
}

impl Validate for InvokeRequest {
    fn validate(&self) -> Result<(), ApiError> {
        if self.id.as_ref().is_some_and(|id| id.len() > 128) {
            return Err(ApiError::validation("id", "at most 128 bytes"));
        }
        let length = serde_json::to_string(&self.payload).map_or(0, |text| text.len());
        if length > MAX_MESSAGE_BYTES {
            let message = format!("the payload has {length} bytes, but at most {MAX_MESSAGE_BYTES} are taken");
            return Err(ApiError {
                field: Some("payload".to_owned()),
                ..ApiError::new(ErrorType::PayloadTooLarge, message)
            });
        }
        Ok(())
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InvokeAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(flatten)]
    result: TaskResult,
}

async fn answer(
    State(invoke): State<Invoke>,
    trace: RequestTrace,
    ValidJson(body): ValidJson<InvokeRequest>,
) -> Result<Response, HttpError> {
    if invoke.health.is_draining() {
        return Err(ApiError::unavailable("the agent is ending").into());
    }
    let definition = &invoke.execution.definition;
    let first = definition.capabilities.first().map_or("", |c| c.name.as_str());
    let request = TaskRequest {
        id: new_id(),
        capability: body.capability.unwrap_or_else(|| first.to_owned()),
        payload: body.payload,
        priority: body.priority,
        timeout: body.timeout,
        requested_by: body.requested_by.unwrap_or_else(|| ANONYMOUS.to_owned()),
        created_at: time::now(),
        trace_id: body.trace_id.unwrap_or(trace.trace_id),
        attempt: 1,
        user_id: body.user_id,
    };
    request.validate()?;
    if !definition.can(&request.capability) {
        let message = format!("this agent cannot do {:?}", request.capability);
        return Err(ApiError::validation("capability", message).into());
    }
    let _in_work = invoke.in_work.token();
    let deadline = Instant::now() + Duration::from_secs(u64::try_from(request.timeout).unwrap_or(0));
    let busy = || ApiError::unavailable("the agent is busy with other requests");
    let _place = invoke.places.taken.try_acquire().map_err(|_| busy())?;
    let turn = async { (invoke.places.working.acquire().await, invoke.slots.acquire().await) };
    let _turn = tokio::time::timeout_at(deadline, turn).await.map_err(|_| busy())?;
    let interrupt = async {
        invoke.give_up.cancelled().await;
        Interrupt::GivenUp
    };
    let remaining = deadline.saturating_duration_since(Instant::now());
    let around = (request.trace_id == trace.trace_id).then_some(trace.traceparent.as_str());
    let traced = invoke.execution.begin(&request, around);
    let result = invoke.execution.run(traced, Arc::new(request), remaining, interrupt).await;
    let result = result.ok_or_else(|| ApiError::unhandled("the request was lost"))?;
    let status = result.error.as_ref().map_or(200, |error| error.error_type.http_status());
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok((status, Json(InvokeAnswer { request_id: body.id, result })).into_response())
}
