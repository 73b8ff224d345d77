//! Spans, logs and metrics of requests.

use std::{
    io,
    sync::{Arc, Mutex},
};

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tracing::Instrument;
use tracing_subscriber::fmt::{MakeWriter, format::FmtSpan};
use wiremock::ResponseTemplate;

use crate::{
    stub::{Stub, question, says, wants},
    tools::{Does, Lookup, prompt},
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_span_tells_what_a_request_used_and_no_line_tells_what_was_said() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let failure = ResponseTemplate::new(500).set_body_string("upstream words");
    let stub = Stub::start(vec![failure, says("answered words")]).await;
    let (generator, _) = stub.generator();
    generator.text(question("prompted words")).await.unwrap();

    let text = log.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let spans: Vec<&Value> = lines.iter().filter(|l| l["fields"]["message"] == "close").map(|l| &l["span"]).collect();
    let spans: Vec<&&Value> = spans.iter().filter(|s| s["name"] == "chat").collect();
    assert_eq!(spans.len(), 2, "{text}");
    assert_eq!((&spans[0]["error.type"], &spans[0]["otel.status_code"]), (&"server_error".into(), &"ERROR".into()));
    assert_eq!(spans[1]["otel.name"], "chat stub/model-1");
    assert_eq!(spans[1]["gen_ai.response.model"], "model-1-2026");
    assert_eq!(spans[1]["gen_ai.usage.input_tokens"], 20);
    assert_eq!(spans[1]["gen_ai.usage.cache_read.input_tokens"], 8);
    assert_eq!(spans[1]["server.address"], "127.0.0.1");
    let warning = lines.iter().find(|l| l["level"] == "WARN").unwrap();
    assert_eq!(warning["fields"]["error.type"], "server_error");
    assert_eq!(warning["fields"]["task.id"], generator.context.task_id.unwrap().to_string());
    // Our own lines only: at this level the stub logs what it is sent.
    let ours = |l: &&Value| l["target"].as_str().is_some_and(|t| t.starts_with("mesh_six"));
    for line in lines.iter().filter(ours) {
        for word in ["upstream words", "answered words", "prompted words", "brief", "sk-secret"] {
            assert!(!line.to_string().contains(word), "{word} in {line}");
        }
    }
}

#[tokio::test]
async fn requests_and_tools_are_below_the_span_of_whoever_asks() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::INFO)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let stub =
        Stub::start(vec![wants(&[("lookup", json!({"word": "x"})), ("invented", json!({}))]), says("done")]).await;
    let (generator, _) = stub.generator();
    let prompt = prompt(vec![Lookup::new("lookup", Does::Answer(json!("y")))], 2);
    generator.text(prompt).instrument(tracing::info_span!("invoke_agent")).await.unwrap();

    let text = log.text();
    let closed = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let closed: Vec<Value> = closed.filter(|line| line["fields"]["message"] == "close").collect();
    let named = |name: &str| closed.iter().filter(|line| line["span"]["name"] == name).collect::<Vec<_>>();
    for (name, count) in [("chat", 2), ("execute_tool", 2)] {
        let spans = named(name);
        assert_eq!(spans.len(), count, "{name}: {text}");
        for span in spans {
            let above: Vec<_> = span["spans"].as_array().unwrap().iter().map(|span| &span["name"]).collect();
            assert_eq!(above, ["invoke_agent"], "{span}");
        }
    }
    let [answered, unknown] = named("execute_tool")[..] else { panic!("two tools") };
    assert_eq!(answered["span"]["otel.name"], "execute_tool lookup");
    assert_eq!(answered["span"]["gen_ai.tool.name"], "lookup");
    assert_eq!(
        (&unknown["span"]["error.type"], &unknown["span"]["otel.status_code"]),
        (&"tool_error".into(), &"ERROR".into())
    );
}

#[tokio::test]
async fn tools_are_counted_and_those_that_the_model_made_up_are_one() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let made_up: Vec<String> = (0..30).map(|n| format!("invented_{n}")).collect();
    let mut calls: Vec<(&str, Value)> = made_up.iter().map(|name| (name.as_str(), json!({}))).collect();
    calls.push(("lookup", json!({"word": "x"})));
    let stub = Stub::start(vec![wants(&calls), says("done")]).await;
    let (generator, _) = stub.generator();
    let prompt = prompt(vec![Lookup::new("lookup", Does::Answer(json!("y")))], 2);
    generator.text(prompt).await.unwrap();
    let page = handle.render();
    for (tool, outcome, count) in [("lookup", "ok", 1), ("other", "tool_error", 30)] {
        let labels = format!(r#"agent="simple-agent",tool="{tool}",outcome="{outcome}""#);
        let sample = format!("mesh_six_tool_call_duration_seconds_count{{{labels}}} {count}");
        assert!(page.contains(&sample), "{sample} is not in\n{page}");
    }
    assert!(!page.contains("invented"), "the model cannot make series");
}

#[tokio::test]
async fn tokens_and_cost_are_counted_by_agent_and_model() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let answer = says("yes").insert_header("x-litellm-response-cost", "0.25");
    let stub = Stub::start(vec![ResponseTemplate::new(500), answer]).await;
    let (generator, _) = stub.generator();
    generator.text(question("?")).await.unwrap();
    generator.text(question("?")).await.unwrap();

    let page = handle.render();
    let whose = r#"agent="simple-agent",model="stub/model-1""#;
    let address = r#"server_address="127.0.0.1",server_port="#;
    let asked = format!(
        r#"gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="stub/model-1",gen_ai_agent_name="simple-agent",{address}"{}""#,
        stub.port(),
    );
    for sample in [
        format!(r#"mesh_six_llm_tokens_total{{{whose},kind="input"}} 40"#),
        format!(r#"mesh_six_llm_tokens_total{{{whose},kind="output"}} 10"#),
        format!(r#"mesh_six_llm_tokens_total{{{whose},kind="cached_input"}} 16"#),
        format!("mesh_six_llm_request_cost_usd_sum{{{whose}}} 0.5"),
        format!("gen_ai_client_operation_duration_seconds_count{{{asked}}} 2"),
        format!(r#"gen_ai_client_operation_duration_seconds_count{{{asked},error_type="server_error"}} 1"#),
        format!(r#"gen_ai_client_token_usage_sum{{{asked},gen_ai_token_type="input"}} 40"#),
        format!(r#"gen_ai_client_token_usage_count{{{asked},gen_ai_token_type="output"}} 2"#),
    ] {
        assert!(page.contains(&sample), "{sample} is not in\n{page}");
    }
}
