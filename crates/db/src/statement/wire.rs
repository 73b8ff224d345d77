//! The same statements for tokio-postgres: text, types, and values that are bound straight into the message.

use std::{error::Error, fmt::Write};

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

use super::{JSONB_VERSION, JsonText, Part, Statement, Value};

type Written = Result<IsNull, Box<dyn Error + Sync + Send>>;

impl<'a, Row> Statement<'a, Row> {
    /// The text, and the values in the order of its `$1`, `$2`, ...
    pub(crate) fn parts(&self) -> (String, Vec<&Value<'a>>) {
        let (mut text, mut values) = (String::with_capacity(1_024), Vec::new());
        for part in &self.parts {
            match part {
                Part::Sql(sql) => text.push_str(sql),
                Part::Value(value) => {
                    values.push(value);
                    // Writing into a text never fails.
                    let _ = write!(text, "${}", values.len());
                }
            }
        }
        (text, values)
    }
}

impl Value<'_> {
    /// Its type in the database.
    pub(crate) fn kind(&self) -> Type {
        match self {
            Self::Bool(_) => Type::BOOL,
            Self::Int(_) => Type::INT4,
            Self::Long(_) => Type::INT8,
            Self::Id(_) | Self::OptionalId(_) => Type::UUID,
            Self::Time(_) => Type::TIMESTAMPTZ,
            Self::Text(_) | Self::OptionalText(_) => Type::TEXT,
            Self::Float(_) => Type::FLOAT8,
            Self::Document(_) => Type::JSONB,
            Self::Ints(_) | Self::OptionalInts(_) => Type::INT4_ARRAY,
            Self::Longs(_) => Type::INT8_ARRAY,
            Self::Ids(_) | Self::OptionalIds(_) => Type::UUID_ARRAY,
            Self::Times(_) => Type::TIMESTAMPTZ_ARRAY,
            Self::Texts(_) | Self::OptionalTexts(_) => Type::TEXT_ARRAY,
            Self::Json(_) => Type::JSONB_ARRAY,
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Written {
        match self {
            Self::Bool(v) => v.to_sql(kind, out),
            Self::Int(v) => v.to_sql(kind, out),
            Self::Long(v) => v.to_sql(kind, out),
            Self::Id(v) => v.to_sql(kind, out),
            Self::OptionalId(v) => v.to_sql(kind, out),
            Self::Time(v) => v.to_sql(kind, out),
            Self::Text(v) => v.to_sql(kind, out),
            Self::OptionalText(v) => v.to_sql(kind, out),
            Self::Float(v) => v.to_sql(kind, out),
            Self::Document(v) => v.to_sql(kind, out),
            Self::Ints(v) => v.to_sql(kind, out),
            Self::OptionalInts(v) => v.to_sql(kind, out),
            Self::Longs(v) => v.to_sql(kind, out),
            Self::Ids(v) => v.to_sql(kind, out),
            Self::OptionalIds(v) => v.to_sql(kind, out),
            Self::Times(v) => v.to_sql(kind, out),
            Self::Texts(v) => v.to_sql(kind, out),
            Self::OptionalTexts(v) => v.to_sql(kind, out),
            Self::Json(v) => v.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl ToSql for JsonText<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Written {
        out.extend_from_slice(&[JSONB_VERSION]);
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    accepts!(JSONB);
    to_sql_checked!();
}
