//! The offline model behind a generator.

use mesh_six_core::Usage;
use mesh_six_llm::OfflineModel;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::stub::{check_pairs, generator, question};

#[tokio::test]
async fn it_says_what_it_is_and_what_to_set_always_the_same() {
    let (generator, sink) = generator(OfflineModel);
    let first = generator.text(question("Why is the sky blue?")).await.unwrap();
    for word in ["No model is configured", "LITELLM_BASE_URL", "--llm-url"] {
        assert!(first.content.contains(word), "{}", first.content);
    }
    let read = "You are brief.Why is the sky blue?".len().div_ceil(4) as u64;
    let written = first.content.chars().count().div_ceil(4) as u64;
    let usage = Usage { input_tokens: read, output_tokens: written, requests: 1, ..Usage::default() };
    assert_eq!(generator.usage(), usage);
    assert_eq!(generator.text(question("Why is the sky blue?")).await.unwrap(), first);
    let events = sink.take();
    check_pairs(&events, 2);
    assert_eq!(events[0].payload["model"], "offline");
}

#[derive(Deserialize, JsonSchema)]
struct Plan {
    summary: String,
    steps: Vec<String>,
    #[schemars(range(min = 0.2, max = 1.0))]
    confidence: f64,
    risk: Risk,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
enum Risk {
    Low,
    High,
}

#[tokio::test]
async fn a_structured_answer_fits_its_type_and_says_so_too() {
    let (generator, sink) = generator(OfflineModel);
    let plan: Plan = generator.structured("Plan.", "A house").await.unwrap();
    assert!(plan.summary.contains("No model is configured"), "{}", plan.summary);
    assert!(plan.steps.is_empty() && plan.confidence >= 0.2);
    assert_eq!(plan.risk, Risk::Low);
    check_pairs(&sink.take(), 1);
}
