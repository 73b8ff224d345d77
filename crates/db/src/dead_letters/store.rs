//! Letters come in: from handlers with their reason, from the broker without.

use std::borrow::Cow;

use diesel::{
    dsl::{Add, Eq},
    prelude::*,
    upsert::excluded,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::hash::hex;
use sha2::{Digest, Sha256};

use super::{DeadLetter, LetterState, MAX_REASON};
use crate::{error::DbResult, schema::dead_letters};

/// The longest name that is kept as it is, in bytes: the four of the key must fit into a row of its index.
const MAX_NAME: usize = 512;

/// The reason of a letter whose handler could not store one.
const UNTOLD: &str = "not told";

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
pub(super) fn failed_again() -> FailedAgain {
    (
        dead_letters::tries.eq(dead_letters::tries + 1),
        dead_letters::state.eq(LetterState::Waiting.as_str()),
        dead_letters::last_at.eq(diesel::dsl::now),
    )
}

/// Whether the message is stored already, for whichever app: a forwarded copy does not tell whose it was. Where it
/// was replayed in the meantime, the copy is of a new failure, unless a handler has told of that one: every
/// subscriber gets a replayed message, and those that took it have nothing to wait for.
async fn known(conn: &mut AsyncPgConnection, topic: &str, source: &str, id: &str) -> DbResult<bool> {
    let same = || {
        dead_letters::table
            .filter(dead_letters::topic.eq(topic))
            .filter(dead_letters::source.eq(source))
            .filter(dead_letters::id.eq(id))
    };
    let waits = same().filter(dead_letters::state.eq(LetterState::Waiting.as_str()));
    if diesel::select(diesel::dsl::exists(waits)).get_result(conn).await? {
        return Ok(true);
    }
    let replayed = same().filter(dead_letters::state.eq(LetterState::Replayed.as_str()));
    diesel::update(replayed).set(failed_again()).execute(conn).await?;
    Ok(diesel::select(diesel::dsl::exists(same())).get_result(conn).await?)
}
