//! Errors of the database, sorted by what a caller can do about them.
//!
//! The classes of SQLSTATE tell. diesel does not hand it on, so there those that matter (08, 40, 53, 57, 55P03) are told by diesel's
//! kind where it has one and by the server's English message otherwise; our connections ask for English where
//! they may ([`crate::pool`]).

use diesel::result::{DatabaseErrorKind, Error};
use mesh_six_core::{ApiError, ErrorType};
use tokio_postgres::error::SqlState;

/// What went wrong in the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The server is away, starting, full or overloaded: the same call may succeed later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Somebody's open transaction holds what this call needs: the same call may succeed later.
    #[error("the database row is locked by another transaction")]
    Locked,
    /// The input can never be written.
    #[error("{0}")]
    Refused(ApiError),
    /// Anything else; trying again does not help.
    #[error("a database query failed")]
    Query(#[source] Error),
}

/// Shorthand for results of this crate.
pub type DbResult<T> = Result<T, DbError>;

impl DbError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Locked)
    }

    /// Whether the input is to blame.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

impl From<ApiError> for DbError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        match class(&error) {
            Class::Transient => Self::Unavailable(brief(&error)),
            Class::Locked => Self::Locked,
            Class::Permanent => Self::Query(error),
        }
    }
}

/// Here the server's code is known.
impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else { return Self::Unavailable(error.to_string()) };
        let (code, message) = (refusal.code(), refusal.message().to_owned());
        match code.code().get(..2) {
            _ if *code == SqlState::LOCK_NOT_AVAILABLE => Self::Locked,
            _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => Self::Unavailable(message),
            Some("08" | "40" | "53" | "57" | "58") => Self::Unavailable(message),
            _ => Self::Query(Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message))),
        }
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Refused(refusal) => refusal,
            DbError::Query(Error::NotFound) => Self::not_found("there is no such row"),
            DbError::Query(_) => Self::unhandled(error.to_string()),
            DbError::Unavailable(_) | DbError::Locked => Self::new(ErrorType::Unavailable, error.to_string()),
        }
    }
}

enum Class {
    Transient,
    Locked,
    Permanent,
}

/// Beginnings or parts of the English messages of SQLSTATE classes 40, 53 and 57 that diesel calls unknown.
const TRANSIENT: [&str; 17] = [
    "deadlock detected",
    "No space left on device",
    "could not extend file",
    "could not write",
    "could not access file",
    "out of memory",
    "out of shared memory",
    "too many clients",
    "remaining connection slots",
    "canceling statement due to statement timeout",
    "canceling statement due to user request",
    "terminating connection",
    "idle-in-transaction timeout",
    "the database system is",
    "server closed the connection",
    "connection closed",
    "cannot execute",
];

fn class(error: &Error) -> Class {
    match error {
        Error::DatabaseError(kind, info) => match kind {
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::SerializationFailure
            | DatabaseErrorKind::ReadOnlyTransaction => Class::Transient,
            DatabaseErrorKind::Unknown if info.message().contains("lock timeout") => Class::Locked,
            DatabaseErrorKind::Unknown if info.message().contains("could not obtain lock") => Class::Locked,
            DatabaseErrorKind::Unknown if TRANSIENT.iter().any(|t| info.message().contains(t)) => Class::Transient,
            _ => Class::Permanent,
        },
        Error::BrokenTransactionManager | Error::RollbackErrorOnCommit { .. } => Class::Transient,
        _ => Class::Permanent,
    }
}

/// The server's own sentence; it holds no row's content.
fn brief(error: &Error) -> String {
    match error {
        Error::DatabaseError(_, info) => info.message().to_owned(),
        other => other.to_string(),
    }
}

/// What a connection failed of: the server's own sentence, else the innermost cause.
pub(crate) fn message(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| innermost(error), |db| db.message().to_owned())
}

/// The error at the root of `error`.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
