//! Getting data out: the log, or a part of it, as JSON lines in the log's order, in constant memory.
//!
//! Rows that could still get a predecessor are left for the next export, so that files end to end are the log.

mod file;
mod lines;
mod read;

use std::{io, path::PathBuf};

use mesh_six_core::ApiError;

use crate::error::DbError;
pub use file::{ExportFile, Receipt};
pub(crate) use lines::{Line, next as next_line};
pub use read::{Export, Range};

/// What can go wrong on the way to or from a file.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file, or the pipe.
    #[error("cannot use {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The input could not be read.
    #[error("the input cannot be read")]
    Input(#[source] io::Error),
    /// A line is not what an export writes.
    #[error("line {line}: {refusal}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        refusal: ApiError,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<diesel::result::Error> for TransferError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}
