//! The relay's side of a replay.

use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::{LetterState, MAX_REASON, StoredLetter, store::failed_again};
use crate::{
    error::{DbError, DbResult},
    outbox::{self, Outgoing},
    schema::dead_letters,
};

/// The letter to be sent; `None` where there is nothing to send any more: its content was erased, or it has been sent
/// and failed again already.
pub async fn to_send(conn: &mut AsyncPgConnection, letter_id: &str) -> DbResult<Option<StoredLetter>> {
    let found: Option<StoredLetter> = dead_letters::table
        .filter(dead_letters::letter_id.eq(letter_id))
        .filter(dead_letters::state.eq(LetterState::Replayed.as_str()))
        .select(StoredLetter::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(found.filter(|stored| !stored.envelope.is_empty()))
}

/// `message` is a replay that can never be published: its letter waits again, with `why` before the reason that it
/// had.
pub async fn unsendable(conn: &mut AsyncPgConnection, message: &Outgoing, why: &str) -> DbResult<()> {
    conn.transaction::<_, DbError, _>(async |conn| {
        if let Some(letter_id) = &message.letter_id
            && let Some(stored) = to_send(conn, letter_id).await?
        {
            let letter = &stored.letter;
            let reason = format!("could not be sent again: {why}; before: {}", letter.reason);
            let reason: String = reason.chars().take(MAX_REASON).collect();
            // The letters that were replayed with it were not sent either.
            let same = dead_letters::table
                .filter(dead_letters::topic.eq(&letter.topic))
                .filter(dead_letters::source.eq(&letter.source))
                .filter(dead_letters::id.eq(&letter.event_id))
                .filter(dead_letters::state.eq(LetterState::Replayed.as_str()));
            diesel::update(same).set((dead_letters::reason.eq(reason), failed_again())).execute(conn).await?;
        }
        outbox::drop_letter(conn, message.id).await
    })
    .await
}
