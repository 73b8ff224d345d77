//! Numbers of a task, read such that an error says what is wanted.

use std::fmt;

use serde::{
    Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// A priority; its range is checked later.
pub(super) fn priority<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
    from.deserialize_i32(Whole("a whole number from 0 to 10"))
}

/// A timeout; its range is checked later.
pub(super) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
    from.deserialize_i32(Whole("a whole number of seconds from 1 to 900"))
}

/// What is wanted.
struct Whole(&'static str);

impl Visitor<'_> for Whole {
    type Value = i32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i32, E> {
        i32::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i32, E> {
        i32::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }
}
