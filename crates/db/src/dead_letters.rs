//! Messages that failed for good: kept with their reason until somebody replays or discards them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::{error::DbResult, schema::dead_letters};

/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 1_000;

/// A message as it is stored; its key is app-id, topic, source and id, so a message fails once.
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

/// The reason of a letter whose handler could not store one.
const UNTOLD: &str = "not told";

/// A stored letter.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = dead_letters, check_for_backend(diesel::pg::Pg))]
pub struct StoredLetter {
    /// Whose subscription it failed in.
    pub app_id: String,
    /// The topic it was sent to.
    pub topic: String,
    /// CloudEvent source.
    pub source: String,
    /// CloudEvent id.
    pub id: String,
    /// The bytes as they came.
    pub envelope: Vec<u8>,
    /// Why.
    pub reason: String,
    /// How often it failed.
    pub tries: i32,
    /// waiting, replayed or discarded.
    pub state: String,
    /// When it failed first.
    pub first_at: DateTime<Utc>,
    /// When it failed last.
    pub last_at: DateTime<Utc>,
}

/// Stores `letters`. One that is there already keeps the reason that its handler gave; the copy that the broker
/// forwards after the handler's DROP adds nothing but the time.
pub async fn store(conn: &mut AsyncPgConnection, letters: &[DeadLetter]) -> DbResult<()> {
    for letter in letters {
        let reason = letter.reason.as_deref().map(|r| r.chars().take(MAX_REASON).collect::<String>().replace('\0', "?"));
        let told = reason.is_some();
        let row = (
            dead_letters::app_id.eq(&letter.app_id),
            dead_letters::topic.eq(&letter.topic),
            dead_letters::source.eq(&letter.source),
            dead_letters::id.eq(&letter.id),
            dead_letters::envelope.eq(&letter.envelope),
            dead_letters::reason.eq(reason.unwrap_or_else(|| UNTOLD.to_owned())),
        );
        let insert = diesel::insert_into(dead_letters::table).values(row).on_conflict((
            dead_letters::app_id,
            dead_letters::topic,
            dead_letters::source,
            dead_letters::id,
        ));
        if told {
            let change = (
                dead_letters::reason.eq(excluded(dead_letters::reason)),
                dead_letters::tries.eq(dead_letters::tries + 1),
                dead_letters::last_at.eq(diesel::dsl::now),
            );
            insert.do_update().set(change).execute(conn).await?;
        } else {
            insert.do_update().set(dead_letters::last_at.eq(diesel::dsl::now)).execute(conn).await?;
        }
    }
    Ok(())
}

/// The newest letters, at most `limit`.
pub async fn list(conn: &mut AsyncPgConnection, limit: i64) -> DbResult<Vec<StoredLetter>> {
    Ok(dead_letters::table
        .order(dead_letters::last_at.desc())
        .limit(limit)
        .select(StoredLetter::as_select())
        .load(conn)
        .await?)
}

/// How many letters wait, and since when the oldest does.
pub async fn waiting(conn: &mut AsyncPgConnection) -> DbResult<(i64, Option<DateTime<Utc>>)> {
    use diesel::dsl::{count_star, min};
    Ok(dead_letters::table
        .filter(dead_letters::state.eq("waiting"))
        .select((count_star(), min(dead_letters::first_at)))
        .first(conn)
        .await?)
}
