//! Answers general questions with one traced model call and no tools (services.md §4).

use async_trait::async_trait;
use mesh_six_core::{
    agent::AgentCapability,
    task::{TaskError, TaskRequest},
};
use mesh_six_llm::Prompt;
use mesh_six_runtime::agent::{Agent, AgentDefinition, TaskContext};
use serde_json::{Value, json};

use crate::{prompt, query};

const ROLE: &str = "You are a general-purpose assistant who answers questions.";

const METHOD: &str = "Be concise: answer first, then at most a few sentences of explanation. If you do not know, or \
    cannot know, say so plainly instead of guessing. You have no tools and no access to live data.";

/// The agent for general questions.
#[derive(Clone, Copy, Debug)]
pub struct SimpleAgent;

#[async_trait]
impl Agent for SimpleAgent {
    fn definition(&self) -> AgentDefinition {
        AgentDefinition::new("simple-agent", "Simple Agent", vec![AgentCapability::new("general-query", 0.8)])
    }

    async fn handle(&self, task: &TaskRequest, cx: &TaskContext) -> Result<Value, TaskError> {
        let prompt = Prompt {
            system: prompt::system(&cx.agent().app_id, ROLE, METHOD),
            user: query::of(task)?,
            tools: Vec::new(),
            max_steps: 1,
        };
        let answer = cx.generator.text(prompt).await?;
        Ok(json!({"response": answer.content}))
    }
}
