//! Letters are looked at: one, a page, and how many wait.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use diesel::{prelude::*, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{ApiError, ErrorType};

use super::{Letter, LetterState, StoredLetter};
use crate::{
    error::DbResult,
    schema::dead_letters,
    statement::{Statement, Value},
};

/// Digits of a letter's whole id.
const ID_DIGITS: usize = 32;
/// The fewest that name one: enough to be unambiguous in any queue that people work on.
const MIN_DIGITS: usize = 6;

/// Refuses what cannot be the id of a letter, or its beginning.
pub fn check_id(field: &str, id: &str) -> Result<(), ApiError> {
    let hex = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if hex && (MIN_DIGITS..=ID_DIGITS).contains(&id.len()) {
        return Ok(());
    }
    let wanted = format!("the id of a letter is wanted, or its first {MIN_DIGITS} to {ID_DIGITS} hex digits");
    Err(ApiError::validation(field, wanted))
}

/// A place in the list of letters, newest failure first. Opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterCursor {
    last_at: DateTime<Utc>,
    id: String,
}

impl LetterCursor {
    /// After `letter`.
    pub fn after(letter: &Letter) -> Self {
        Self { last_at: letter.last_at, id: letter.id.clone() }
    }
}

impl fmt::Display for LetterCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.last_at.timestamp_micros(), self.id)
    }
}

impl FromStr for LetterCursor {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let read = || {
            let (micros, id) = text.split_once('-')?;
            let last_at = DateTime::from_timestamp_micros(i64::from_str_radix(micros, 16).ok()?)?;
            check_id("after", id).ok()?;
            Some(Self { last_at, id: id.to_owned() })
        };
        read().ok_or_else(|| ApiError::validation("after", "not a cursor of this list; take it from `next`"))
    }
}

/// Which letters to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Only those in this state.
    pub state: Option<LetterState>,
    /// Only those sent to this topic.
    pub topic: Option<String>,
    /// Only those that failed in a subscription of this app.
    pub app_id: Option<String>,
    /// Only those that failed last at or after.
    pub since: Option<DateTime<Utc>>,
    /// Only those after this place.
    pub after: Option<LetterCursor>,
    /// At most so many.
    pub limit: i64,
}

/// Letters, the newest failure first.
pub async fn list(conn: &mut AsyncPgConnection, filter: &LetterFilter) -> DbResult<Vec<Letter>> {
    let mut query = dead_letters::table.into_boxed();
    if let Some(state) = filter.state {
        query = query.filter(dead_letters::state.eq(state.as_str()));
    }
    if let Some(topic) = &filter.topic {
        query = query.filter(dead_letters::topic.eq(topic));
    }
    if let Some(app_id) = &filter.app_id {
        query = query.filter(dead_letters::app_id.eq(app_id));
    }
    if let Some(since) = filter.since {
        query = query.filter(dead_letters::last_at.ge(since));
    }
    if let Some(after) = &filter.after {
        let same_time = dead_letters::last_at.eq(after.last_at).and(dead_letters::letter_id.lt(&after.id));
        query = query.filter(dead_letters::last_at.le(after.last_at));
        query = query.filter(dead_letters::last_at.lt(after.last_at).or(same_time));
    }
    Ok(query
        .order((dead_letters::last_at.desc(), dead_letters::letter_id.desc()))
        .limit(filter.limit)
        .select(Letter::as_select())
        .load(conn)
        .await?)
}

/// The letter whose id is, or begins with, `id`; refused where there is none, or more than one.
pub async fn get(conn: &mut AsyncPgConnection, id: &str) -> DbResult<StoredLetter> {
    let letter_id = whole_id(conn, id).await?;
    Ok(dead_letters::table
        .filter(dead_letters::letter_id.eq(letter_id))
        .select(StoredLetter::as_select())
        .first(conn)
        .await?)
}

/// The whole id that begins with `id`.
pub(super) async fn whole_id(conn: &mut AsyncPgConnection, id: &str) -> DbResult<String> {
    check_id("id", id)?;
    // `g` is the first letter that no id has.
    let mut found: Vec<String> = dead_letters::table
        .filter(dead_letters::letter_id.ge(id))
        .filter(dead_letters::letter_id.lt(format!("{id}g")))
        .order(dead_letters::letter_id.asc())
        .limit(2)
        .select(dead_letters::letter_id)
        .load(conn)
        .await?;
    let of_id = |error| ApiError { field: Some("id".to_owned()), ..error };
    match (found.pop(), found.pop()) {
        (Some(one), None) => Ok(one),
        (Some(other), Some(one)) => {
            let message = format!("{id} is the beginning of more than one letter, such as {one} and {other}");
            Err(of_id(ApiError::new(ErrorType::Conflict, message)).into())
        }
        (None, _) => Err(of_id(ApiError::not_found(format!("there is no dead letter {id}"))).into()),
    }
}

/// Letters that wait for the same subscription.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Waiting {
    /// Whose it is.
    #[diesel(sql_type = sql_types::Text)]
    pub app_id: String,
    /// The topic.
    #[diesel(sql_type = sql_types::Text)]
    pub topic: String,
    /// How many wait.
    #[diesel(sql_type = sql_types::BigInt)]
    pub count: i64,
}

/// How many letters wait, by app and topic, the most first; at most `limit` groups, since the names come from
/// strangers.
pub async fn waiting(conn: &mut AsyncPgConnection, limit: i64) -> DbResult<Vec<Waiting>> {
    Ok(Statement::named(
        "SELECT app_id, topic, count(*) AS count FROM dead_letters WHERE state = 'waiting'
        GROUP BY app_id, topic ORDER BY count DESC, topic, app_id LIMIT $1",
        &[Value::Long(limit)],
    )
    .load(conn)
    .await?)
}

/// How many letters wait, and since when the oldest does.
pub async fn oldest_waiting(conn: &mut AsyncPgConnection) -> DbResult<(i64, Option<DateTime<Utc>>)> {
    use diesel::dsl::{count_star, min};
    Ok(dead_letters::table
        .filter(dead_letters::state.eq(LetterState::Waiting.as_str()))
        .select((count_star(), min(dead_letters::first_at)))
        .first(conn)
        .await?)
}
