//! What was found of a criterion.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

/// How a criterion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Verdict {
    /// It was seen to hold.
    Pass,
    /// It was seen not to hold, or could not be seen though it should have been.
    Fail,
    /// It cannot be seen from here.
    NotApplicable,
    /// What it is about does not exist yet.
    NotBuilt,
}

impl Verdict {
    /// As the table shows it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::NotApplicable => "not applicable",
            Self::NotBuilt => "not built",
        }
    }
}

/// What a check says.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) reason: Option<String>,
    pub(crate) evidence: Value,
}

impl Outcome {
    /// It holds, as `evidence` shows.
    pub(crate) fn pass(evidence: Value) -> Self {
        Self { verdict: Verdict::Pass, reason: None, evidence }
    }

    /// It does not hold.
    pub(crate) fn fail(reason: impl Into<String>, evidence: Value) -> Self {
        Self { verdict: Verdict::Fail, reason: Some(reason.into()), evidence }
    }

    /// It holds if `holds`, else `reason` says what is wrong.
    pub(crate) fn judged(holds: bool, reason: &str, evidence: Value) -> Self {
        if holds { Self::pass(evidence) } else { Self::fail(reason, evidence) }
    }

    /// It holds if there are no `problems`.
    pub(crate) fn of(problems: &[String], evidence: Value) -> Self {
        if problems.is_empty() { Self::pass(evidence) } else { Self::fail(problems.join("; "), evidence) }
    }

    /// Whether it was seen to hold.
    pub(crate) fn holds(&self) -> bool {
        self.verdict == Verdict::Pass
    }

    /// No pass, since not all that is asked for could be seen: what was seen holds, and `reason` says what is missing.
    pub(crate) fn at_best(self, reason: impl Into<String>) -> Self {
        if self.holds() { Self { verdict: Verdict::NotApplicable, reason: Some(reason.into()), ..self } } else { self }
    }

    /// It cannot be seen here.
    pub(crate) fn not_applicable(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotApplicable, reason: Some(reason.into()), evidence: Value::Null }
    }
}

/// A criterion with what was found of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    pub(crate) id: &'static str,
    pub(crate) sentence: &'static str,
    pub(crate) verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(crate) evidence: Value,
    pub(crate) duration_ms: u64,
}

impl Finding {
    /// What `outcome` says of a criterion, after `took`. A check that broke off has failed.
    pub(crate) fn of(
        id: &'static str,
        sentence: &'static str,
        outcome: anyhow::Result<Outcome>,
        took: Duration,
    ) -> Self {
        let outcome =
            outcome.unwrap_or_else(|error| Outcome::fail(format!("could not be checked: {error:#}"), Value::Null));
        let Outcome { verdict, reason, evidence } = outcome;
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { id, sentence, verdict, reason, evidence, duration_ms }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_check_that_broke_off_has_failed() {
        let broken = Finding::of("M1.3", "-", Err(anyhow::anyhow!("no answer")), Duration::from_millis(7));
        assert_eq!((broken.verdict, broken.duration_ms), (Verdict::Fail, 7));
        assert_eq!(broken.reason.as_deref(), Some("could not be checked: no answer"));
        assert_eq!(Outcome::judged(false, "why", json!(1)).verdict, Verdict::Fail);
        assert_eq!(Outcome::judged(true, "why", json!(1)).reason, None);
        let half = Outcome::pass(json!(1)).at_best("too early");
        assert_eq!((half.verdict, half.reason.as_deref()), (Verdict::NotApplicable, Some("too early")));
        let wrong = Outcome::of(&["a".to_owned(), "b".to_owned()], json!(1)).at_best("too early");
        assert_eq!((wrong.verdict, wrong.reason.as_deref()), (Verdict::Fail, Some("a; b")));
    }
}
