//! What the log is compared with: the same table with the same indexes, written and read with tokio-postgres as
//! well as one can without deduplication: statements prepared once, as the owner, so that no right is checked twice,
//! binary COPY, several statements in flight on a connection where that is faster.

use std::{error::Error, sync::Arc, time::SystemTime};

use anyhow::ensure;
use bytes::{BufMut, BytesMut};
use mesh_six_core::Event;
use tokio_postgres::{
    Client, Row, Statement,
    binary_copy::BinaryCopyInWriter,
    types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked},
};
use uuid::Uuid;

use super::{database::connect, load::Worker, sample};

const COLUMNS: &str = "occurred_at, id, trace_id, task_id, agent_id, event_type, event_version, payload";
const TYPES: [Type; 8] =
    [Type::TIMESTAMPTZ, Type::UUID, Type::UUID, Type::UUID, Type::TEXT, Type::TEXT, Type::INT4, Type::JSONB];

/// A connection with the statement that inserts one event and commits.
#[derive(Clone)]
pub(super) struct Inserter {
    client: Arc<Client>,
    statement: Statement,
}

impl Inserter {
    pub(super) async fn connect(url: &str) -> anyhow::Result<Self> {
        let client = connect(url).await?;
        let sql = format!("INSERT INTO mesh_six_events ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
        let statement = client.prepare(&sql).await?;
        Ok(Self { client: Arc::new(client), statement })
    }

    /// One INSERT, one commit.
    pub(super) async fn insert(&self, event: Event) -> anyhow::Result<()> {
        let written = self.client.execute(&self.statement, &Values::of(event).bound()).await?;
        ensure!(written == 1, "the reference wrote {written} rows instead of one");
        Ok(())
    }

    /// `callers` of them on as many connections, or with `shared` callers on each.
    pub(super) async fn several(url: &str, callers: usize, shared: usize) -> anyhow::Result<Vec<Self>> {
        let mut all = Vec::with_capacity(callers);
        for _ in 0..callers.div_ceil(shared) {
            all.extend(std::iter::repeat_n(Self::connect(url).await?, shared));
        }
        all.truncate(callers);
        Ok(all)
    }
}

impl Worker for Inserter {
    async fn work(&mut self) -> anyhow::Result<u64> {
        self.insert(sample::event(false)).await?;
        Ok(1)
    }
}

/// A connection that copies batches in, in binary.
pub(super) struct Copier {
    client: Client,
    statement: String,
    batch: u64,
}

impl Copier {
    /// Batches of so many events, each committed.
    pub(super) async fn several(url: &str, callers: usize, batch: u64) -> anyhow::Result<Vec<Self>> {
        let mut all = Vec::with_capacity(callers);
        for _ in 0..callers {
            let statement = format!("COPY mesh_six_events ({COLUMNS}) FROM STDIN BINARY");
            all.push(Self { client: connect(url).await?, statement, batch });
        }
        Ok(all)
    }
}

impl Worker for Copier {
    async fn work(&mut self) -> anyhow::Result<u64> {
        let sink = self.client.copy_in(self.statement.as_str()).await?;
        let writer = BinaryCopyInWriter::new(sink, &TYPES);
        let mut writer = std::pin::pin!(writer);
        for _ in 0..self.batch {
            writer.as_mut().write(&Values::of(sample::event(false)).bound()).await?;
        }
        Ok(writer.finish().await?)
    }
}

/// An event's values.
struct Values {
    occurred_at: SystemTime,
    id: Id,
    trace_id: Id,
    task_id: Option<Id>,
    agent_id: String,
    event_type: String,
    event_version: i32,
    payload: JsonText,
}

impl Values {
    fn of(event: Event) -> Self {
        Self {
            occurred_at: event.occurred_at.into(),
            id: Id(event.id),
            trace_id: Id(event.trace_id.as_uuid()),
            task_id: event.task_id.map(Id),
            payload: JsonText(event.payload.to_string()),
            agent_id: event.agent_id,
            event_type: event.event_type,
            event_version: event.event_version,
        }
    }

    /// In the order of [`COLUMNS`].
    fn bound(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.occurred_at,
            &self.id,
            &self.trace_id,
            &self.task_id,
            &self.agent_id,
            &self.event_type,
            &self.event_version,
            &self.payload,
        ]
    }
}

/// A connection that reads all events of an aggregate with one prepared statement.
pub(super) struct Reader {
    client: Client,
    statement: Statement,
}

impl Reader {
    pub(super) async fn connect(url: &str) -> anyhow::Result<Self> {
        let client = connect(url).await?;
        let sql = "SELECT seq, txid, timestamp, occurred_at, id, trace_id, task_id, agent_id, event_type, \
            event_version, payload, aggregate_id, idempotency_key FROM mesh_six_events WHERE aggregate_id = $1 \
            ORDER BY txid, seq";
        let statement = client.prepare(sql).await?;
        Ok(Self { client, statement })
    }

    /// Reads and decodes them; returns how many there are.
    pub(super) async fn read(&self, aggregate: &str) -> anyhow::Result<usize> {
        let rows = self.client.query(&self.statement, &[&aggregate]).await?;
        let decoded = rows.iter().map(Decoded::read).collect::<Result<Vec<_>, _>>()?;
        Ok(std::hint::black_box(decoded).len())
    }
}

/// A row of the log with every column in a type that one can work with.
#[expect(dead_code, reason = "decoding is what is measured")]
struct Decoded {
    order: (i64, i64),
    times: (SystemTime, SystemTime),
    ids: (Id, Id, Option<Id>),
    texts: (String, String, Option<String>, Option<String>),
    event_version: i32,
    payload: serde_json::Value,
}

impl Decoded {
    fn read(row: &Row) -> anyhow::Result<Self> {
        let JsonText(payload) = row.try_get(10)?;
        Ok(Self {
            order: (row.try_get(0)?, row.try_get(1)?),
            times: (row.try_get(2)?, row.try_get(3)?),
            ids: (row.try_get(4)?, row.try_get(5)?, row.try_get(6)?),
            texts: (row.try_get(7)?, row.try_get(8)?, row.try_get(11)?, row.try_get(12)?),
            event_version: row.try_get(9)?,
            payload: serde_json::from_str(&payload)?,
        })
    }
}

/// A UUID in PostgreSQL's binary form.
#[derive(Debug)]
pub(super) struct Id(pub(super) Uuid);

impl ToSql for Id {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Id {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Uuid::from_slice(raw)?))
    }

    accepts!(UUID);
}

/// JSON text; the binary form of jsonb is its version, 1, and the text.
#[derive(Debug)]
struct JsonText(String);

impl ToSql for JsonText {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u8(1);
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    accepts!(JSONB);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for JsonText {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let text = raw.strip_prefix(&[1]).ok_or("an unknown version of jsonb")?;
        Ok(Self(std::str::from_utf8(text)?.to_owned()))
    }

    accepts!(JSONB);
}
