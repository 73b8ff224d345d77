//! What a query asks for (core.md §8, events.md §4).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Position,
    check::{check_type, text},
};
use crate::{ApiError, TraceId, Validate, time};

/// Rows that a query returns where it does not say.
pub const DEFAULT_LIMIT: i64 = 100;
/// The most rows that one query returns; page on with `after` or `before`.
pub const MAX_LIMIT: i64 = 1_000;

/// All given conditions must hold. An unknown one is refused: misspelt and ignored, it would return everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventFilter {
    /// Of this trace.
    #[param(value_type = Option<String>)]
    pub trace_id: Option<TraceId>,
    /// Of this task.
    pub task_id: Option<Uuid>,
    /// Of this aggregate, such as `task:{id}`.
    pub aggregate_id: Option<String>,
    /// Reported by this agent.
    pub agent_id: Option<String>,
    /// Of this type.
    pub event_type: Option<String>,
    /// Recorded at or after.
    #[serde(with = "time::micros_option")]
    pub since: Option<DateTime<Utc>>,
    /// Recorded at or before.
    #[serde(with = "time::micros_option")]
    pub until: Option<DateTime<Utc>>,
    /// After this position.
    #[param(value_type = Option<String>)]
    pub after: Option<Position>,
    /// Before this position.
    #[param(value_type = Option<String>)]
    pub before: Option<Position>,
    /// 1 to 1,000; 100 where not given.
    pub limit: Option<i64>,
    /// Newest first.
    pub desc: bool,
}

impl Validate for EventFilter {
    fn validate(&self) -> Result<(), ApiError> {
        if self.limit.is_some_and(|l| !(1..=MAX_LIMIT).contains(&l)) {
            return Err(ApiError::validation("limit", format!("limit must be from 1 to {MAX_LIMIT}")));
        }
        // What no event can have is a mistake, not a condition that finds nothing.
        if let Some(aggregate) = &self.aggregate_id {
            text("aggregateId", aggregate, 512)?;
        }
        if let Some(agent) = &self.agent_id {
            text("agentId", agent, 128)?;
        }
        if let Some(event_type) = &self.event_type {
            check_type(event_type)?;
        }
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since > until
        {
            return Err(ApiError::validation("since", "the window begins after its end"));
        }
        Ok(())
    }
}

impl EventFilter {
    /// The number of rows to return.
    pub fn limit(&self) -> i64 {
        self.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT)
    }

    /// Whether `event` meets the conditions, for a live tail that filters what it reads.
    pub fn matches(&self, event: &super::StoredEvent) -> bool {
        let e = &event.event;
        self.trace_id.is_none_or(|t| t == e.trace_id)
            && self.task_id.is_none_or(|t| Some(t) == e.task_id)
            && self.agent_id.as_ref().is_none_or(|a| *a == e.agent_id)
            && self.event_type.as_ref().is_none_or(|t| *t == e.event_type)
            && self.aggregate_id.as_ref().is_none_or(|a| event.aggregate().as_ref() == Some(a))
            && self.since.is_none_or(|s| event.timestamp >= s)
            && self.until.is_none_or(|u| event.timestamp <= u)
    }
}
