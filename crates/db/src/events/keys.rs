//! The keys of a batch: found, and noted by a statement or a part of one.

use mesh_six_core::event::EventKey;
use uuid::Uuid;

use super::{copy, entry::Entry};
use crate::statement::{Statement, Value};

/// What is thought of the keys of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// Some may be on record. To look for each before it is written costs a fifth of the statement.
    Unsure,
    /// None is; the statement fails as a whole if one is after all.
    New,
}

/// The keys of `rows` in order, so that two batches never wait for each other in a circle.
pub(super) fn keys_of(rows: &[&Entry], batch: Option<EventKey>) -> Vec<(EventKey, Uuid)> {
    let mut keys: Vec<(EventKey, Uuid)> = rows.iter().filter_map(|e| Some((e.key.or(batch)?, e.id))).collect();
    keys.sort_unstable_by_key(|(key, _)| *key);
    keys.dedup_by_key(|(key, _)| *key);
    keys
}

/// Notes keys alone, and tells which were new and the database's clock.
pub(super) fn noting(keys: &[(EventKey, Uuid)], sure: Keys) -> Statement<'static, copy::Noted> {
    match keys {
        [(key, id)] => one_key(Statement::new(""), *key, *id).sql(", now()"),
        _ if sure == Keys::New => {
            many_keys(Statement::new("WITH keys AS ("), keys, sure).sql(") SELECT key_hash, now() FROM keys LIMIT 1")
        }
        _ => many_keys(Statement::new(""), keys, sure).sql(", now()"),
    }
}

/// Notes one key.
pub(super) fn one_key<Row>(statement: Statement<'_, Row>, key: EventKey, id: Uuid) -> Statement<'_, Row> {
    statement
        .sql("INSERT INTO mesh_six_event_keys (bucket, key_hash, event_id) VALUES (")
        .bind(Value::Int(key.bucket))
        .sql(", ")
        .bind(Value::Id(key.hash))
        .sql(", ")
        .bind(Value::Id(id))
        .sql(") ON CONFLICT DO NOTHING RETURNING key_hash")
}

/// Notes several keys.
pub(super) fn many_keys<'a, Row>(
    statement: Statement<'a, Row>,
    keys: &[(EventKey, Uuid)],
    sure: Keys,
) -> Statement<'a, Row> {
    let statement = statement
        .sql("INSERT INTO mesh_six_event_keys (bucket, key_hash, event_id) SELECT k.* FROM unnest(")
        .bind(Value::Ints(keys.iter().map(|(key, _)| key.bucket).collect()))
        .sql(", ")
        .bind(Value::Ids(keys.iter().map(|(key, _)| key.hash).collect()))
        .sql(", ")
        .bind(Value::Ids(keys.iter().map(|(_, id)| *id).collect()));
    statement.sql(match sure {
        Keys::Unsure => ") AS k ON CONFLICT DO NOTHING RETURNING key_hash",
        Keys::New => ") AS k RETURNING key_hash",
    })
}
