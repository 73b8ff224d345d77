//! Reading the log: queries, an aggregate's story, the newest safe position.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::{Stream, stream};
use mesh_six_core::{
    Event, StoredEvent, TraceId, Validate,
    event::{EventFilter, Position},
};
use serde_json::Value as Json;
use uuid::Uuid;

use super::{
    known,
    strays::{Months, task_of},
};
use crate::{
    error::DbResult,
    pool::Database,
    statement::{Statement, Value},
};

/// Rows of one page of a replay.
const REPLAY_PAGE: i64 = 1_024;

/// The SQL types of a row, in the order of [`SELECT`].
pub(crate) type Columns = (
    BigInt,
    BigInt,
    Timestamptz,
    Timestamptz,
    SqlUuid,
    SqlUuid,
    Nullable<SqlUuid>,
    Text,
    Text,
    Integer,
    Jsonb,
    Nullable<Text>,
    Nullable<Text>,
);

type Row = (
    i64,
    i64,
    DateTime<Utc>,
    DateTime<Utc>,
    Uuid,
    Uuid,
    Option<Uuid>,
    String,
    String,
    i32,
    Json,
    Option<String>,
    Option<String>,
);

/// How every statement that reads events begins.
pub(crate) const SELECT: &str = "SELECT seq, txid, timestamp, occurred_at, id, trace_id, task_id, agent_id, \
    event_type, event_version, payload, aggregate_id, idempotency_key FROM mesh_six_events WHERE ";

/// Runs a statement that begins with [`SELECT`].
pub(crate) async fn load(
    mut conn: &AsyncPgConnection,
    statement: Statement<'_, Columns>,
) -> DbResult<Vec<StoredEvent>> {
    let rows: Vec<Row> = statement.load(&mut conn).await?;
    Ok(rows.into_iter().map(stored).collect())
}

fn stored(row: Row) -> StoredEvent {
    let (seq, txid, timestamp, occurred_at, id, trace_id, task_id, agent_id, event_type, event_version, ..) = row;
    let (.., payload, aggregate_id, idempotency_key) = row;
    StoredEvent {
        seq,
        txid,
        timestamp,
        position: Position::of(txid, seq, timestamp),
        event: Event {
            id,
            trace_id: TraceId::from_uuid(trace_id),
            task_id,
            agent_id,
            event_type,
            event_version,
            payload,
            aggregate_id,
            idempotency_key,
            occurred_at,
            content: None,
        },
    }
}

/// The rows that meet `filter`, in the log's order.
pub(crate) async fn query(conn: &mut AsyncPgConnection, filter: &EventFilter) -> DbResult<Vec<StoredEvent>> {
    filter.validate()?;
    if known::decides(filter) {
        return known::query(conn, filter).await;
    }
    let of_aggregate = filter.aggregate_id.as_deref().and_then(task_of);
    let id = filter.trace_id.map(TraceId::as_uuid).or(filter.task_id).or(of_aggregate);
    within_months(conn, id, |months| select(filter, months)).await
}

/// Runs `select` over the months that the events of `id` are in. Mostly that is its own month alone, so that is asked
/// while it is looked up.
async fn within_months<'a>(
    conn: &AsyncPgConnection,
    id: Option<Uuid>,
    select: impl Fn(Option<Months>) -> Statement<'a, Columns>,
) -> DbResult<Vec<StoredEvent>> {
    let Some((id, own)) = id.and_then(|id| Some((id, Months::of(id)?))) else {
        return load(conn, select(None)).await;
    };
    // Both are under way at once and answered in this order: if nothing is noted after the rows were read, they are all.
    let (found, noted) = tokio::try_join!(load(conn, select(Some(own))), own.with_noted(conn, id))?;
    match noted {
        None => Ok(found),
        Some(months) => load(conn, select(Some(months))).await,
    }
}

/// The rows that meet `filter`, of these months where they are known. Then OFFSET keeps the planner from another way
/// than through the id's index, such as all of a month in the log's order.
pub(super) fn select(filter: &EventFilter, months: Option<Months>) -> Statement<'_, Columns> {
    let query =
        if months.is_some() { Statement::new("SELECT found.* FROM (").sql(SELECT) } else { Statement::new(SELECT) };
    let mut query = query.sql("true");
    if let Some(trace) = filter.trace_id {
        query = query.sql(" AND trace_id = ").bind(Value::Id(trace.as_uuid()));
    }
    if let Some(task) = filter.task_id {
        query = query.sql(" AND task_id = ").bind(Value::Id(task));
    }
    if let Some(aggregate) = &filter.aggregate_id {
        query = of_aggregate(query.sql(" AND "), aggregate);
    }
    if let Some(agent) = &filter.agent_id {
        query = query.sql(" AND agent_id = ").bind(Value::Text(agent));
    }
    if let Some(event_type) = &filter.event_type {
        query = query.sql(" AND event_type = ").bind(Value::Text(event_type));
    }
    let query = between(within(query, filter), filter);
    let query = match months {
        Some(months) => months.within(query).sql(" OFFSET 0) found"),
        None => query,
    };
    in_order(query, filter)
}

/// Recorded within the filter's times.
pub(super) fn within<'a, Row>(mut query: Statement<'a, Row>, filter: &EventFilter) -> Statement<'a, Row> {
    if let Some(since) = filter.since {
        query = query.sql(" AND timestamp >= ").bind(Value::Time(since));
    }
    if let Some(until) = filter.until {
        query = query.sql(" AND timestamp <= ").bind(Value::Time(until));
    }
    query
}

