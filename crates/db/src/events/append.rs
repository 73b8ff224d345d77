//! Appending within the caller's transaction.

use diesel_async::AsyncPgConnection;
use mesh_six_core::{Event, time};

use super::{Appended, buckets, entry::Entry, insert};
use crate::error::DbResult;

/// Appends `events` in the transaction that is open on `conn`, in the given order, so that facts and the rows
/// they tell of commit together. A key that is already on record makes its event a [`Appended::Duplicate`].
///
/// A producer's clock never fails a fact: an `occurred_at` before 1970 or more than a day ahead of the database's
/// clock becomes the database's. Bad input is refused before anything is sent, so the transaction stays usable.
/// A key that another open transaction has just written is waited for, as long as the connection's lock time-out
/// allows. Followers in this process are woken by [`super::EventLog::wake`] after the commit, else they poll.
pub async fn append_in(conn: &mut AsyncPgConnection, events: &[Event]) -> DbResult<Vec<Appended>> {
    let now = time::now();
    let entries: Vec<Entry> = events.iter().map(|e| Entry::lenient(e.clone(), now)).collect::<Result<_, _>>()?;
    let gone = buckets::gone(conn, buckets::asked(entries.iter())).await?;
    if let Some(bucket) = gone.iter().next() {
        return Err(buckets::too_old(*bucket).into());
    }
    let rows: Vec<&Entry> = entries.iter().collect();
    let mut appended = Vec::with_capacity(rows.len());
    for chunk in insert::chunks(&rows) {
        appended.extend(insert::write(conn, chunk, None).await?);
    }
    Ok(appended)
}
