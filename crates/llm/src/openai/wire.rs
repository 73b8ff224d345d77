//! The chat-completions format, and nothing of it outside this file.

use mesh_six_core::{Usage, id::new_id};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{ChatRequest, ChatResponse, LlmError, Message, Role, ToolCall, ToolSpec, text};

/// Longest foreign name or id that is kept, in characters.
const MAX_WORD: usize = 200;

/// The body of a request.
pub(super) fn request(model: &str, request: &ChatRequest) -> Value {
    let messages: Vec<Value> = request.messages.iter().map(message).collect();
    let mut body = json!({"model": model, "messages": messages});
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    if let Some(form) = &request.response_schema {
        body["response_format"] =
            json!({"type": "json_schema", "json_schema": {"name": form.name, "schema": form.schema}});
    }
    body
}

fn message(message: &Message) -> Value {
    let mut out = json!({"role": message.role, "content": message.content});
    if message.role == Role::Assistant && !message.tool_calls.is_empty() {
        if message.content.is_empty() {
            out["content"] = Value::Null;
        }
        out["tool_calls"] = message.tool_calls.iter().map(tool_call).collect();
    }
    if let Some(id) = &message.tool_call_id {
        out["tool_call_id"] = json!(id);
    }
    out
}

fn tool(tool: &ToolSpec) -> Value {
    let function = json!({"name": tool.name, "description": tool.description, "parameters": tool.parameters});
    json!({"type": "function", "function": function})
}

/// Many servers parse the arguments of earlier calls and want an object, even where the model wrote none.
fn tool_call(call: &ToolCall) -> Value {
    let arguments = match &call.arguments {
        object @ Value::Object(_) => object.to_string(),
        other => json!({"unparsed": other}).to_string(),
    };
    json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Choice {
    message: Answer,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    content: Option<Body>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
}

/// Some servers answer with a list of parts instead of a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}

#[derive(Default, Deserialize)]
struct Tokens {
    #[serde(default, rename = "prompt_tokens")]
    prompt: Option<u64>,
    #[serde(default, rename = "completion_tokens")]
    completion: Option<u64>,
    #[serde(default, rename = "prompt_tokens_details")]
    prompt_details: Option<Details>,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

/// The answer in a body; `cost` comes from the headers.
pub(super) fn response(body: &[u8], cost_usd: Option<f64>) -> Result<ChatResponse, LlmError> {
    // The parser's own message could quote the answer.
    let unusable = |reason: &str| LlmError::Unusable { reason: reason.to_owned() };
    let completion: Completion =
        serde_json::from_slice(body).map_err(|_| unusable("it is not a chat completion in JSON"))?;
    let choice = completion.choices.into_iter().next().ok_or_else(|| unusable("it holds no choice"))?;
    let content = match choice.message.content {
        Some(Body::Text(text)) => text,
        Some(Body::Parts(parts)) => parts.into_iter().map(|part| part.text).collect(),
        None => choice.message.refusal.unwrap_or_default(),
    };
    let tool_calls: Vec<ToolCall> = choice.message.tool_calls.unwrap_or_default().into_iter().map(called).collect();
    let finish_reason = choice.finish_reason.unwrap_or_else(|| "stop".to_owned());
    let tokens = completion.usage.unwrap_or_default();
    Ok(ChatResponse {
        // PostgreSQL cannot keep U+0000, and an answer ends up there.
        content: content.replace('\0', "\u{FFFD}"),
        tool_calls,
        finish_reason: text::word(&finish_reason, MAX_WORD),
        model: text::word(&completion.model.unwrap_or_default(), MAX_WORD),
        response_id: completion.id.map(|id| text::word(&id, MAX_WORD)),
        usage: Usage {
            input_tokens: tokens.prompt.unwrap_or_default(),
            output_tokens: tokens.completion.unwrap_or_default(),
            cached_input_tokens: tokens.prompt_details.and_then(|d| d.cached_tokens).unwrap_or_default(),
            cost_usd,
            requests: 1,
        },
    })
}

/// A call as the model wrote it. The arguments are JSON inside a string, or, from some servers, plain JSON.
fn called(call: Call) -> ToolCall {
    let arguments = match call.function.arguments {
        Value::String(raw) if raw.trim().is_empty() => json!({}),
        Value::String(raw) => serde_json::from_str(&raw).unwrap_or(Value::String(raw)),
        Value::Null => json!({}),
        other => other,
    };
    let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{}", new_id().simple()));
    ToolCall { id: text::word(&id, MAX_WORD), name: text::word(&call.function.name, MAX_WORD), arguments }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    fn parsed(body: &Value) -> Result<ChatResponse, LlmError> {
        response(body.to_string().as_bytes(), None)
    }

    #[test]
    fn servers_differ_and_are_understood() {
        let plain = parsed(&json!({"choices": [{"message": {"content": "a\u{0}b"}}], "usage": null})).unwrap();
        assert_eq!((plain.content.as_str(), plain.finish_reason.as_str()), ("a\u{FFFD}b", "stop"));
        assert_eq!(plain.usage, Usage { requests: 1, ..Usage::default() });
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        assert_eq!(parsed(&json!({"choices": [{"message": {"content": parts}}]})).unwrap().content, "ab");
        let refused = json!({"choices": [{"message": {"content": null, "refusal": "no"}}]});
        assert_eq!(parsed(&refused).unwrap().content, "no");
    }

    #[test]
    fn arguments_come_in_several_forms() {
        let form = |arguments: Value| {
            let calls = json!([{"function": {"name": "f", "arguments": arguments}}]);
            let answer = json!({"choices": [{"message": {"content": null, "tool_calls": calls}}]});
            parsed(&answer).unwrap().tool_calls.remove(0)
        };
        assert_eq!(form(json!("{\"a\":1}")).arguments, json!({"a": 1}));
        assert_eq!(form(json!({"a": 1})).arguments, json!({"a": 1}));
        assert_eq!(form(json!("")).arguments, json!({}));
        let broken = form(json!("{\"a\":"));
        assert!(broken.id.starts_with("call_"), "{}", broken.id);
        assert_eq!(broken.arguments, json!("{\"a\":"));
        assert_eq!(tool_call(&broken)["function"]["arguments"], json!(r#"{"unparsed":"{\"a\":"}"#));
    }

    #[test]
    fn what_is_no_completion_is_unusable_and_not_quoted() {
        for body in ["", "<html>secret</html>", "{}", r#"{"choices":[]}"#, r#"{"error":"secret"}"#, "[1"] {
            let error = response(body.as_bytes(), None).unwrap_err();
            assert!(matches!(error, LlmError::Unusable { .. }), "{body}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
