use std::time::Duration;

use mesh_six_testing::{Reply, StubModel};
use reqwest::Response;
use serde_json::{Value, json};

async fn ask(model: &StubModel, question: &str) -> reqwest::Result<Response> {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": question}]});
    // The second of two tests finds it installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(Duration::from_millis(500)).build()?;
    client.post(format!("{}/chat/completions", model.url())).json(&body).send().await
}

#[tokio::test]
async fn replies_come_in_order_then_the_standing_one() {
    let model = StubModel::start().await;
    model.always(Reply::text("always"));
    model.script([
        Reply::Status { code: 429, retry_after: Some(2) },
        Reply::Garbage,
        Reply::tool("look", json!({"at": "sky"})),
        Reply::json(&json!({"wrong": true})),
    ]);
    let first = ask(&model, "one two").await.unwrap();
    assert_eq!((first.status().as_u16(), first.headers()["retry-after"].to_str().unwrap()), (429, "2"));
    assert!(ask(&model, "one two").await.unwrap().json::<Value>().await.is_err());
    let tool: Value = ask(&model, "one two").await.unwrap().json().await.unwrap();
    assert_eq!(tool["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], r#"{"at":"sky"}"#);
    let object: Value = ask(&model, "one two").await.unwrap().json().await.unwrap();
    assert_eq!(object["choices"][0]["message"]["content"], r#"{"wrong":true}"#);
    for _ in 0..2 {
        let always: Value = ask(&model, "one two").await.unwrap().json().await.unwrap();
        assert_eq!(always["choices"][0]["message"]["content"], "always");
        assert_eq!(always["usage"], json!({"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}));
    }
    assert_eq!(model.calls().len(), 6);
    assert_eq!(model.calls()[5].last("user"), Some("one two"));
}

#[tokio::test]
async fn a_hanging_reply_never_comes() {
    let model = StubModel::start().await;
    model.script([Reply::Hang]);
    assert!(ask(&model, "hello").await.unwrap_err().is_timeout());
    assert_eq!((model.calls().len(), model.tokens()), (1, (0, 0)));
}
