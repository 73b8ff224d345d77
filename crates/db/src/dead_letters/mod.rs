//! Messages that failed for good: a queue, not a bin. Each is kept with its reason and its bytes until somebody
//! replays or discards it.
//!
//! A replay goes through the [`crate::outbox`], in the transaction that changes the letter's state, so it is neither
//! lost nor done twice by two people at once. What is sent is the same event as before, to the topic it came from:
//! every subscriber gets it again, and knows by its key what it had.

mod decide;
mod find;
mod send;
mod store;
mod upkeep;

use chrono::{DateTime, Utc};
use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    pg::{Pg, PgValue},
    prelude::*,
    sql_types,
};
use mesh_six_core::time;
use serde::{Deserialize, Serialize};

use crate::schema::dead_letters;

pub use decide::{discard, replay};
pub use find::{LetterCursor, LetterFilter, Waiting, check_id, get, list, oldest_waiting, waiting};
pub use send::{to_send, unsendable};
pub use store::store;
pub use upkeep::{KEEP, prune, run_upkeep};

/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 1_000;

/// A message to be stored; its key is app-id, topic, source and id, so a message fails once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Whose subscription it failed in.
    pub app_id: String,
    /// The topic it was sent to.
    pub topic: String,
    /// CloudEvent source.
    pub source: String,
    /// CloudEvent id, or a hash of the bytes where there is none.
    pub id: String,
    /// The bytes as they came.
    pub envelope: Vec<u8>,
    /// Why; `None` where only the broker's forwarded copy is known.
    pub reason: Option<String>,
}

/// Where a letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, FromSqlRow, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[diesel(sql_type = sql_types::Text)]
pub enum LetterState {
    /// For somebody's decision.
    Waiting,
    /// It was, or will at once be, sent again. If it fails again it waits again.
    Replayed,
    /// Nobody wants it any more.
    Discarded,
}

impl LetterState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Replayed, Self::Discarded];

    /// The name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }

    /// From the name; `None` if there is no such state.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl FromSql<sql_types::Text, Pg> for LetterState {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let name = <String as FromSql<sql_types::Text, Pg>>::from_sql(value)?;
        Self::from_name(&name).ok_or_else(|| format!("a letter has no state {name}").into())
    }
}

diesel::define_sql_function! {
    /// The number of bytes.
    fn octet_length(bytes: sql_types::Binary) -> sql_types::Integer;
}

/// A letter without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[diesel(table_name = dead_letters, check_for_backend(Pg))]
pub struct Letter {
    /// Made of its key, so it never changes; its beginning is enough to name it.
    #[diesel(column_name = letter_id)]
    pub id: String,
    /// Whose subscription it failed in; `unknown` where only the broker's copy came.
    pub app_id: String,
    /// The topic it was sent to.
    pub topic: String,
    /// CloudEvent source.
    pub source: String,
    /// CloudEvent id, or a hash of the bytes where there is none.
    #[diesel(column_name = id)]
    pub event_id: String,
    /// Why it failed last.
    pub reason: String,
    /// How often it failed.
    pub tries: i32,
    /// Where it stands.
    pub state: LetterState,
    /// When it failed first.
    #[serde(with = "time::micros")]
    pub first_at: DateTime<Utc>,
    /// When it failed last.
    #[serde(with = "time::micros")]
    pub last_at: DateTime<Utc>,
    /// When it was replayed or discarded last.
    #[serde(with = "time::micros_option", default)]
    pub decided_at: Option<DateTime<Utc>>,
    /// How many bytes it has; none after their content was erased.
    #[diesel(
        select_expression = octet_length(dead_letters::envelope),
        select_expression_type = octet_length<dead_letters::envelope>
    )]
    pub bytes: i32,
}

/// A letter with its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = dead_letters, check_for_backend(Pg))]
pub struct StoredLetter {
    /// What is known of it.
    #[diesel(embed)]
    pub letter: Letter,
    /// The bytes as they came; empty after their content was erased.
    pub envelope: Vec<u8>,
}
