//! Reading a part of the log in its order, page by page, up to where it stood at the beginning.

use chrono::{DateTime, Utc};
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use mesh_six_core::{StoredEvent, event::Position};

use crate::{
    error::DbResult,
    events::read::{SELECT, load},
    pool::Database,
    retention,
    seals::Month,
    statement::{Statement, Value},
};

/// Events of one page.
const PAGE: i64 = 2_000;

/// Which part of the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Only events after this position.
    pub after: Position,
    /// Only events recorded at or after.
    pub since: Option<DateTime<Utc>>,
    /// Only events recorded before.
    pub until: Option<DateTime<Utc>>,
}

impl Default for Range {
    fn default() -> Self {
        Self { after: Position::START, since: None, until: None }
    }
}

impl Range {
    /// One month.
    pub fn month(month: Month) -> Self {
        Self { after: Position::START, since: Some(month.from()), until: Some(month.to()) }
    }
}

/// An export under way.
pub struct Export {
    db: Database,
    range: Range,
    /// Below this nothing can appear any more.
    horizon: i64,
    at: Position,
}

impl Export {
    /// Begins an export of what `range` holds now. A position that has lost events to retention is refused as gone.
    pub async fn open(db: &Database, range: Range) -> DbResult<Self> {
        let mut conn = db.conn().await?;
        retention::check_position(&mut conn, range.after).await?;
        let (horizon,): (i64,) = Statement::<(BigInt,)>::new("SELECT mesh_six_horizon()").get_result(&mut conn).await?;
        Ok(Self { db: db.clone(), range, horizon, at: range.after })
    }

    /// How many events are to come; `None` where counting takes too long.
    pub async fn count(&self) -> DbResult<Option<u64>> {
        let mut conn = self.db.conn().await?;
        let query = self.within(Statement::<(BigInt,)>::new("SELECT count(*) FROM mesh_six_events WHERE "));
        match query.get_result::<(i64,)>(&mut conn).await.map_err(crate::DbError::from) {
            Ok((count,)) => Ok(u64::try_from(count).ok()),
            Err(error) if error.is_transient() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next events, in order; none at the end.
    pub async fn next_page(&mut self) -> DbResult<Vec<StoredEvent>> {
        let conn = self.db.conn().await?;
        let query = self.within(Statement::new(SELECT)).sql(" ORDER BY txid, seq LIMIT ").bind(Value::Long(PAGE));
        let events = load(&conn, query).await?;
        if let Some(last) = events.last() {
            self.at = last.position;
        }
        Ok(events)
    }

    /// Reads on after `position`, where a file holds what came before.
    pub fn resume(&mut self, position: Position) {
        self.at = self.at.max(position);
    }

    fn within<'a, R>(&self, query: Statement<'a, R>) -> Statement<'a, R> {
        let mut query = query.sql("(txid, seq) > (").bind(Value::Long(self.at.txid)).sql(", ");
        query = query.bind(Value::Long(self.at.seq)).sql(") AND txid < ").bind(Value::Long(self.horizon));
        if let Some(since) = self.range.since.max(self.at.floor_time()) {
            query = query.sql(" AND timestamp >= ").bind(Value::Time(since));
        }
        if let Some(until) = self.range.until {
            query = query.sql(" AND timestamp < ").bind(Value::Time(until));
        }
        query
    }
}
