//! One attempt of a task, as its events tell it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::End;
use crate::{
    ErrorType,
    task::{AttemptOutcome, TaskStatus},
    time,
};

/// An attempt. What it tells is worked out from the facts known so far, in whatever order they came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptState {
    /// Counts from 1.
    pub attempt: i32,
    /// Who was asked.
    pub agent_id: Option<String>,
    /// When the attempt was dispatched.
    #[serde(with = "time::micros_option", default)]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended; present exactly if `outcome` is.
    #[serde(with = "time::micros_option", default)]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended; absent while it is under way.
    pub outcome: Option<AttemptOutcome>,
    /// How long the agent worked, in milliseconds, by its own account; absent where it gave no answer.
    pub duration_ms: Option<i64>,
    /// Why it failed, if it did.
    pub error_type: Option<ErrorType>,
    #[serde(skip)]
    facts: Facts,
}

/// What is known of an attempt. Agents that were not asked may answer, so answers are kept by agent.
#[derive(Clone, Debug, Default, PartialEq)]
struct Facts {
    dispatched: Option<(String, DateTime<Utc>)>,
    answers: BTreeMap<String, Answer>,
    timeout: Option<(ErrorType, DateTime<Utc>)>,
    retried: Option<(ErrorType, DateTime<Utc>)>,
}

/// What an agent answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) success: bool,
    pub(super) at: DateTime<Utc>,
    pub(super) duration_ms: Option<i64>,
    pub(super) error_type: Option<ErrorType>,
    pub(super) hash: Option<String>,
}

/// Answers kept while it is not yet known who was asked.
const MAX_ANSWERS: usize = 8;

impl AttemptState {
    pub(super) fn new(attempt: i32) -> Self {
        Self { attempt, ..Self::default() }
    }

    pub(super) fn dispatched(&mut self, agent: &str, at: DateTime<Utc>) {
        self.facts.dispatched.get_or_insert_with(|| (agent.to_owned(), at));
    }

    pub(super) fn answered(&mut self, agent: &str, answer: Answer) {
        let answers = &mut self.facts.answers;
        if answers.len() < MAX_ANSWERS || self.facts.dispatched.as_ref().is_some_and(|(asked, _)| asked == agent) {
            answers.entry(agent.to_owned()).or_insert(answer);
        }
    }

    pub(super) fn timed_out(&mut self, reason: ErrorType, at: DateTime<Utc>) {
        self.facts.timeout.get_or_insert((reason, at));
    }

    pub(super) fn retried(&mut self, reason: ErrorType, at: DateTime<Utc>) {
        self.facts.retried.get_or_insert((reason, at));
    }

    /// Whether the attempt is under way, or has an answer that the orchestrator may yet accept.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.outcome, None | Some(AttemptOutcome::Success))
    }

    /// Works out what the attempt tells from its facts and from the task's end, if there is one.
    pub(super) fn settle(&mut self, end: Option<&End>) {
        let facts = &self.facts;
        self.agent_id = facts.dispatched.as_ref().map(|(agent, _)| agent.clone());
        self.started_at = facts.dispatched.as_ref().map(|(_, at)| *at);
        // Before the dispatch is known a lone answer is taken for the asked agent's.
        let answer = match &self.agent_id {
            Some(agent) => facts.answers.get(agent),
            None if facts.answers.len() == 1 => facts.answers.values().next(),
            None => None,
        };
        self.duration_ms = answer.and_then(|a| a.duration_ms);
        let accepted = answer
            .is_some_and(|a| a.success && end.is_some_and(|e| e.status == TaskStatus::Completed && a.hash == e.hash));
        // An answer after the end came too late, unless it is the one that ended the task: clocks differ a little.
        let answer = answer.filter(|a| accepted || end.is_none_or(|e| a.at <= e.at));
        let lost = facts.timeout.or_else(|| facts.retried.filter(|_| answer.is_none()));
        let (outcome, at, error) = match (answer, lost, end) {
            (Some(a), None, _) if a.success => (Some(AttemptOutcome::Success), Some(a.at), None),
            // A late success still completes a task that has not ended.
            (Some(a), Some(_), _) if accepted => (Some(AttemptOutcome::Success), Some(a.at), None),
            (Some(a), None, _) => (Some(AttemptOutcome::Failed), Some(a.at), a.error_type),
            (_, Some((reason, at)), _) => (Some(outcome_of(reason)), Some(at), Some(reason)),
            (None, None, Some(end)) => match end.status {
                TaskStatus::Failed => (Some(outcome_of(end.reason())), Some(end.at), Some(end.reason())),
                _ => (Some(AttemptOutcome::Cancelled), Some(end.at), None),
            },
            (None, None, None) => (None, None, None),
        };
        (self.outcome, self.ended_at, self.error_type) = (outcome, at, error);
    }
}

/// How an attempt ended that gave no answer.
fn outcome_of(reason: ErrorType) -> AttemptOutcome {
    match reason {
        ErrorType::Timeout => AttemptOutcome::Timeout,
        ErrorType::Unavailable => AttemptOutcome::Unavailable,
        ErrorType::Cancelled => AttemptOutcome::Cancelled,
        _ => AttemptOutcome::Failed,
    }
}
