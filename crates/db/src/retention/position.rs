//! Whether events after a position have been dropped.

use diesel::sql_types::{Bool, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{ApiError, ErrorType, event::Position};
use serde_json::json;

use crate::{
    error::DbResult,
    statement::{Statement, Value},
};

/// Refuses a position after which events were dropped with their month; the answer has the first position that
/// exists. The start of the log is never refused: it is wherever the log begins now.
pub async fn check_position(conn: &mut AsyncPgConnection, at: Position) -> DbResult<()> {
    if at.txid == 0 {
        return Ok(());
    }
    let query = Statement::<(Bool, Nullable<Text>)>::new(
        "SELECT EXISTS (SELECT FROM mesh_six_event_months WHERE (last_txid, last_seq) > (",
    );
    let query = query.bind(Value::Long(at.txid)).sql(", ").bind(Value::Long(at.seq)).sql(
        ")), (SELECT min(right(c.relname, 7)) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = 'mesh_six_events'::regclass AND c.relname ~ '^mesh_six_events_[0-9]{4}_[0-9]{2}$')",
    );
    let (gone, first): (bool, Option<String>) = query.get_result(conn).await?;
    if !gone {
        return Ok(());
    }
    let floor = first.and_then(|name| name.replace('_', "").parse().ok()).unwrap_or(0);
    let first = Position { txid: 0, seq: 0, floor };
    let message = format!("events after this position are no longer kept; the first position that exists is {first}");
    Err(ApiError::new(ErrorType::Gone, message).with_details(json!({ "first": first })).into())
}
