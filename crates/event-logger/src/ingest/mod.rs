//! Messages into events: durable before acknowledged, exactly once in effect.
//!
//! A handler turns each message of a batch into an event or a refusal; [`Intake`] writes the events and answers.
//! SUCCESS only after the commit, RETRY while the infrastructure is away, BURIED for what can never succeed, once
//! it is stored with its reason.

mod dead;
mod events;
mod facts;
mod progress;
mod results;
#[cfg(test)]
mod tests;

use mesh_six_core::{ApiError, Event, text::shortened};
use mesh_six_db::{
    Database, DbError,
    dead_letters::{self, DeadLetter},
    events::{Appended, EventLog},
};
use mesh_six_sidecar::{Delivery, Status};

pub(crate) use dead::DeadLetters;
pub(crate) use facts::Facts;
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
        match error {
            DbError::Unavailable(_) | DbError::Locked => Self::Later,
            DbError::Refused(refusal) => Self::Bad(refusal),
            DbError::Query(_) => {
                // What the server said is for the log; the dead letter tells only the kind.
                tracing::error!(error = &error as &dyn std::error::Error, "the database refused a message's query");
                Self::Bad(error.into())
            }
        }
    }
}

impl Intake {
    /// Writes the events of a batch in one go and answers each message.
    pub(crate) async fn take(&self, deliveries: &[Delivery], read: Vec<Result<Event, Refusal>>) -> Vec<Status> {
        let (mut events, mut answers) = (Vec::new(), Vec::new());
        for one in read {
            answers.push(one.map(|event| events.push(event)));
        }
        let mut written = self.log.append_each(events).await.into_iter();
        for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
            *answer = match written.next() {
                Some(Ok(Appended::Written(_) | Appended::Duplicate)) => Ok(()),
                Some(Err(error)) => Err(error.into()),
                None => Err(Refusal::Later),
            };
        }
        self.answer(deliveries, &answers).await
    }

    /// One status each. Messages that are dropped become dead letters first, all at once.
    async fn answer(&self, deliveries: &[Delivery], answers: &[Result<(), Refusal>]) -> Vec<Status> {
        let bad = deliveries.iter().zip(answers).filter_map(|(delivery, answer)| match answer {
            Err(Refusal::Bad(error)) => Some((delivery, error)),
            _ => None,
        });
        let letters: Vec<DeadLetter> = bad.clone().map(|(d, error)| self.letter(d, &reason(error))).collect();
        let buried = self.bury(&letters).await;
        if buried != Status::Retry {
            bad.for_each(|(delivery, error)| tell(delivery, error));
        }
        answers
            .iter()
            .map(|answer| match answer {
                Ok(()) => Status::Success,
                Err(Refusal::Bad(_)) => buried,
                Err(Refusal::Later) => Status::Retry,
            })
            .collect()
    }

    /// A message of this app that is dropped because of `reason`.
    fn letter(&self, delivery: &Delivery, reason: &str) -> DeadLetter {
        DeadLetter {
            app_id: self.app_id.clone(),
            topic: delivery.topic.clone(),
            source: delivery.event.source.clone(),
            id: delivery.event.id.clone(),
            envelope: delivery.bytes.to_vec(),
            reason: Some(reason.to_owned()),
        }
    }

    /// Stores why `delivery` is refused, and says what it is answered.
    pub(crate) async fn dropped(&self, delivery: &Delivery, reason: &str) -> Status {
        self.bury(&[self.letter(delivery, reason)]).await
    }

    /// Stores letters of messages that are refused, and says what these are answered: RETRY while the database is away.
    /// Where it never will, the messages are dropped all the same: the broker's copies then wait at the topic of dead
    /// letters.
    async fn bury(&self, letters: &[DeadLetter]) -> Status {
        match self.store(letters).await {
            Ok(()) => Status::Buried,
            Err(error) if error.is_transient() => Status::Retry,
            Err(_) => Status::Drop,
        }
    }

    /// Stores dead letters.
    pub(crate) async fn store(&self, letters: &[DeadLetter]) -> Result<(), DbError> {
        if letters.is_empty() {
            return Ok(());
        }
        let stored = async {
            let mut conn = self.db.conn().await?;
            dead_letters::store(&mut conn, letters).await
        };
        stored.await.inspect_err(|error| {
            let error: &dyn std::error::Error = error;
            tracing::warn!(error, letters = letters.len(), "dead letters were not stored");
        })
    }
}

/// What a dead letter says: the field, then what is wrong with it.
fn reason(error: &ApiError) -> String {
    match &error.field {
        Some(field) => format!("{field}: {}", error.message),
        None => error.message.clone(),
    }
}

/// Logs a message that is dropped. The error's text is for the dead letter: it may quote the message.
fn tell(delivery: &Delivery, error: &ApiError) {
    let Delivery { topic, event, .. } = delivery;
    let id = shortened(&event.id, 128);
    tracing::warn!(messaging.topic = %topic, event.id = %id, field = error.field, "a message was refused");
}
