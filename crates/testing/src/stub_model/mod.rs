//! An OpenAI-compatible server whose answers a test scripts.

mod reply;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

pub use self::reply::{Reply, ToolRequest};
use crate::wait::wait_until;

/// One request that the stub received.
#[derive(Debug, Clone)]
pub struct Call {
    /// The request's body.
    pub body: Value,
    /// The request's headers.
    pub headers: HeaderMap,
    /// When it came.
    pub at: Instant,
}

impl Call {
    /// The text of the last message of this role, such as `user` or `tool`.
    pub fn last(&self, role: &str) -> Option<&str> {
        let messages = self.body["messages"].as_array()?;
        messages.iter().rev().find(|message| message["role"] == role)?["content"].as_str()
    }
}

type Answer = dyn Fn(&Call) -> Reply + Send + Sync;

#[derive(Default)]
struct Script {
    next: VecDeque<Reply>,
    always: Option<Arc<Answer>>,
    calls: Vec<Call>,
    input_tokens: u64,
    output_tokens: u64,
}

type Shared = Arc<Mutex<Script>>;

/// An OpenAI-compatible server on a free port. It gives the scripted replies in order, then the standing one. Its
/// token counts are the words of messages and answers, so they are known in advance. It ends when it is dropped.
pub struct StubModel {
    url: String,
    script: Shared,
    server: JoinHandle<()>,
}

impl StubModel {
    /// Starts it with `stub answer` as the standing reply.
    pub async fn start() -> Self {
        let script = Shared::default();
        let routes = Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/models", get(models))
            .with_state(Arc::clone(&script));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let bound = listener.and_then(|listener| listener.local_addr().map(|address| (listener, address)));
        let (listener, address) = bound.unwrap_or_else(|error| panic!("no port for the stub model: {error}"));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                eprintln!("the stub model ended: {error}");
            }
        });
        Self { url: format!("http://{address}/v1"), script, server }
    }

    /// The base URL, as given in `LLM_BASE_URL` or `--llm-url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds replies, given once each, in this order.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.lock().next.extend(replies);
    }

    /// The standing reply, given whenever the script is empty.
    pub fn always(&self, reply: Reply) {
        self.answer_with(move |_| reply.clone());
    }

    /// Works the standing reply out from the request; called in the order in which requests come.
    pub fn answer_with(&self, answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) {
        self.lock().always = Some(Arc::new(answer));
    }

    /// All requests so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// Waits until this many requests have come.
    pub async fn wait_for_calls(&self, count: usize, within: Duration) {
        wait_until(within, async || self.lock().calls.len() >= count).await;
    }

    /// Input and output tokens of all answers given so far.
    pub fn tokens(&self) -> (u64, u64) {
        let script = self.lock();
        (script.input_tokens, script.output_tokens)
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }
}

impl Drop for StubModel {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A test that failed while it held the lock has its own message already.
fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn models() -> Json<Value> {
    Json(json!({"object": "list", "data": [{"id": "stub-model", "object": "model", "owned_by": "tests"}]}))
}

async fn chat(State(script): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let call = Call { body, headers, at: Instant::now() };
    let mut reply = {
        let mut script = lock(&script);
        script.calls.push(call.clone());
        match (script.next.pop_front(), script.always.clone()) {
            (Some(reply), _) => reply,
            (None, Some(answer)) => answer(&call),
            (None, None) => Reply::text("stub answer"),
        }
    };
    let mut cost = None;
    loop {
        reply = match reply {
            Reply::After(delay, then) => {
                tokio::time::sleep(delay).await;
                *then
            }
            Reply::When(mut open, then) => match open.wait_for(|open| *open).await {
                Ok(_) => *then,
                Err(_) => Reply::Hang,
            },
            Reply::Costing(dollars, then) => {
                cost = Some(dollars);
                *then
            }
            _ => break,
        };
    }
    let mut response = match reply {
        Reply::Text(content) => complete(&script, &call, &json!({"role": "assistant", "content": content}), "stop"),
        Reply::Tools(tools) => complete(&script, &call, &reply::tool_message(&tools), "tool_calls"),
        Reply::Status { code, retry_after } => refuse(code, retry_after),
        Reply::Garbage => (StatusCode::OK, "<html>not what you wanted").into_response(),
        Reply::Hang | Reply::After(..) | Reply::When(..) | Reply::Costing(..) => std::future::pending().await,
    };
    if let Some(cost) = cost.and_then(|dollars| HeaderValue::from_str(&dollars.to_string()).ok()) {
        response.headers_mut().insert("x-litellm-response-cost", cost);
    }
    response
}

fn complete(script: &Mutex<Script>, call: &Call, message: &Value, finish_reason: &str) -> Response {
    let (input, output) = (reply::words(&call.body["messages"]), reply::words(message));
    let number = {
        let mut script = lock(script);
        script.input_tokens += input;
        script.output_tokens += output;
        script.calls.len()
    };
    Json(json!({
        "id": format!("chatcmpl-{number}"),
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": call.body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
    }))
    .into_response()
}

fn refuse(code: u16, retry_after: Option<u32>) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = Json(json!({"error": {"message": format!("scripted {code}"), "type": "stub", "code": code}}));
    let mut response = (status, body).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
