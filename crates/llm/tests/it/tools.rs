//! The tool loop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use mesh_six_core::{
    ErrorType, Event,
    event::catalogue::{TOOL_INVOCATION, TOOL_RESULT},
};
use mesh_six_llm::{LlmError, MAX_TOOL_OUTPUT_CHARS, Prompt, Tool, ToolError, ToolSpec};
use serde_json::{Value, json};
use tokio::{sync::Barrier, time::Instant};

use crate::stub::{Stub, check_pairs, says, wants};

/// What a test's tool does with its `word`.
pub(crate) enum Does {
    Answer(Value),
    Fail,
    Hang,
    /// Answers only once `n` calls run at the same time.
    Meet(Barrier),
    /// Counts how many run at once.
    Alone(AtomicUsize),
}

pub(crate) struct Lookup {
    name: &'static str,
    does: Does,
    calls: AtomicUsize,
}

impl Lookup {
    pub(crate) fn new(name: &'static str, does: Does) -> Arc<Self> {
        Arc::new(Self { name, does, calls: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Tool for Lookup {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.name.to_owned(),
            description: "Looks a word up.".to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {"word": {"type": "string", "maxLength": 40}},
                "required": ["word"],
                "additionalProperties": false,
            }),
            read_only: !matches!(self.does, Does::Alone(_)),
        }
    }

    async fn call(&self, arguments: Value) -> Result<Value, ToolError> {
        assert!(arguments["word"].is_string());
        self.calls.fetch_add(1, Ordering::SeqCst);
        match &self.does {
            Does::Answer(value) => Ok(value.clone()),
            Does::Fail => Err(ToolError("the dictionary is closed".to_owned())),
            Does::Hang => std::future::pending().await,
            Does::Meet(barrier) => {
                barrier.wait().await;
                Ok(json!({"met": arguments["word"]}))
            }
            Does::Alone(running) => {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "two writes at once");
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(json!({"wrote": arguments["word"]}))
            }
        }
    }
}

pub(crate) fn prompt(tools: Vec<Arc<Lookup>>, max_steps: u32) -> Prompt {
    let tools = tools.into_iter().map(|t| t as Arc<dyn Tool>).collect();
    Prompt { system: "Use the tools.".to_owned(), user: "What is the sky?".to_owned(), tools, max_steps }
}

