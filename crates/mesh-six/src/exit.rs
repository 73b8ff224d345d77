//! Exit codes: 0 done, 1 the task (or the command) failed, 2 usage, 3 the mesh cannot be reached.

use std::process::ExitCode;

use mesh_six_core::{ApiError, ErrorType, error::ErrorBody};
use mesh_six_db::{DbError, export::TransferError};

/// The command or the task failed.
pub(crate) const FAILED: u8 = 1;
/// The command line or an input is wrong.
pub(crate) const USAGE: u8 = 2;
/// No mesh, or no database, answers.
pub(crate) const UNREACHABLE: u8 = 3;

/// An error with the exit code that it asks for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Exit {
    code: u8,
    message: String,
}

impl Exit {
    /// Wrong usage.
    pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
        Self { code: USAGE, message: message.into() }.into()
    }

    /// Nobody answers.
    pub(crate) fn unreachable(message: impl Into<String>) -> anyhow::Error {
        Self { code: UNREACHABLE, message: message.into() }.into()
    }

    /// The database refused, failed or was away.
    pub(crate) fn database(error: DbError) -> anyhow::Error {
        match error {
            DbError::Refused(refusal) => refusal.into(),
            DbError::Unavailable(_) => Self::unreachable(error.to_string()),
            other => other.into(),
        }
    }

    /// The database that a service is to use cannot be used; whatever else is wrong, its URL may be.
    pub(crate) fn named_database(error: DbError) -> anyhow::Error {
        match error {
            DbError::Refused(refusal) => refusal.into(),
            other => Self::unreachable(format!("cannot use DATABASE_URL: {other}")),
        }
    }

    /// An export or import failed.
    pub(crate) fn transfer(error: TransferError) -> anyhow::Error {
        match error {
            TransferError::Database(error) => Self::database(error),
            other => other.into(),
        }
    }
}

/// Whether `error` means that nobody answers.
pub(crate) fn is_unreachable(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Exit>().is_some_and(|exit| exit.code == UNREACHABLE)
}

/// Whether the command line asks for JSON. Also known where it could not be parsed.
pub(crate) fn wants_json() -> bool {
    std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json")
}

/// Prints `error` in one line, as text or as JSON, and gives its exit code. On stderr in both forms: what is on
/// stdout is a result.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let (code, told) = told(error);
    if wants_json() {
        return report_json(code, told);
    }
    let field = told.field.map(|field| format!("{field}: ")).unwrap_or_default();
    let text = crate::output::plain(&format!("{field}{}", told.message).replace('\n', " "));
    anstream::eprintln!("{} {text}", owo_colors::OwoColorize::red(&"error:"));
    ExitCode::from(code)
}

fn report_json(code: u8, error: ApiError) -> ExitCode {
    // Plain data with text keys always has a JSON form.
    let body = serde_json::to_string(&ErrorBody { error }).unwrap_or_default();
    anstream::eprintln!("{body}");
    ExitCode::from(code)
}

/// The exit code of `error`, and its form on the wire.
pub(crate) fn told(error: &anyhow::Error) -> (u8, ApiError) {
    let message = without_number(format!("{error:#}"));
    if let Some(exit) = error.downcast_ref::<Exit>() {
        let kind = match exit.code {
            USAGE => ErrorType::Validation,
            UNREACHABLE => ErrorType::Unavailable,
            _ => ErrorType::Unhandled,
        };
        return (exit.code, ApiError::new(kind, message));
    }
    match error.downcast_ref::<ApiError>() {
        Some(api) => {
            let code = if api.error_type == ErrorType::Unknown { FAILED } else { api.error_type.exit_code() };
            (code, ApiError { message, ..api.clone() })
        }
        None => (FAILED, ApiError::unhandled(message)),
    }
}

/// The system's own words end with a number that only its manual explains.
fn without_number(message: String) -> String {
    let number = message.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (os error "));
    match number {
        Some((words, number)) if number.bytes().all(|b| b.is_ascii_digit()) => words.to_owned(),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_keep_code_field_and_details_on_their_way_to_the_terminal() {
        let api = ApiError::new(ErrorType::NoAgent, "no agent").with_details(json!({ "scores": [] }));
        let with_context = Err::<(), _>(api.clone()).context("task 7").map_err(|e| told(&e));
        assert_eq!(with_context, Err((1, ApiError { message: "task 7: no agent".to_owned(), ..api })));
        let away = told(&Exit::unreachable("nobody"));
        assert_eq!(away, (UNREACHABLE, ApiError::unavailable("nobody")));
        assert_eq!(told(&Exit::usage("wrong")).1.error_type, ErrorType::Validation);
        assert_eq!(told(&anyhow::anyhow!("odd")), (FAILED, ApiError::unhandled("odd")));
        let io = std::io::Error::from_raw_os_error(2);
        assert_eq!(told(&Exit::usage(format!("x: {io}"))).1.message, "x: No such file or directory");
    }
}
