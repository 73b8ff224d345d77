//! One request on the wire.

use std::time::Duration;

use mesh_six_core::{TraceId, Usage};
use mesh_six_llm::{
    ChatModel, ChatRequest, ConfigError, LlmConfig, LlmError, Message, OpenAiModel, ResponseSchema, ToolCall, ToolSpec,
    model_from_config,
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::stub::{MODEL, Stub, model_at, says, wants};

fn request(messages: Vec<Message>) -> ChatRequest {
    ChatRequest {
        messages,
        tools: Vec::new(),
        response_schema: None,
        timeout: Duration::from_secs(10),
        traceparent: None,
    }
}

fn lookup() -> ToolSpec {
    ToolSpec {
        name: "lookup".to_owned(),
        description: "Looks a word up.".to_owned(),
        parameters: json!({"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}),
        read_only: true,
    }
}

#[tokio::test]
async fn a_plain_request_and_its_answer() {
    let answer = says("Rayleigh scattering.").insert_header("x-litellm-response-cost", "0.00042");
    let stub = Stub::start(vec![answer]).await;
    let trace = TraceId::new();
    let asked = ChatRequest {
        traceparent: Some(trace.to_traceparent()),
        ..request(vec![Message::system("You are brief."), Message::user("Why is the sky blue?")])
    };
    let response = stub.model().chat(&asked).await.unwrap();

    assert_eq!(response.content, "Rayleigh scattering.");
    assert_eq!((response.model.as_str(), response.finish_reason.as_str()), ("model-1-2026", "stop"));
    assert_eq!(response.response_id.as_deref(), Some("chatcmpl-1"));
    let usage =
        Usage { input_tokens: 20, output_tokens: 5, cached_input_tokens: 8, cost_usd: Some(0.00042), requests: 1 };
    assert_eq!(response.usage, usage);

    let requests = stub.requests().await;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].headers["authorization"], "Bearer sk-secret");
    let forwarded = requests[0].headers["traceparent"].to_str().unwrap();
    assert_eq!(TraceId::from_traceparent(forwarded), Some(trace));
    insta::assert_json_snapshot!("plain_request", stub.bodies().await[0]);
}

#[tokio::test]
async fn tools_and_schema_on_the_wire() {
    let stub = Stub::start(vec![wants(&[("lookup", json!({"word": "sky"}))])]).await;
    let call = |id: &str, arguments: Value| ToolCall { id: id.to_owned(), name: "lookup".to_owned(), arguments };
    let asked = ChatRequest {
        tools: vec![lookup()],
        response_schema: Some(ResponseSchema {
            name: "Verdict".to_owned(),
            schema: json!({"type": "object", "properties": {"approved": {"type": "boolean"}}}),
        }),
        ..request(vec![
            Message::user("What is the sky?"),
            Message::assistant("", vec![call("c1", json!({"word": "sky"})), call("c2", json!("{\"word\":"))]),
            Message::tool("c1", "the air above"),
            Message::tool("c2", "error: not JSON"),
        ])
    };
    let response = stub.model().chat(&asked).await.unwrap();
    assert_eq!(response.tool_calls, [call("call-0", json!({"word": "sky"}))]);
    assert_eq!(response.content, "");
    insta::assert_json_snapshot!("tools_and_schema_request", stub.bodies().await[0]);
}

#[tokio::test]
async fn a_base_url_may_end_in_a_slash_and_a_key_may_be_absent() {
    let stub = Stub::start(vec![says("yes")]).await;
    let config = LlmConfig { base_url: format!("{}/v1/", stub.server.uri()), api_key: None, model: MODEL.to_owned() };
    let model = OpenAiModel::new(&config).unwrap();
    model.chat(&request(vec![Message::user("?")])).await.unwrap();
    let requests = stub.requests().await;
    assert!(!requests[0].headers.contains_key("authorization"));
    assert!(!requests[0].headers.contains_key("traceparent"));
}

#[tokio::test]
async fn a_redirect_is_not_followed_so_the_key_stays_here() {
    let elsewhere = Stub::start(vec![says("gotcha")]).await;
    let server = MockServer::start().await;
    let target = format!("{}/v1/chat/completions", elsewhere.server.uri());
    let redirect = ResponseTemplate::new(307).insert_header("location", target.as_str());
    Mock::given(any()).respond_with(redirect).mount(&server).await;
    let error = model_at(&server.uri()).chat(&request(vec![Message::user("?")])).await.unwrap_err();
    assert!(matches!(error, LlmError::Client { status: 307 }), "{error}");
    assert_eq!(elsewhere.requests().await.len(), 0);
}

#[tokio::test]
async fn an_answer_of_more_than_a_mebibyte_is_refused() {
    let stub = Stub::start(vec![says(&"x".repeat(1024 * 1024))]).await;
    let error = stub.model().chat(&request(vec![Message::user("?")])).await.unwrap_err();
    assert_eq!(error.to_string(), "the model endpoint's answer is not usable: it is larger than 1048576 bytes");
}

#[test]
fn a_configuration_chooses_the_model_and_names_what_is_wrong() {
    for none in [None, Some(""), Some("  ")] {
        assert_eq!(model_from_config(none, None, MODEL).unwrap().name(), "offline");
    }
    let model = model_from_config(Some("http://127.0.0.1:4000/v1"), Some(""), MODEL).unwrap();
    assert_eq!(model.name(), MODEL);
    assert_eq!(model.provider().address.as_deref(), Some("127.0.0.1"));
    assert_eq!(model.provider().port, Some(4000));
    let refused = |url: &str, key: &str, model: &str| model_from_config(Some(url), Some(key), model).err().unwrap();
    assert!(matches!(refused("localhost:4000", "k", MODEL), ConfigError::Url));
    assert!(matches!(refused("http://h", "a\nb", MODEL), ConfigError::ApiKey));
    assert!(matches!(refused("http://h", "k", " "), ConfigError::Model));
    assert!(!refused("http://u:secret@", "k", MODEL).to_string().contains("secret"));
}
