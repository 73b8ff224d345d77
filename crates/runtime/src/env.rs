//! The environment, read once at the start, through a trait so that tests need not change the process's own.

use std::{collections::BTreeMap, str::FromStr};

/// Where configuration comes from.
pub trait Env {
    /// The value of `name`. Empty counts as not set, as manifests often write it that way.
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn get(&self, name: &str) -> Option<String> {
        // What is no Unicode is replaced, so that the check of the variable names it instead of ignoring it.
        let value = std::env::var_os(name)?.to_string_lossy().trim().to_owned();
        (!value.is_empty()).then_some(value)
    }
}

/// An environment made of given values, for tests and for services that run in another's process.
#[derive(Clone, Debug, Default)]
pub struct MapEnv(BTreeMap<String, String>);

impl MapEnv {
    /// From pairs of name and value.
    pub fn new<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect())
    }
}

impl Env for MapEnv {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
    }
}

/// A variable that cannot be used. The message never repeats the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong, as the rest of a sentence that begins with the name.
    pub problem: String,
}

impl ConfigError {
    /// A problem with `variable`.
    pub fn new(variable: &'static str, problem: impl Into<String>) -> Self {
        Self { variable, problem: problem.into() }
    }
}

/// The value of `name` as a `T`, or `default`; `expected` says in the error what it must be.
pub fn parsed<T: FromStr>(env: &dyn Env, name: &'static str, default: T, expected: &str) -> Result<T, ConfigError> {
    match env.get(name) {
        None => Ok(default),
        Some(value) => {
            value.parse().map_err(|_| ConfigError::new(name, format!("is `{value}`, but must be {expected}")))
        }
    }
}

/// The value of `name` as a switch: true, 1, yes, on or false, 0, no, off.
pub fn switch(env: &dyn Env, name: &'static str, default: bool) -> Result<bool, ConfigError> {
    match env.get(name).map(|v| v.to_ascii_lowercase()).as_deref() {
        None => Ok(default),
        Some("true" | "1" | "yes" | "on") => Ok(true),
        Some("false" | "0" | "no" | "off") => Ok(false),
        Some(value) => Err(ConfigError::new(name, format!("is `{value}`, but must be true or false"))),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    #[test]
    fn empty_is_not_set_and_errors_name_the_variable() {
        let env = MapEnv::new([("A", " "), ("PORT", "70000"), ("B", "ON"), ("C", "maybe")]);
        assert_eq!(env.get("A"), None);
        let error = parsed(&env, "PORT", 1_u16, "a port").unwrap_err();
        assert_eq!(error.to_string(), "PORT is `70000`, but must be a port");
        assert_eq!(switch(&env, "B", false), Ok(true));
        assert_eq!(switch(&env, "C", false).unwrap_err().to_string(), "C is `maybe`, but must be true or false");
    }
}
