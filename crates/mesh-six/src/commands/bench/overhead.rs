//! P9: what it costs a model call to be on the record.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use mesh_six_core::{EventSink, TraceId, Usage, event::catalogue::CallContext, id::new_id};
use mesh_six_db::events::DatabaseSink;
use mesh_six_llm::{ChatModel, ChatRequest, ChatResponse, Generator, LlmError, Message, Prompt, Provider};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Bench,
    load::percentile,
    report::{Figure, Target},
};

/// A model that answers at once.
struct Stub;

#[async_trait]
impl ChatModel for Stub {
    fn name(&self) -> &'static str {
        "bench-model"
    }

    fn provider(&self) -> Provider {
        Provider { name: "bench", address: None, port: None }
    }

    async fn chat(&self, _: &ChatRequest) -> Result<ChatResponse, LlmError> {
        Ok(ChatResponse {
            content: "An answer.".to_owned(),
            finish_reason: "stop".to_owned(),
            model: "bench-model".to_owned(),
            usage: Usage { input_tokens: 100, output_tokens: 10, requests: 1, ..Usage::default() },
            ..ChatResponse::default()
        })
    }
}

/// Traced calls beside bare ones.
pub(super) async fn p9(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let calls = if bench.quick { 1_000 } else { 5_000 };
    let sink = DatabaseSink::start(bench.log.clone());
    let model: Arc<dyn ChatModel> = Arc::new(Stub);
    let context = CallContext { trace_id: TraceId::new(), agent_id: "bench-agent".to_owned(), task_id: Some(new_id()) };
    let events: Arc<dyn EventSink> = sink.clone();
    let deadline = tokio::time::Instant::now() + Duration::from_mins(10);
    let generator = Generator::new(Arc::clone(&model), events, context, deadline);
    let (system, user) = ("You answer questions.", "Why is the sky blue?");
    // Paced, since a model that answers at once asks more of the queue than any agent does.
    let mut clock = interval(Duration::from_millis(2));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut traced, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..calls {
        clock.tick().await;
        let prompt = Prompt { system: system.to_owned(), user: user.to_owned(), max_steps: 1, ..Prompt::default() };
        let begin = Instant::now();
        generator.text(prompt).await?;
        traced.push(begin.elapsed());
        let begin = Instant::now();
        let request = ChatRequest {
            messages: vec![Message::system(system), Message::user(user)],
            tools: Vec::new(),
            response_schema: None,
            timeout: Duration::from_mins(1),
            traceparent: None,
        };
        std::hint::black_box(model.chat(&request).await?);
        bare.push(begin.elapsed());
    }
    sink.flush(Duration::from_secs(10)).await;
    let counted = sink.counters();
    sink.close().await;
    let micros = |times: &[Duration]| percentile(times, 50).as_secs_f64() * 1_000_000.0;
    let added = micros(&traced) - micros(&bare);
    let name = "tracing: added to a model call, p50";
    bench.add(Figure::alone("P9", name, added, "us", Target::AtMost(100.0)));
    let note = format!(
        "a traced call ({:.1} us) beside a bare one ({:.1} us), {calls} calls; {} events sent, {} written, {} dropped",
        micros(&traced),
        micros(&bare),
        counted.sent,
        counted.written,
        counted.dropped
    );
    bench.note("P9", note);
    Ok(())
}
