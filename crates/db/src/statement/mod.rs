//! SQL text with bound values that diesel prepares once per connection. `sql_query` is never cached as a
//! prepared statement, and the query builder cannot say `unnest` or compare rows, hence this.

mod wire;

use std::{io::Write, marker::PhantomData};

use chrono::{DateTime, Utc};
use diesel::{
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    serialize::{IsNull, Output, ToSql},
    sql_types::{Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, Text, Timestamptz, Untyped, Uuid as SqlUuid},
};
use uuid::Uuid;

/// What comes before the text in jsonb's binary form.
pub(crate) const JSONB_VERSION: u8 = 1;

/// A statement whose rows have the SQL types `Row`, a tuple; `()` where it returns none.
#[derive(Debug)]
pub(crate) struct Statement<'a, Row> {
    parts: Vec<Part<'a>>,
    row: PhantomData<fn() -> Row>,
}

#[derive(Debug)]
enum Part<'a> {
    Sql(&'static str),
    Value(Value<'a>),
}

/// A value to bind. Arrays are columns for `unnest`.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Bool(bool),
    Int(i32),
    Long(i64),
    Id(Uuid),
    OptionalId(Option<Uuid>),
    Time(DateTime<Utc>),
    Text(&'a str),
    OptionalText(Option<&'a str>),
    Float(f64),
    Document(JsonText<'a>),
    Ints(Vec<i32>),
    OptionalInts(Vec<Option<i32>>),
    Longs(Vec<i64>),
    Ids(Vec<Uuid>),
    OptionalIds(Vec<Option<Uuid>>),
    Times(Vec<DateTime<Utc>>),
    Texts(Vec<&'a str>),
    OptionalTexts(Vec<Option<&'a str>>),
    Json(Vec<JsonText<'a>>),
}

/// JSON that is already text, so that it is serialized once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonText<'a>(pub(crate) &'a str);

impl ToSql<Jsonb, Pg> for JsonText<'_> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
        out.write_all(&[JSONB_VERSION])?;
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}

impl<'a, Row> Statement<'a, Row> {
    /// A statement that begins with `sql`.
    pub(crate) fn new(sql: &'static str) -> Self {
        Self { parts: vec![Part::Sql(sql)], row: PhantomData }
    }

    /// Goes on with a bound value.
    #[must_use]
    pub(crate) fn bind(mut self, value: Value<'a>) -> Self {
        self.parts.push(Part::Value(value));
        self
    }

    /// Goes on with text.
    #[must_use]
    pub(crate) fn sql(mut self, sql: &'static str) -> Self {
        self.parts.push(Part::Sql(sql));
        self
    }
}

impl<'a> Statement<'a, Untyped> {
    /// A statement with `$1`, `$2`, ... in its text, whose rows are read by the names of their columns. A value that
    /// is named twice is bound twice.
    pub(crate) fn named(sql: &'static str, values: &[Value<'a>]) -> Self {
        let mut parts = Vec::new();
        let mut pieces = sql.split('$');
        parts.extend(pieces.next().map(Part::Sql));
        for piece in pieces {
            let (number, rest) = piece.split_at(piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len()));
            let value = number.parse::<usize>().ok().and_then(|n| values.get(n.checked_sub(1)?));
            parts.extend(value.cloned().map(Part::Value));
            parts.push(Part::Sql(rest));
        }
        Self { parts, row: PhantomData }
    }
}

impl<Row> QueryFragment<Pg> for Statement<'_, Row> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for part in &self.parts {
            match part {
                Part::Sql(sql) => out.push_sql(sql),
                Part::Value(value) => match value {
                    Value::Bool(v) => out.push_bind_param::<Bool, _>(v)?,
                    Value::Int(v) => out.push_bind_param::<Integer, _>(v)?,
                    Value::Long(v) => out.push_bind_param::<BigInt, _>(v)?,
                    Value::Id(v) => out.push_bind_param::<SqlUuid, _>(v)?,
                    Value::OptionalId(v) => out.push_bind_param::<Nullable<SqlUuid>, _>(v)?,
                    Value::Time(v) => out.push_bind_param::<Timestamptz, _>(v)?,
                    Value::Text(v) => out.push_bind_param::<Text, str>(v)?,
                    Value::OptionalText(v) => out.push_bind_param::<Nullable<Text>, _>(v)?,
                    Value::Float(v) => out.push_bind_param::<Double, _>(v)?,
                    Value::Document(v) => out.push_bind_param::<Jsonb, _>(v)?,
                    Value::Ints(v) => out.push_bind_param::<Array<Integer>, _>(v)?,
                    Value::OptionalInts(v) => out.push_bind_param::<Array<Nullable<Integer>>, _>(v)?,
                    Value::Longs(v) => out.push_bind_param::<Array<BigInt>, _>(v)?,
                    Value::Ids(v) => out.push_bind_param::<Array<SqlUuid>, _>(v)?,
                    Value::OptionalIds(v) => out.push_bind_param::<Array<Nullable<SqlUuid>>, _>(v)?,
                    Value::Times(v) => out.push_bind_param::<Array<Timestamptz>, _>(v)?,
                    Value::Texts(v) => out.push_bind_param::<Array<Text>, _>(v)?,
                    Value::OptionalTexts(v) => out.push_bind_param::<Array<Nullable<Text>>, _>(v)?,
                    Value::Json(v) => out.push_bind_param::<Array<Jsonb>, _>(v)?,
                },
            }
        }
        Ok(())
    }
}

/// The text differs from one statement to the next, so the cache goes by it and not by the type.
impl<Row> QueryId for Statement<'_, Row> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Row> Query for Statement<'_, Row> {
    type SqlType = Row;
}

#[cfg(test)]
mod tests {
    use diesel::debug_query;

    use super::*;

    #[test]
    fn named_values_are_bound_where_their_numbers_stand() {
        let statement = Statement::named("SELECT $2 WHERE x = $1 AND y = $2", &[Value::Int(7), Value::Text("t")]);
        let text = debug_query::<Pg, _>(&statement).to_string();
        assert_eq!(text, r#"SELECT $1 WHERE x = $2 AND y = $3 -- binds: ["t", 7, "t"]"#);
    }
}
