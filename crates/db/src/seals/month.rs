//! A calendar month in UTC: the unit of partitions, of seals and of retention.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use mesh_six_core::ApiError;
use serde::{Serialize, Serializer};

/// A month, UTC. Its text form is `2026-11`, its number in the database 202611.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    first: NaiveDate,
}

impl Month {
    /// The month that holds `time`.
    pub fn of(time: DateTime<Utc>) -> Self {
        let date = time.date_naive();
        Self { first: date.with_day(1).unwrap_or(date) }
    }

    /// The month with this number (YYYYMM).
    pub fn from_number(number: i32) -> Option<Self> {
        let month = u32::try_from(number % 100).ok()?;
        Some(Self { first: NaiveDate::from_ymd_opt(number / 100, month, 1)? })
    }

    /// As in the database: YYYYMM.
    pub fn number(self) -> i32 {
        self.first.year() * 100 + self.first.month().cast_signed()
    }

    /// Its first moment.
    pub fn from(self) -> DateTime<Utc> {
        self.first.and_time(chrono::NaiveTime::MIN).and_utc()
    }

    /// The first moment after it.
    pub fn to(self) -> DateTime<Utc> {
        self.next().from()
    }

    /// The month after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self { first: self.first + Months::new(1) }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first.format("%Y-%m"))
    }
}

impl FromStr for Month {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let read = || {
            let (year, month) = text.split_once('-').filter(|(y, m)| y.len() == 4 && m.len() == 2)?;
            Self::from_number(year.parse::<i32>().ok()? * 100 + month.parse::<i32>().ok()?)
        };
        read().ok_or_else(|| ApiError::validation("month", "not a month such as 2026-11"))
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_texts() {
        let month: Month = "2031-12".parse().unwrap();
        assert_eq!((month.number(), month.to_string().as_str()), (203_112, "2031-12"));
        assert_eq!(month.next().number(), 203_201);
        assert_eq!(Month::of(month.to() - chrono::TimeDelta::microseconds(1)), month);
        assert_eq!(Month::of(month.to()), month.next());
        assert_eq!(Month::from_number(203_112), Some(month));
        for bad in ["2031-13", "2031-00", "31-12", "2031-1", "2031/12", "", "+031-12-"] {
            assert!(bad.parse::<Month>().is_err(), "{bad}");
        }
    }
}
