//! Queries by agent or by type without a trace or a task, through the index over both and the time.
//!
//! The log's order is another one than the index's, so there are two ways to the first rows of a page: to fetch all
//! rows that match and sort them, which is quick while they are few, or to walk the log in its order and leave out
//! what does not match, which is quick while they are many. A look into the index, which reads no rows, tells which;
//! of the second way it also tells where in time to begin and to end. What the index has first and the query does not
//! name, such as the agents of a query by type alone, is found by jumping from one value to the next.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{StoredEvent, event::EventFilter};

use super::read;
use crate::{
    error::{DbError, DbResult},
    statement::{Statement, Value},
};

/// Up to so many rows are fetched and sorted.
const FEW: i64 = 2_000;
/// Jumps from value to value; a log with more agents, or an agent with more types, is walked.
const JUMPS: i32 = 256;

/// Whether the conditions are such that the index decides.
pub(super) fn decides(filter: &EventFilter) -> bool {
    let narrower = filter.trace_id.is_some() || filter.task_id.is_some() || filter.aggregate_id.is_some();
    !narrower && (filter.agent_id.is_some() || filter.event_type.is_some())
}

/// The rows that meet `filter`, in the log's order.
pub(super) async fn query(conn: &mut AsyncPgConnection, filter: &EventFilter) -> DbResult<Vec<StoredEvent>> {
    // One snapshot for both looks: otherwise what is written between them could leave a hole in the page.
    conn.build_transaction()
        .read_only()
        .repeatable_read()
        .run::<_, DbError, _>(async |conn| match look(conn, filter).await? {
            Found::Nothing => Ok(Vec::new()),
            Found::Few(values) => read::load(conn, fetch(filter, &values)).await,
            Found::Many { first, last } => {
                let since = filter.since.max(first);
                let until = filter.until.into_iter().chain(last).min();
                let within = EventFilter { since, until, ..filter.clone() };
                read::load(conn, read::select(&within, None)).await
            }
        })
        .await
}

/// What the index tells.
enum Found {
    Nothing,
    /// Few rows; the agents that have them or, of one agent, their types.
    Few(Vec<String>),
    /// Many rows, recorded between these times where they are known.
    Many {
        first: Option<DateTime<Utc>>,
        last: Option<DateTime<Utc>>,
    },
}

