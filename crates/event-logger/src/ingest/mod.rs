//! Messages into events: durable before acknowledged, exactly once in effect.
//!
//! A handler turns each message of a batch into an event or a refusal; [`Intake`] writes the events and answers.
//! SUCCESS only after the commit, RETRY while the infrastructure is away, DROP for what can never succeed, and
//! only after its reason was stored.

mod dead;
mod events;
mod progress;
mod results;

use mesh_six_core::{ApiError, Event};
use mesh_six_db::{
    Database, DbError,
    dead_letters::{self, DeadLetter},
    events::{Appended, EventLog},
};
use mesh_six_sidecar::{Delivery, Status};

pub(crate) use dead::DeadLetters;
pub(crate) use events::TaskEvents;
pub(crate) use progress::TaskProgressNotes;
pub(crate) use results::TaskResults;

/// Where all handlers write to.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) db: Database,
    pub(crate) log: EventLog,
    pub(crate) app_id: String,
}

/// Why a message gives no event.
pub(crate) enum Refusal {
    /// It never will: to the dead letters.
    Bad(ApiError),
    /// It cannot be judged now.
    Later,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Bad(error)
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        if error.is_transient() {
            return Self::Later;
        }
        Self::Bad(error.into())
    }
}

impl Intake {
    /// Writes the events of a batch in one go and answers each message.
    pub(crate) async fn take(&self, deliveries: &[Delivery], read: Vec<Result<Event, Refusal>>) -> Vec<Status> {
        let (mut events, mut refusals) = (Vec::new(), Vec::new());
        for one in read {
            match one {
                Ok(event) => {
                    events.push(event);
                    refusals.push(None);
                }
                Err(refusal) => refusals.push(Some(refusal)),
            }
        }
        let mut written = self.log.append_each(events).await.into_iter();
        let mut statuses = Vec::with_capacity(deliveries.len());
        for (delivery, refusal) in deliveries.iter().zip(refusals) {
            let refusal = match refusal {
                Some(refusal) => Err(refusal),
                None => match written.next() {
                    Some(Ok(Appended::Written(_) | Appended::Duplicate)) => Ok(()),
                    Some(Err(error)) => Err(error.into()),
                    None => Err(Refusal::Later),
                },
            };
            statuses.push(match refusal {
                Ok(()) => Status::Success,
                Err(Refusal::Later) => Status::Retry,
                Err(Refusal::Bad(error)) => self.drop(delivery, &error).await,
            });
        }
        statuses
    }

    /// DROP once the reason is stored, else RETRY.
    async fn drop(&self, delivery: &Delivery, error: &ApiError) -> Status {
        let reason = match &error.field {
            Some(field) => format!("{field}: {}", error.message),
            None => error.message.clone(),
        };
        if self.bury(delivery, &reason).await { Status::Drop } else { Status::Retry }
    }

    /// Stores a message of this app that will be dropped; false while the database is away.
    pub(crate) async fn bury(&self, delivery: &Delivery, reason: &str) -> bool {
        metrics::counter!("mesh_six_messages_refused_total", "topic" => delivery.topic.clone()).increment(1);
        let letter = DeadLetter {
            app_id: self.app_id.clone(),
            topic: delivery.topic.clone(),
            source: delivery.event.source.clone(),
            id: delivery.event.id.clone(),
            envelope: delivery.bytes.to_vec(),
            reason: Some(reason.to_owned()),
        };
        self.store(&[letter]).await.is_ok()
    }

    /// Stores dead letters.
    pub(crate) async fn store(&self, letters: &[DeadLetter]) -> Result<(), DbError> {
        let stored = async {
            let mut conn = self.db.conn().await?;
            dead_letters::store(&mut conn, letters).await
        };
        stored.await.inspect_err(|error| {
            tracing::warn!(error = %error, letters = letters.len(), "dead letters were not stored; they will come again");
        })
    }
}
