//! What is counted: name, kind, labels and meaning of each metric, said once, for the code that counts, for HELP and
//! TYPE in `/metrics`, and for docs/metrics.md.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

/// What a metric does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values in buckets, with their number and their sum.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// One metric. Each crate lists its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, by Prometheus' conventions: with unit, in base units, `_total` for counters.
    pub name: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// The labels that its series may have.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

impl Metric {
    /// A counter.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, labels, help }
    }

    /// A gauge.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, labels, help }
    }

    /// A histogram.
    pub const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, labels, help }
    }
}

/// What stands for all values of a label that have no series of their own.
pub const OTHER: &str = "other";

/// A label whose values come from outside: the first few have series of their own, all others share [`OTHER`], so
/// that whoever invents values does not fill the memory of this process and of Prometheus.
#[derive(Debug)]
pub struct BoundedLabel {
    limit: usize,
    known: Mutex<BTreeSet<String>>,
}

impl BoundedLabel {
    /// A label of at most `limit` values, [`OTHER`] not counted.
    pub const fn new(limit: usize) -> Self {
        Self { limit, known: Mutex::new(BTreeSet::new()) }
    }

    /// The label for `value`.
    pub fn of(&self, value: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(value) || (known.len() < self.limit && known.insert(value.to_owned())) {
            value.to_owned()
        } else {
            OTHER.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_label_keeps_its_first_values_and_takes_no_more() {
        let label = BoundedLabel::new(2);
        assert_eq!(["a", "b", "c", "a", "d", "b"].map(|value| label.of(value)), ["a", "b", OTHER, "a", OTHER, "b"]);
    }
}
