//! A second, tiny agent, which does what its payload says.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use mesh_six_core::{
    ApiError, ErrorType, Event,
    agent::AgentCapability,
    task::{TaskError, TaskRequest},
};
use mesh_six_runtime::agent::{Agent, AgentDefinition, TaskContext};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// The name and app-id of [`Tiny`].
pub(crate) const TINY: &str = "tiny-agent";

/// What `judge` asks its model for.
#[derive(Deserialize, JsonSchema)]
struct Verdict {
    approved: bool,
}

/// Counts its runs; `{"do": ...}` tells it what to do.
pub(crate) struct Tiny {
    runs: AtomicU32,
    /// What `wait` waits for: one permit for each run.
    pub(crate) gate: Semaphore,
    concurrency: usize,
    health_checks: BTreeMap<String, String>,
}

impl Tiny {
    pub(crate) fn new(concurrency: usize) -> Arc<Self> {
        Self::depending_on(concurrency, BTreeMap::new())
    }

    /// One that depends on what answers at these URLs.
    pub(crate) fn depending_on(concurrency: usize, health_checks: BTreeMap<String, String>) -> Arc<Self> {
        Arc::new(Self { runs: AtomicU32::new(0), gate: Semaphore::new(0), concurrency, health_checks })
    }

    /// How often it was asked to do something.
    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Agent for Tiny {
    fn definition(&self) -> AgentDefinition {
        AgentDefinition {
            max_concurrency: self.concurrency,
            health_checks: self.health_checks.clone(),
            ..AgentDefinition::new(TINY, "Tiny Agent", vec![AgentCapability::new("tiny", 0.5)])
        }
    }

    async fn handle(&self, task: &TaskRequest, cx: &TaskContext) -> Result<Value, TaskError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        match task.payload.get("do").and_then(Value::as_str) {
            Some("panic") => panic!("as asked"),
            Some("hang") => std::future::pending().await,
            Some("wait") => {
                cx.progress("waiting", Some(json!({"for": "the gate"})));
                self.gate.acquire().await.unwrap().forget();
            }
            Some("tell nonsense") => {
                let event = Event::new("Not A Type", TINY, cx.trace_id, json!({})).of_task(task.id);
                cx.generator.sink.send(event);
            }
            Some("fail") => return Err(ApiError::new(ErrorType::ApiError, "the upstream failed").into()),
            Some("judge") => {
                let verdict: Verdict = cx.generator.structured("Judge.", "Is it good?").await?;
                return Ok(json!({"response": verdict.approved}));
            }
            Some("large") => return Ok(json!({"response": "x".repeat(200 * 1024)})),
            Some("huge") => return Ok(json!({"response": "x".repeat(9 * 1024 * 1024)})),
            _ => {}
        }
        Ok(json!({"response": "done"}))
    }
}
