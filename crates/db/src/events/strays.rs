//! In which months the events of a trace or task are: in the one that its id tells, and in those that are noted beside
//! the log (`mesh_six_event_strays`). So a query by one of them reads one partition, however many there are.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::Integer;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::id::v7_time;
use uuid::Uuid;

use super::entry::Entry;
use crate::{
    error::DbResult,
    seals::Month,
    statement::{Statement, Value},
};

/// How far the clock of a writer may be from the database's, which decides on the month.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::days(1);

/// Within these times all events of an id were recorded: its own month, and from the first other one to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Months {
    own: Month,
    others: Option<(Month, Month)>,
}

impl Months {
    /// The month that `id` tells of itself; `None` if it tells none, so that its events may be anywhere.
    pub(super) fn of(id: Uuid) -> Option<Self> {
        let own = Month::of(v7_time(id)?);
        Some(Self { own, others: None })
    }

    /// Those that are noted; `None` if there are none.
    pub(super) async fn with_noted(self, mut conn: &AsyncPgConnection, id: Uuid) -> DbResult<Option<Self>> {
        let noted = Statement::<(Integer,)>::new("SELECT DISTINCT month FROM mesh_six_event_strays WHERE id = ");
        let noted: Vec<(i32,)> = noted.bind(Value::Id(id)).load(&mut conn).await?;
        let noted = || noted.iter().filter_map(|(month,)| Month::from_number(*month));
        Ok(noted().min().zip(noted().max()).map(|others| Self { others: Some(others), ..self }))
    }

    /// Goes on with the condition that a row was recorded in them.
    pub(super) fn within<'a, Row>(self, query: Statement<'a, Row>) -> Statement<'a, Row> {
        let from = |query: Statement<'a, Row>, from: Month, to: Month| {
            let query = query.sql("timestamp >= ").bind(Value::Time(from.from()));
            query.sql(" AND timestamp < ").bind(Value::Time(to.to()))
        };
        match self.others {
            None => from(query.sql(" AND "), self.own, self.own),
            Some((first, last)) => {
                let query = from(query.sql(" AND ("), self.own, self.own).sql(" OR ");
                from(query, first, last).sql(")")
            }
        }
    }
}

/// The task whose implied aggregate this is.
pub(super) fn task_of(aggregate: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(aggregate.strip_prefix("task:")?).ok()?;
    (aggregate.len() == "task:".len() + 36).then_some(id)
}

/// The ids in `rows` that may be recorded outside of the month that they tell. The database has the last word, but
/// mostly there are none and it is not asked.
pub(super) fn suspects(rows: &[&Entry], now: DateTime<Utc>) -> BTreeSet<Uuid> {
    let (early, late) = (Month::of(now - CLOCKS_DIFFER), Month::of(now + CLOCKS_DIFFER));
    let within = |id: &Uuid| Months::of(*id).is_none_or(|months| months.own == early && months.own == late);
    rows.iter().flat_map(|entry| entry.named_ids()).filter(|id| !within(id)).collect()
}

/// Goes on, after WITH, with the part of a statement that notes those of `suspects` whose month is not that of the
/// transaction.
pub(super) fn note<Row>(query: Statement<'_, Row>, suspects: BTreeSet<Uuid>) -> Statement<'_, Row> {
    let query =
        query.sql("strays AS (INSERT INTO mesh_six_event_strays (id, month) SELECT s.id, m.number FROM unnest(");
    query.bind(Value::Ids(suspects.into_iter().collect())).sql(
        ") AS s(id), (SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')::integer AS number, mesh_six_first_id(now()) \
         AS first, mesh_six_first_id(date_trunc('month', now(), 'UTC') + interval '32 days') AS beyond) AS m \
         WHERE NOT (s.id >= m.first AND s.id < m.beyond) AND NOT EXISTS \
         (SELECT FROM mesh_six_event_strays n WHERE n.id = s.id AND n.month = m.number)) ",
    )
}