type LookColumns = (BigInt, Nullable<Integer>, Nullable<Array<Text>>, Nullable<Timestamptz>, Nullable<Timestamptz>);
type Look = (i64, Option<i32>, Option<Vec<String>>, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

async fn look(conn: &mut AsyncPgConnection, filter: &EventFilter) -> DbResult<Found> {
    let (rows, jumps, values, first, last): Look = statement(filter).get_result(conn).await?;
    Ok(match values {
        _ if jumps.is_some_and(|jumps| jumps >= JUMPS) => Found::Many { first: None, last: None },
        None => Found::Nothing,
        Some(values) if rows <= FEW => Found::Few(values),
        Some(_) => Found::Many { first, last },
    })
}

/// Counts rows up to [`FEW`] and one more; finds the values to go through, and the first and last time of any.
fn statement(filter: &EventFilter) -> Statement<'_, LookColumns> {
    let query = Statement::new("WITH RECURSIVE known (value, jumps) AS (");
    let query = match (&filter.agent_id, &filter.event_type) {
        (Some(agent), Some(_)) => query.sql("SELECT ").bind(Value::Text(agent)).sql(", 0"),
        (Some(agent), None) => query
            .sql("(SELECT event_type, 0 FROM mesh_six_events WHERE agent_id = ")
            .bind(Value::Text(agent))
            .sql(
                " ORDER BY event_type LIMIT 1) UNION ALL SELECT (SELECT event_type FROM mesh_six_events \
                WHERE agent_id = ",
            )
            .bind(Value::Text(agent))
            .sql(" AND event_type > k.value ORDER BY event_type LIMIT 1), k.jumps + 1")
            .sql(" FROM known k WHERE k.value IS NOT NULL AND k.jumps < ")
            .bind(Value::Int(JUMPS)),
        (None, _) => query
            .sql(
                "(SELECT agent_id, 0 FROM mesh_six_events ORDER BY agent_id LIMIT 1) UNION ALL \
                SELECT (SELECT agent_id FROM mesh_six_events WHERE agent_id > k.value \
                ORDER BY agent_id LIMIT 1), k.jumps + 1 FROM known k WHERE k.value IS NOT NULL AND k.jumps < ",
            )
            .bind(Value::Int(JUMPS)),
    };
    let query = query.sql("), few AS (SELECT FROM known k CROSS JOIN LATERAL (SELECT FROM mesh_six_events WHERE ");
    let query = matching(query, filter).sql(" ORDER BY timestamp DESC LIMIT ").bind(Value::Long(FEW + 1));
    let query = query.sql(") found LIMIT ").bind(Value::Long(FEW + 1)).sql(
        ") SELECT (SELECT count(*) FROM few), (SELECT max(jumps) FROM known), array_agg(k.value), min(f.timestamp), \
        max(l.timestamp) FROM known k CROSS JOIN LATERAL (SELECT timestamp FROM mesh_six_events WHERE ",
    );
    let query = matching(query, filter)
        .sql(" ORDER BY timestamp LIMIT 1) f CROSS JOIN LATERAL (SELECT timestamp FROM mesh_six_events WHERE ");
    matching(query, filter).sql(" ORDER BY timestamp DESC LIMIT 1) l")
}

/// The columns of the index: of `known` the one, of the filter the others.
fn matching<'a, Row>(query: Statement<'a, Row>, filter: &'a EventFilter) -> Statement<'a, Row> {
    let query = match (&filter.agent_id, &filter.event_type) {
        (Some(agent), None) => query.sql("event_type = k.value AND agent_id = ").bind(Value::Text(agent)),
        (_, Some(event_type)) => query.sql("agent_id = k.value AND event_type = ").bind(Value::Text(event_type)),
        (None, None) => query.sql("agent_id = k.value"),
    };
    read::within(query, filter)
}

/// All rows of `values`, sorted. OFFSET keeps the planner from another way than through the index.
fn fetch<'a>(filter: &'a EventFilter, values: &'a [String]) -> Statement<'a, read::Columns> {
    let values = values.iter().map(String::as_str).collect();
    let query = Statement::new("SELECT found.* FROM unnest(").bind(Value::Texts(values));
    let query = query.sql(") k (value) CROSS JOIN LATERAL (").sql(read::SELECT);
    let query = matching(query, filter);
    let query = read::between(query, filter).sql(" OFFSET 0) found");
    read::in_order(query, filter)
}

#[cfg(test)]
mod tests {
    use diesel::{debug_query, pg::Pg};

    use super::*;

    #[test]
    fn statements_through_the_index() {
        let agent = Some("agent".to_owned());
        let event_type = Some("test.event".to_owned());
        let filters = [
            EventFilter { event_type: event_type.clone(), ..EventFilter::default() },
            EventFilter { agent_id: agent.clone(), desc: true, ..EventFilter::default() },
            EventFilter { agent_id: agent, event_type, since: Some(DateTime::UNIX_EPOCH), ..EventFilter::default() },
        ];
        let text = |sql: String| sql.split(" -- binds").next().unwrap_or_default().to_owned();
        let values = ["value".to_owned()];
        let statements = filters.iter().flat_map(|filter| {
            let looked = debug_query::<Pg, _>(&statement(filter)).to_string();
            let fetched = debug_query::<Pg, _>(&fetch(filter, &values)).to_string();
            [text(looked), text(fetched)]
        });
        insta::assert_snapshot!(statements.collect::<Vec<_>>().join("\n"));
    }
}
