//! Messages that failed for good: kept with their reason until somebody replays or discards them.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use diesel::{
    dsl::{Add, Eq},
    prelude::*,
    upsert::excluded,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::hash::hex;
use sha2::{Digest, Sha256};

use crate::{error::DbResult, schema::dead_letters};

/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 1_000;
/// The longest name that is kept as it is, in bytes: the four of the key must fit into a row of its index.
const MAX_NAME: usize = 512;

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

/// Stores `letters`. A reason adds itself to a letter that is there already; the copy that the broker forwards
/// after a handler's DROP has none, and adds nothing to the letter that the handler stored. A letter that was
/// replayed and failed again waits again.
pub async fn store(conn: &mut AsyncPgConnection, letters: &[DeadLetter]) -> DbResult<()> {
    for letter in letters {
        let names = [&letter.app_id, &letter.topic, &letter.source, &letter.id].map(|name| storable(name));
        let reason =
            letter.reason.as_deref().map(|r| r.chars().take(MAX_REASON).collect::<String>().replace('\0', "?"));
        let told = reason.is_some();
        let [app_id, topic, source, id] = &names;
        let row = (
            dead_letters::app_id.eq(app_id),
            dead_letters::topic.eq(topic),
            dead_letters::source.eq(source),
            dead_letters::id.eq(id),
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
            let change = (dead_letters::reason.eq(excluded(dead_letters::reason)), failed_again());
            insert.do_update().set(change).execute(conn).await?;
        } else if !known(conn, topic, source, id).await? {
            insert.do_nothing().execute(conn).await?;
        }
    }
    Ok(())
}

/// `name` if it can be kept and indexed, else its hash, so that the same message still has the same key. Names
/// come from strangers, and one that cannot be stored would bring its message back for ever.
fn storable(name: &str) -> Cow<'_, str> {
    if name.len() <= MAX_NAME && !name.contains('\0') {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("sha256:{}", hex(&Sha256::digest(name))))
}

type FailedAgain = (
    Eq<dead_letters::tries, Add<dead_letters::tries, i32>>,
    Eq<dead_letters::state, &'static str>,
    Eq<dead_letters::last_at, diesel::dsl::now>,
);

/// What changes in a letter whose message fails once more.
fn failed_again() -> FailedAgain {
    (
        dead_letters::tries.eq(dead_letters::tries + 1),
        dead_letters::state.eq("waiting"),
        dead_letters::last_at.eq(diesel::dsl::now),
    )
}

/// Whether the message is stored already, for whichever app: a forwarded copy does not tell whose it was.
/// Where it was replayed in the meantime, the copy is of a new failure.
async fn known(conn: &mut AsyncPgConnection, topic: &str, source: &str, id: &str) -> DbResult<bool> {
    let same = || {
        dead_letters::table
            .filter(dead_letters::topic.eq(topic))
            .filter(dead_letters::source.eq(source))
            .filter(dead_letters::id.eq(id))
    };
    let replayed = same().filter(dead_letters::state.eq("replayed"));
    diesel::update(replayed).set(failed_again()).execute(conn).await?;
    Ok(diesel::select(diesel::dsl::exists(same())).get_result(conn).await?)
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
