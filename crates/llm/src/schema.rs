//! JSON schemas: checking values, and telling what is wrong in two voices.

use jsonschema::Validator;
use serde_json::Value;

use crate::{LlmError, text};

/// Violations that are told; more would not help anybody.
const MAX_TOLD: usize = 5;
const MAX_MESSAGE_CHARS: usize = 300;

/// A schema made ready, and whose it is.
#[derive(Debug)]
pub(crate) struct Checker(Validator);

/// How a value violates a schema.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// For the model, which wrote the value: with values.
    pub for_model: String,
    /// For everybody else: with values left out.
    pub masked: String,
}

impl Checker {
    /// Makes `schema` ready. References to other documents are not followed.
    pub(crate) fn new(what: &str, schema: &Value) -> Result<Self, LlmError> {
        jsonschema::validator_for(schema)
            .map(Self)
            .map_err(|e| LlmError::InvalidSchema { what: what.to_owned(), source: e.to_string().into() })
    }

    /// Whether `value` fits.
    pub(crate) fn check(&self, value: &Value) -> Result<(), Violation> {
        let (mut for_model, mut masked) = (Vec::new(), Vec::new());
        for error in self.0.iter_errors(value).take(MAX_TOLD) {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "/".to_owned() } else { place };
            for_model.push(format!("at {place}: {}", text::word(&error.to_string(), MAX_MESSAGE_CHARS)));
            masked.push(format!("at {}: {}", text::word(&place, 100), error.kind().keyword()));
        }
        if for_model.is_empty() {
            return Ok(());
        }
        Err(Violation { for_model: for_model.join("\n"), masked: masked.join("; ") })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_model_is_told_values_and_nobody_else_is() {
        let checker = Checker::new("T", &json!({"properties": {"n": {"maximum": 3}}})).unwrap();
        assert_eq!(checker.check(&json!({"n": 3})), Ok(()));
        let violation = checker.check(&json!({"n": 41})).unwrap_err();
        assert!(violation.for_model.contains("41"), "{violation:?}");
        assert_eq!(violation.masked, "at /n: maximum");
    }

    #[test]
    fn a_schema_that_is_none_is_refused_by_name() {
        let error = Checker::new("lookup", &json!({"type": "nonsense"})).unwrap_err();
        assert_eq!(error.to_string(), "the schema of lookup is not a valid JSON schema");
    }
}