/// Between the filter's positions.
pub(super) fn between<'a, Row>(mut query: Statement<'a, Row>, filter: &EventFilter) -> Statement<'a, Row> {
    if let Some(after) = filter.after {
        query = beyond(query.sql(" AND "), after);
    }
    if let Some(before) = filter.before {
        query = query.sql(" AND (txid, seq) < (").bind(Value::Long(before.txid)).sql(", ");
        query = query.bind(Value::Long(before.seq)).sql(")");
    }
    query
}

/// In the filter's order, as many as it wants.
pub(super) fn in_order<'a, Row>(query: Statement<'a, Row>, filter: &EventFilter) -> Statement<'a, Row> {
    let order = if filter.desc { " ORDER BY txid DESC, seq DESC LIMIT " } else { " ORDER BY txid, seq LIMIT " };
    query.sql(order).bind(Value::Long(filter.limit()))
}

/// An aggregate's rows: those that name it, and a task's rows that name none.
fn of_aggregate<'a>(query: Statement<'a, Columns>, aggregate: &'a str) -> Statement<'a, Columns> {
    match task_of(aggregate) {
        None => query.sql("aggregate_id = ").bind(Value::Text(aggregate)),
        Some(task) => query
            .sql("(aggregate_id = ")
            .bind(Value::Text(aggregate))
            .sql(" OR (task_id = ")
            .bind(Value::Id(task))
            .sql(" AND aggregate_id IS NULL))"),
    }
}

/// Rows after `position`, its floor respected.
pub(crate) fn beyond<Row>(query: Statement<'_, Row>, position: Position) -> Statement<'_, Row> {
    let query = query.sql("(txid, seq) > (").bind(Value::Long(position.txid)).sql(", ");
    let query = query.bind(Value::Long(position.seq)).sql(")");
    match position.floor_time() {
        Some(floor) => query.sql(" AND timestamp >= ").bind(Value::Time(floor)),
        None => query,
    }
}

/// The story of `aggregate` after a position, page by page, in constant memory.
pub(crate) fn replay(
    db: Database,
    aggregate: String,
    after: Option<Position>,
) -> impl Stream<Item = DbResult<StoredEvent>> + Send + 'static {
    let start = Replay { db, aggregate, after, page: VecDeque::new(), ended: false };
    stream::try_unfold(start, |mut replay| async move {
        if replay.page.is_empty() && !replay.ended {
            replay.turn().await?;
        }
        Ok(replay.page.pop_front().map(|event| (event, replay)))
    })
}

struct Replay {
    db: Database,
    aggregate: String,
    after: Option<Position>,
    page: VecDeque<StoredEvent>,
    ended: bool,
}

impl Replay {
    async fn turn(&mut self) -> DbResult<()> {
        let conn = self.db.conn().await?;
        let (aggregate, after) = (&self.aggregate, self.after);
        let select = |months: Option<Months>| {
            let query = of_aggregate(Statement::new(SELECT), aggregate);
            let query = match months {
                Some(months) => months.within(query),
                None => query,
            };
            let query = match after {
                Some(after) => beyond(query.sql(" AND "), after),
                None => query,
            };
            query.sql(" ORDER BY txid, seq LIMIT ").bind(Value::Long(REPLAY_PAGE))
        };
        self.page = within_months(&conn, task_of(aggregate), select).await?.into();
        self.ended = i64::try_from(self.page.len()).is_ok_and(|rows| rows < REPLAY_PAGE);
        self.after = self.page.back().map(|event| event.position).or(self.after);
        Ok(())
    }
}

/// The newest position that no event can still come before; following from it shows all that is written later.
pub(crate) async fn head(conn: &mut AsyncPgConnection) -> DbResult<Position> {
    let newest = Statement::<(BigInt, BigInt, Timestamptz)>::new(
        "SELECT txid, seq, timestamp FROM mesh_six_events WHERE txid < mesh_six_horizon() \
         ORDER BY txid DESC, seq DESC LIMIT 1",
    );
    let rows: Vec<(i64, i64, DateTime<Utc>)> = newest.load(conn).await?;
    let newest = rows.into_iter().next();
    Ok(newest.map_or(Position::START, |(txid, seq, timestamp)| Position::of(txid, seq, timestamp)))
}

#[cfg(test)]
mod tests {
    use diesel::{debug_query, pg::Pg};
    use mesh_six_core::{id::new_id, time};

    use super::*;

    fn text(filter: &EventFilter) -> String {
        let months = filter.trace_id.map(TraceId::as_uuid).or(filter.task_id).and_then(Months::of);
        let text = debug_query::<Pg, _>(&select(filter, months)).to_string();
        text.split(" -- binds").next().unwrap_or_default().replace(SELECT, "SELECT ... WHERE ")
    }

    #[test]
    fn statements_of_filters() {
        let (id, position) = (new_id(), Position::of(7, 8, time::now()));
        let filters = [
            EventFilter::default(),
            EventFilter { trace_id: Some(TraceId::from_uuid(id)), ..EventFilter::default() },
            EventFilter { task_id: Some(id), desc: true, ..EventFilter::default() },
            EventFilter { aggregate_id: Some(format!("task:{id}")), ..EventFilter::default() },
            EventFilter { aggregate_id: Some("project:p".to_owned()), ..EventFilter::default() },
            EventFilter {
                agent_id: Some("agent".to_owned()),
                event_type: Some("test.event".to_owned()),
                since: Some(time::now()),
                until: Some(time::now()),
                after: Some(position),
                before: Some(position),
                ..EventFilter::default()
            },
        ];
        insta::assert_snapshot!(filters.iter().map(text).collect::<Vec<_>>().join("\n"));
    }
}
