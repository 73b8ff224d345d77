//! Exit codes: 0 done, 1 the task (or the command) failed, 2 usage, 3 the mesh cannot be reached.

use std::process::ExitCode;

use mesh_six_core::{ApiError, ErrorType};
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

/// Prints `error` in one line and gives its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let code = match (error.downcast_ref::<Exit>(), error.downcast_ref::<ApiError>()) {
        (Some(exit), _) => exit.code,
        (None, Some(api)) if api.error_type == ErrorType::Unknown => FAILED,
        (None, Some(api)) => api.error_type.exit_code(),
        (None, None) => FAILED,
    };
    let field = error.downcast_ref::<ApiError>().and_then(|e| e.field.as_deref()).map(|f| format!("{f}: "));
    let text = format!("{}{error:#}", field.unwrap_or_default());
    anstream::eprintln!("{} {}", owo_colors::OwoColorize::red(&"error:"), text.replace('\n', " "));
    ExitCode::from(code)
}
