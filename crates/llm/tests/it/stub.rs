//! A stub endpoint with scripted answers, and a generator that talks to it.

use std::{sync::Arc, time::Duration};

use mesh_six_core::{
    Event, TraceId,
    event::catalogue::{CallContext, LLM_CALL, LLM_RESPONSE},
    id::new_id,
    sink::CollectingSink,
};
use mesh_six_llm::{Generator, LlmConfig, OpenAiModel, Prompt, RetryPolicy};
use serde_json::{Value, json};
use tokio::time::Instant;
use wiremock::{
    Mock, MockServer, Request, Respond, ResponseTemplate,
    matchers::{method, path},
};

/// The name of the model that is asked for.
pub(crate) const MODEL: &str = "stub/model-1";

/// An endpoint that gives its answers in order, the last one again and again.
pub(crate) struct Stub {
    pub server: MockServer,
}

struct Script(std::sync::Mutex<Vec<ResponseTemplate>>);

impl Respond for Script {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let mut answers = self.0.lock().unwrap();
        if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
    }
}

impl Stub {
    pub(crate) async fn start(answers: Vec<ResponseTemplate>) -> Self {
        let server = MockServer::start().await;
        let script = Script(std::sync::Mutex::new(answers));
        Mock::given(method("POST")).and(path("/v1/chat/completions")).respond_with(script).mount(&server).await;
        Self { server }
    }

    pub(crate) async fn requests(&self) -> Vec<Request> {
        self.server.received_requests().await.unwrap()
    }

    pub(crate) async fn bodies(&self) -> Vec<Value> {
        self.requests().await.iter().map(|r| r.body_json().unwrap()).collect()
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.address().port()
    }

    pub(crate) fn model(&self) -> OpenAiModel {
        model_at(&format!("{}/v1", self.server.uri()))
    }

    /// A generator with little patience, and the sink that it writes to.
    pub(crate) fn generator(&self) -> (Generator, Arc<CollectingSink>) {
        generator(self.model())
    }
}

pub(crate) fn model_at(base_url: &str) -> OpenAiModel {
    let config =
        LlmConfig { base_url: base_url.to_owned(), api_key: Some("sk-secret".to_owned()), model: MODEL.to_owned() };
    OpenAiModel::new(&config).unwrap()
}

pub(crate) fn generator(model: impl mesh_six_llm::ChatModel + 'static) -> (Generator, Arc<CollectingSink>) {
    let sink = Arc::new(CollectingSink::default());
    let context =
        CallContext { trace_id: TraceId::new(), agent_id: "simple-agent".to_owned(), task_id: Some(new_id()) };
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut generator = Generator::new(Arc::new(model), Arc::<CollectingSink>::clone(&sink), context, deadline);
    generator.retry = RetryPolicy { first_delay: Duration::from_millis(2), ..RetryPolicy::default() };
    (generator, sink)
}

/// A question without tools.
pub(crate) fn question(text: &str) -> Prompt {
    Prompt { system: "You are brief.".to_owned(), user: text.to_owned(), max_steps: 1, ..Prompt::default() }
}

fn completion(message: &Value, finish_reason: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "model-1-2026",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": 20,
            "completion_tokens": 5,
            "total_tokens": 25,
            "prompt_tokens_details": {"cached_tokens": 8},
        },
    }))
}

/// An answer with a text.
pub(crate) fn says(text: &str) -> ResponseTemplate {
    completion(&json!({"role": "assistant", "content": text}), "stop")
}

/// An answer that asks for tools: name and arguments of each.
pub(crate) fn wants(calls: &[(&str, Value)]) -> ResponseTemplate {
    let call = |(nth, (name, arguments)): (usize, &(&str, Value))| {
        let function = json!({"name": name, "arguments": arguments.to_string()});
        json!({"id": format!("call-{nth}"), "type": "function", "function": function})
    };
    let calls: Vec<Value> = calls.iter().enumerate().map(call).collect();
    completion(&json!({"role": "assistant", "content": null, "tool_calls": calls}), "tool_calls")
}

/// Every call followed by its response, one pair for each request that the stub saw.
pub(crate) fn check_pairs(events: &[Event], requests: usize) {
    let of = |name: &str| events.iter().filter(|e| e.event_type == name).collect::<Vec<_>>();
    let (calls, responses) = (of(LLM_CALL), of(LLM_RESPONSE));
    assert_eq!((calls.len(), responses.len()), (requests, requests), "{events:#?}");
    for (call, response) in calls.iter().zip(responses) {
        for shared in ["callId", "attempt", "step", "structured"] {
            assert_eq!(call.payload[shared], response.payload[shared], "{shared}");
        }
        let place = |event: &Event| events.iter().position(|e| e.id == event.id);
        assert!(place(call) < place(response));
    }
}
