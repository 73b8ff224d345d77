//! What a task that waits for its next attempt gets: pure, so that every case can be tested.

use std::time::Duration;

use mesh_six_core::scoring::{AgentScoreCard, eligible};
use mesh_six_db::tasks::{Assignment, TaskSummary};

use crate::{config::OrchestratorConfig, routing::assignment};

/// How soon a task is looked at again that nobody can take now.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// To this agent.
    Dispatch(Assignment),
    /// Not before this time has passed.
    Wait(Duration),
    /// No further attempt.
    GiveUp,
}

/// The best agent that has not been tried; when none is left and the fault may pass, the best one again after
/// a pause. `rested` is how long ago the last attempt ended; `settling` is the time after a start, in which
/// agents are still coming back.
pub(crate) fn next(
    task: &TaskSummary,
    rested: Duration,
    cards: &[AgentScoreCard],
    settling: bool,
    config: &OrchestratorConfig,
) -> Next {
    let able: Vec<&AgentScoreCard> = cards.iter().filter(|card| eligible(card)).collect();
    if let Some(card) = able.iter().find(|card| !task.tried_agents.contains(&card.agent_id)) {
        return Next::Dispatch(assignment(card, cards));
    }
    let may_pass = task.error.as_ref().is_none_or(|error| error.error_type.retryable());
    let Some(best) = able.first() else {
        return if settling || (may_pass && rested < config.patience) { Next::Wait(LOOK_AGAIN) } else { Next::GiveUp };
    };
    if !may_pass {
        return Next::GiveUp;
    }
    let index = usize::try_from(task.attempts).unwrap_or(0).saturating_sub(1);
    let pause = config.back_off.get(index).copied().unwrap_or_default();
    match pause.checked_sub(rested) {
        Some(rest) if !rest.is_zero() => Next::Wait(rest),
        _ => Next::Dispatch(assignment(best, cards)),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use mesh_six_core::{
        ErrorType,
        agent::{AgentCapability, AgentStatus},
        scoring::{ScoreInput, score},
        task::TaskError,
    };
    use serde_json::json;

    use super::*;

    fn card(agent: &str, healthy: bool) -> AgentScoreCard {
        let capability = AgentCapability::new("c", 0.8);
        let status = AgentStatus::Online;
        score(&ScoreInput { agent_id: agent, capability: &capability, status, healthy, history: &[], in_flight: 0 })
    }

    fn task(tried: &[&str], error: ErrorType) -> TaskSummary {
        let mut task: TaskSummary = serde_json::from_value(json!({
            "taskId": "01900000-0000-7000-8000-000000000000", "capability": "c", "status": "pending",
            "attempts": tried.len(), "maxAttempts": 3, "triedAgents": tried, "priority": 5, "timeout": 1,
            "requestedBy": "t", "traceId": "01900000000070008000000000000000", "usage": {},
            "createdAt": "2026-11-23T00:00:00Z", "updatedAt": "2026-11-23T00:00:00Z",
        }))
        .unwrap();
        task.error = Some(TaskError { error_type: error, message: String::new() });
        task
    }

    fn agent(next: &Next) -> Option<&str> {
        match next {
            Next::Dispatch(to) => Some(&to.agent),
            _ => None,
        }
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_untried_agent_comes_first_whatever_the_fault() {
        let config = OrchestratorConfig::default();
        let cards = [card("a", true), card("b", true)];
        let found = next(&task(&["a"], ErrorType::Conflict), MS, &cards, false, &config);
        assert_eq!(agent(&found), Some("b"));
    }

    #[test]
    fn the_same_agent_comes_again_after_a_pause_if_the_fault_may_pass() {
        let config = OrchestratorConfig::default();
        let cards = [card("a", true), card("b", false)];
        let again = |tried: &[&str], error, rested| next(&task(tried, error), rested, &cards, false, &config);
        let rest = Duration::from_millis(1_999);
        assert_eq!(again(&["a"], ErrorType::Timeout, MS), Next::Wait(rest));
        assert_eq!(agent(&again(&["a"], ErrorType::Timeout, Duration::from_secs(2))), Some("a"));
        assert_eq!(again(&["a", "a"], ErrorType::LlmError, Duration::from_secs(2)), Next::Wait(Duration::from_secs(6)));
        assert_eq!(agent(&again(&["a", "a"], ErrorType::LlmError, Duration::from_secs(8))), Some("a"));
        assert_eq!(again(&["a"], ErrorType::Conflict, Duration::from_secs(9)), Next::GiveUp);
    }

    #[test]
    fn without_any_agent_the_task_waits_for_a_while() {
        let config = OrchestratorConfig::default();
        let cards = [card("a", false)];
        let waits = |error, rested, settling| next(&task(&["a"], error), rested, &cards, settling, &config);
        let (soon, late) = (Duration::from_secs(1), Duration::from_secs(31));
        assert_eq!(waits(ErrorType::Unavailable, soon, false), Next::Wait(LOOK_AGAIN));
        assert_eq!(waits(ErrorType::Unavailable, late, false), Next::GiveUp);
        assert_eq!(waits(ErrorType::Unavailable, late, true), Next::Wait(LOOK_AGAIN));
        assert_eq!(waits(ErrorType::Conflict, soon, false), Next::GiveUp);
    }
}
