//! Somebody decides what becomes of a letter.

use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{ApiError, ErrorType, time};

use super::{Letter, LetterState, StoredLetter, find::whole_id};
use crate::{
    error::{DbError, DbResult},
    outbox,
    schema::dead_letters,
    statement::{Statement, Value},
};

/// Sends the message of letter `id` again, if `check` finds nothing wrong with it: one transaction changes the state
/// and writes the outbox row that a relay publishes. The message goes to all subscribers of its topic, so the letters
/// that other subscriptions have of it are replayed with it. One that was replayed already is refused, so that two
/// people at once send it once, unless `again`: a broker may have lost it.
pub async fn replay(
    conn: &mut AsyncPgConnection,
    id: &str,
    again: bool,
    check: fn(&StoredLetter) -> Result<(), ApiError>,
) -> DbResult<Letter> {
    conn.transaction::<_, DbError, _>(async |conn| {
        let stored = lock(conn, id).await?;
        let letter = &stored.letter;
        if letter.state == LetterState::Replayed && !again {
            return Err(decided(letter).into());
        }
        check(&stored)?;
        let key = [&letter.topic, &letter.source, &letter.event_id, &letter.id].map(|text| Value::Text(text));
        Statement::named(
            "UPDATE dead_letters SET state = 'replayed', decided_at = now()
            WHERE topic = $1 AND source = $2 AND id = $3 AND (letter_id = $4 OR state = 'waiting')",
            &key,
        )
        .execute(conn)
        .await?;
        outbox::put_letter(conn, letter).await?;
        shown(conn, &letter.id).await
    })
    .await
}

/// Letter `id` is not wanted any more. Its bytes stay, so that it can still be replayed by its id. One that was
/// replayed is refused: it waits again if it fails again.
pub async fn discard(conn: &mut AsyncPgConnection, id: &str) -> DbResult<Letter> {
    conn.transaction::<_, DbError, _>(async |conn| {
        let stored = lock(conn, id).await?;
        if stored.letter.state != LetterState::Waiting {
            return Err(decided(&stored.letter).into());
        }
        Statement::named(
            "UPDATE dead_letters SET state = 'discarded', decided_at = now() WHERE letter_id = $1",
            &[Value::Text(&stored.letter.id)],
        )
        .execute(conn)
        .await?;
        shown(conn, &stored.letter.id).await
    })
    .await
}

/// Locks all letters of the message of letter `id`, in one order so that no two callers wait for each other, and
/// gives that letter.
async fn lock(conn: &mut AsyncPgConnection, id: &str) -> DbResult<StoredLetter> {
    let letter_id = whole_id(conn, id).await?;
    let this = dead_letters::table.filter(dead_letters::letter_id.eq(&letter_id));
    let (topic, source, event_id): (String, String, String) =
        this.select((dead_letters::topic, dead_letters::source, dead_letters::id)).first(conn).await?;
    let _: Vec<String> = dead_letters::table
        .filter(dead_letters::topic.eq(topic))
        .filter(dead_letters::source.eq(source))
        .filter(dead_letters::id.eq(event_id))
        .order(dead_letters::app_id.asc())
        .select(dead_letters::letter_id)
        .for_update()
        .load(conn)
        .await?;
    Ok(this.select(StoredLetter::as_select()).first(conn).await?)
}

async fn shown(conn: &mut AsyncPgConnection, letter_id: &str) -> DbResult<Letter> {
    let this = dead_letters::table.filter(dead_letters::letter_id.eq(letter_id));
    Ok(this.select(Letter::as_select()).first(conn).await?)
}

/// Why nothing is left to decide.
fn decided(letter: &Letter) -> ApiError {
    let when = letter.decided_at.map(|at| format!(" at {}", time::format(at))).unwrap_or_default();
    let message = match letter.state {
        LetterState::Replayed => format!("it was replayed{when} already; if it fails again it waits again"),
        state => format!("it was {}{when} already", state.as_str()),
    };
    ApiError { field: Some("id".to_owned()), ..ApiError::new(ErrorType::Conflict, message) }
}
