//! Answers of a given type.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Generator;
use crate::{
    LlmError, Message, ResponseSchema,
    schema::{Checker, Violation},
};

impl Generator {
    /// Asks for a `T`, which should be a struct: endpoints want an object. The answer is checked against the
    /// schema of `T`; the model hears once what is wrong with it and may try again.
    pub async fn structured<T: DeserializeOwned + JsonSchema>(
        &self,
        system: impl Into<String>,
        user: impl Into<String>,
    ) -> Result<T, LlmError> {
        let name = wire_name(&T::schema_name());
        let schema = schemars::schema_for!(T).to_value();
        let checker = Checker::new(&name, &schema)?;
        let mut request = self.request(system.into(), user.into());
        request.response_schema = Some(ResponseSchema { name, schema: schema.clone() });

        let first = self.ask(&mut request, 1).await?;
        let violation = match read(&checker, &first.content) {
            Ok(value) => return Ok(value),
            Err(violation) => violation,
        };
        request.messages.push(Message::assistant(first.content, Vec::new()));
        request.messages.push(Message::user(complaint(&violation, &schema)));
        let second = self.ask(&mut request, 2).await?;
        read(&checker, &second.content).map_err(|v| LlmError::SchemaViolation { violation: v.masked })
    }
}

/// The value in an answer, checked. Some models wrap JSON into a fenced block whatever they are told.
fn read<T: DeserializeOwned>(checker: &Checker, answer: &str) -> Result<T, Violation> {
    let value: Value = serde_json::from_str(unfenced(answer)).map_err(|error| Violation {
        for_model: format!("it is not JSON: {error}"),
        masked: format!("it is not JSON (line {}, column {})", error.line(), error.column()),
    })?;
    checker.check(&value)?;
    serde_json::from_value(value).map_err(|error| Violation {
        for_model: error.to_string(),
        masked: "it fits the schema but not the type".to_owned(),
    })
}

fn unfenced(answer: &str) -> &str {
    let answer = answer.trim();
    let inner = answer.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inner.map_or(answer, |inner| inner.strip_prefix("json").unwrap_or(inner))
}

/// Holds the schema again, for endpoints that ignore `response_format`.
fn complaint(violation: &Violation, schema: &Value) -> String {
    format!(
        "Your answer does not fit the schema:\n{}\n\nAnswer again with nothing but one JSON value that fits this \
         schema:\n{schema}",
        violation.for_model
    )
}

/// A name as the wire allows it.
fn wire_name(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    name.chars().map(allowed).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_come_off() {
        for answer in ["{}", " {} \n", "```json\n{}\n```", "```\n{}```"] {
            assert_eq!(unfenced(answer).trim(), "{}", "{answer:?}");
        }
    }

    #[test]
    fn names_fit_the_wire() {
        assert_eq!(wire_name("Array_of_Größe"), "Array_of_Gr__e");
        assert_eq!(wire_name(&"x".repeat(99)).len(), 64);
    }
}