fn outputs(body: &Value) -> Vec<(&str, &str)> {
    let of_tools = body["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "tool");
    of_tools.map(|m| (m["tool_call_id"].as_str().unwrap(), m["content"].as_str().unwrap())).collect()
}

fn tool_events(events: &[Event]) -> Vec<Value> {
    let tools = events.iter().filter(|e| [TOOL_INVOCATION, TOOL_RESULT].contains(&e.event_type.as_str()));
    let stable = |e: &Event| {
        let mut payload = e.payload.clone();
        if !payload["durationMs"].is_null() {
            payload["durationMs"] = json!("[ms]");
        }
        json!({"type": e.event_type, "payload": payload})
    };
    tools.map(stable).collect()
}

#[tokio::test]
async fn output_is_fed_back_until_the_model_answers() {
    let asked = wants(&[("lookup", json!({"word": "sky"}))]);
    let stub = Stub::start(vec![asked.clone(), asked, says("The air above.")]).await;
    let (generator, sink) = stub.generator();
    let tool = Lookup::new("lookup", Does::Answer(json!({"means": "air"})));
    let text = generator.text(prompt(vec![Arc::clone(&tool)], 5)).await.unwrap();
    assert_eq!((text.content.as_str(), text.steps), ("The air above.", 3));
    assert_eq!(tool.calls.load(Ordering::SeqCst), 2);

    let events = sink.take();
    check_pairs(&events, 3);
    let steps: Vec<_> = events.iter().filter_map(|e| e.payload["step"].as_u64()).collect();
    assert_eq!(steps, [1, 1, 2, 2, 3, 3]);
    assert!(events.iter().all(|e| e.task_id == generator.context.task_id));
    assert_eq!(generator.usage().input_tokens, 60);
    insta::assert_json_snapshot!("tool_loop_last_request", stub.bodies().await[2]);
    insta::assert_json_snapshot!("tool_loop_events", tool_events(&events));
}

#[tokio::test]
async fn what_the_model_gets_wrong_is_told_to_it_and_not_run() {
    let calls = [
        ("nonsense", json!({})),
        ("lookup", json!({"word": 3, "private words": 1})),
        ("lookup", json!("not an object")),
        ("closed", json!({"word": "sky"})),
    ];
    let stub = Stub::start(vec![wants(&calls), says("I see.")]).await;
    let (generator, sink) = stub.generator();
    let lookup = Lookup::new("lookup", Does::Answer(json!("air")));
    let tools = vec![Arc::clone(&lookup), Lookup::new("closed", Does::Fail)];
    generator.text(prompt(tools, 2)).await.unwrap();
    assert_eq!(lookup.calls.load(Ordering::SeqCst), 0);
    insta::assert_json_snapshot!("tool_errors_fed_back", outputs(&stub.bodies().await[1]));
    let events = sink.take();
    assert!(!serde_json::to_string(&events).unwrap().contains("private"));
    insta::assert_json_snapshot!("tool_error_events", tool_events(&events));
}

#[tokio::test]
async fn long_output_is_cut_with_a_marker() {
    let stub = Stub::start(vec![wants(&[("lookup", json!({"word": "sky"}))]), says("Long.")]).await;
    let (generator, _) = stub.generator();
    let long = Lookup::new("lookup", Does::Answer(json!("ä".repeat(MAX_TOOL_OUTPUT_CHARS + 1))));
    generator.text(prompt(vec![long], 2)).await.unwrap();
    let bodies = stub.bodies().await;
    let output = outputs(&bodies[1])[0].1;
    let expected = format!("{}\n[cut: the first 12000 of 12001 characters]", "ä".repeat(MAX_TOOL_OUTPUT_CHARS));
    assert_eq!(output, expected);
}

#[tokio::test]
async fn reads_run_together_and_writes_one_by_one() {
    let word = |word: &str| json!({"word": word});
    let calls =
        [("meet", word("a")), ("meet", word("b")), ("write", word("c")), ("write", word("d")), ("lookup", word("e"))];
    let stub = Stub::start(vec![wants(&calls), says("Done.")]).await;
    let (generator, _) = stub.generator();
    let tools = vec![
        Lookup::new("meet", Does::Meet(Barrier::new(2))),
        Lookup::new("write", Does::Alone(AtomicUsize::new(0))),
        Lookup::new("lookup", Does::Answer(json!("air"))),
    ];
    generator.text(prompt(tools, 2)).await.unwrap();
    let expected = [
        ("call-0", r#"{"met":"a"}"#),
        ("call-1", r#"{"met":"b"}"#),
        ("call-2", r#"{"wrote":"c"}"#),
        ("call-3", r#"{"wrote":"d"}"#),
        ("call-4", "air"),
    ];
    assert_eq!(outputs(&stub.bodies().await[1]), expected);
}

#[tokio::test]
async fn a_model_that_never_answers_meets_the_step_limit() {
    let stub = Stub::start(vec![wants(&[("lookup", json!({"word": "sky"}))])]).await;
    let (generator, sink) = stub.generator();
    let tool = Lookup::new("lookup", Does::Answer(json!("air")));
    let error = generator.text(prompt(vec![Arc::clone(&tool)], 3)).await.unwrap_err();
    assert!(matches!(error, LlmError::StepLimit { steps: 3 }), "{error}");
    assert_eq!((error.error_type(), error.retryable()), (ErrorType::LlmError, false));
    check_pairs(&sink.take(), 3);
    // Nobody would read what a tool gives after the last step.
    assert_eq!(tool.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_tool_that_hangs_ends_with_the_task_and_is_on_the_record() {
    let stub = Stub::start(vec![wants(&[("lookup", json!({"word": "sky"}))])]).await;
    let (mut generator, sink) = stub.generator();
    generator.deadline = Instant::now() + Duration::from_secs(2);
    let error = generator.text(prompt(vec![Lookup::new("lookup", Does::Hang)], 3)).await.unwrap_err();
    assert_eq!(error.error_type(), ErrorType::Timeout);
    let events = tool_events(&sink.take());
    assert_eq!(events[1]["payload"]["error"], "the task's time was up");
    assert_eq!(events[1]["payload"]["success"], false);
}
