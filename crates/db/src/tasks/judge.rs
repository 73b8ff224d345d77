//! Whether an answer counts: pure, so that every combination can be tested.

use mesh_six_core::{
    event::catalogue::RejectReason,
    task::{AttemptOutcome, TaskStatus},
};

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It ends the open attempt.
    Take,
    /// Its attempt has ended, but it is a success and the task goes on: it ends the task.
    TakeLate,
    /// It does not count.
    Reject(RejectReason),
    /// It was seen before.
    Duplicate,
}

/// An answer and what it meets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    /// Where the task stands.
    pub(super) task: TaskStatus,
    /// Who was asked, and how the attempt ended; `None` if there was no such attempt.
    pub(super) attempt: Option<(&'a str, Option<&'a str>)>,
    /// Who answers.
    pub(super) agent: &'a str,
    /// Whether the work was done.
    pub(super) success: bool,
    /// Whether this answer was taken from the inbox before.
    pub(super) taken: bool,
    /// Whether another answer to this attempt was accepted.
    pub(super) differs: bool,
}

pub(super) fn rule(case: Case<'_>) -> Ruling {
    let Some((asked, outcome)) = case.attempt else { return Ruling::Reject(RejectReason::Forged) };
    if asked != case.agent {
        return Ruling::Reject(RejectReason::WrongAgent);
    }
    let answered = [AttemptOutcome::Success.as_str(), AttemptOutcome::Failed.as_str()];
    match outcome {
        _ if case.taken => Ruling::Duplicate,
        Some(outcome) if answered.contains(&outcome) && case.differs => Ruling::Reject(RejectReason::Forged),
        Some(outcome) if answered.contains(&outcome) => Ruling::Duplicate,
        None if !case.task.is_final() => Ruling::Take,
        Some(_) if case.success && !case.task.is_final() => Ruling::TakeLate,
        _ => Ruling::Reject(RejectReason::Late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(task: TaskStatus, outcome: Option<&str>, success: bool) -> Case<'_> {
        Case { task, attempt: Some(("a", outcome)), agent: "a", success, taken: false, differs: false }
    }

    #[test]
    fn an_answer_counts_once_and_only_from_the_agent_that_was_asked() {
        use TaskStatus::{Cancelled, Completed, Dispatched, Pending};
        let late = Ruling::Reject(RejectReason::Late);
        for (task, outcome, success, ruling) in [
            (Dispatched, None, true, Ruling::Take),
            (Dispatched, None, false, Ruling::Take),
            (Dispatched, Some("timeout"), true, Ruling::TakeLate),
            (Pending, Some("unavailable"), true, Ruling::TakeLate),
            (Dispatched, Some("timeout"), false, late),
            (Pending, Some("failed"), false, Ruling::Duplicate),
            (Completed, Some("success"), true, Ruling::Duplicate),
            (Completed, Some("cancelled"), true, late),
            (Cancelled, Some("cancelled"), true, late),
            (TaskStatus::Failed, Some("timeout"), true, late),
        ] {
            assert_eq!(rule(case(task, outcome, success)), ruling, "{task:?} {outcome:?} {success}");
        }
        let other = Case { agent: "b", ..case(Dispatched, None, true) };
        assert_eq!(rule(other), Ruling::Reject(RejectReason::WrongAgent));
        let unknown = Case { attempt: None, ..case(Dispatched, None, true) };
        assert_eq!(rule(unknown), Ruling::Reject(RejectReason::Forged));
        let changed = Case { differs: true, ..case(Completed, Some("success"), true) };
        assert_eq!(rule(changed), Ruling::Reject(RejectReason::Forged));
        let again = Case { taken: true, ..case(Dispatched, Some("unavailable"), false) };
        assert_eq!(rule(again), Ruling::Duplicate);
    }
}
