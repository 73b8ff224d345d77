//! What waits in the queue: events that are written together or not at all, and who wants to know.

use mesh_six_core::{ApiError, event::EventKey, id::new_id, time};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Appended, entry::Entry};
use crate::error::{DbError, DbResult};

/// Events of one call that stand or fall together.
pub(crate) struct Unit {
    pub(crate) entries: Vec<Entry>,
    /// Where the caller keeps a key across its own tries; such a unit is written in a batch of its own.
    pub(crate) batch_key: Option<BatchKey>,
    pub(crate) reply: oneshot::Sender<DbResult<Vec<Appended>>>,
    /// Room in the queue, given back with the answer.
    pub(crate) room: OwnedSemaphorePermit,
}

impl Unit {
    /// Answers the caller, who may have gone away.
    pub(crate) fn answer(self, result: DbResult<Vec<Appended>>) {
        drop(self.room);
        let _ = self.reply.send(result);
    }
}

/// A key for the events of a batch that have none, so that a second try does not double them.
#[derive(Clone, Debug)]
pub(crate) struct BatchKey(String);

impl BatchKey {
    /// A new one, of this month.
    pub(crate) fn new() -> Self {
        Self(format!("batch:{}", new_id()))
    }

    /// The key of one chunk of the batch: each chunk is one statement and is new or known as a whole.
    pub(crate) fn of_chunk(&self, chunk: usize) -> Result<EventKey, ApiError> {
        EventKey::parse(&format!("{}:{chunk}", self.0), time::now())
    }
}

/// The same error for everyone who was waiting.
pub(crate) fn copy(error: &DbError) -> DbError {
    match error {
        DbError::Locked => DbError::Locked,
        DbError::Refused(refusal) => DbError::Refused(refusal.clone()),
        DbError::Unavailable(why) => DbError::Unavailable(why.clone()),
        DbError::Query(_) => DbError::Unavailable(error.to_string()),
    }
}
