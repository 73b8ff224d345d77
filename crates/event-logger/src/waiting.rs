//! The gauges of dead letters.

use std::collections::BTreeMap;

use chrono::Utc;
use mesh_six_core::metric::{Metric, OTHER};
use mesh_six_db::{
    Conn, DbResult,
    dead_letters::{self, Waiting},
};

/// Series of the gauge at most. Topics and apps are named by strangers, so what is beyond is counted together.
const MAX_SERIES: usize = 50;

pub(crate) const LETTERS: Metric = Metric::gauge(
    "mesh_six_dead_letters_waiting",
    &["app", "topic"],
    "Dead letters, messages that failed for good, that wait for a decision, by the app that could not take them",
);
pub(crate) const OLDEST: Metric =
    Metric::gauge("mesh_six_dead_letters_oldest_age_seconds", &[], "How long the oldest dead letter has waited");

/// How many letters wait, by app and topic. What was shown once stays: a gauge that is not set again would keep its
/// last value.
#[derive(Default)]
pub(crate) struct WaitingLetters(BTreeMap<(String, String), i64>);

impl WaitingLetters {
    /// Looks and sets the gauges, that of the oldest letter's age too.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point; counts of rows are far below 2^53")]
    pub(crate) async fn look(&mut self, conn: &mut Conn) -> DbResult<()> {
        let (total, oldest) = dead_letters::oldest_waiting(conn).await?;
        self.count(dead_letters::waiting(conn, i64::try_from(MAX_SERIES).unwrap_or(i64::MAX)).await?, total);
        for ((app, topic), count) in &self.0 {
            let labels = [("app", app.clone()), ("topic", topic.clone())];
            metrics::gauge!(LETTERS.name, &labels).set(*count as f64);
        }
        let age = oldest.map_or(0, |t| (Utc::now() - t).num_seconds().max(0));
        metrics::gauge!(OLDEST.name).set(age as f64);
        Ok(())
    }

    /// Takes over what was found of `total` letters.
    fn count(&mut self, found: Vec<Waiting>, total: i64) {
        let Self(shown) = self;
        let other = (OTHER.to_owned(), OTHER.to_owned());
        shown.entry(other.clone()).or_default();
        for count in shown.values_mut() {
            *count = 0;
        }
        let mut beyond = total;
        for Waiting { app_id, topic, count } in found {
            let series = (app_id, topic);
            if shown.contains_key(&series) || shown.len() < MAX_SERIES {
                *shown.entry(series).or_default() += count;
                beyond -= count;
            }
        }
        // Between the two looks a letter may have come or gone.
        *shown.entry(other).or_default() += beyond.max(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(app: &str, topic: &str, count: i64) -> Waiting {
        Waiting { app_id: app.to_owned(), topic: topic.to_owned(), count }
    }

    fn shown(letters: &WaitingLetters) -> Vec<(&str, &str, i64)> {
        letters.0.iter().map(|((app, topic), count)| (app.as_str(), topic.as_str(), *count)).collect()
    }

    #[test]
    fn what_waits_no_more_is_shown_as_none() {
        let mut letters = WaitingLetters::default();
        letters.count(vec![waiting("a", "t", 3), waiting("b", "t", 1)], 6);
        assert_eq!(shown(&letters), [("a", "t", 3), ("b", "t", 1), (OTHER, OTHER, 2)]);
        letters.count(vec![waiting("b", "t", 2)], 1);
        assert_eq!(shown(&letters), [("a", "t", 0), ("b", "t", 2), (OTHER, OTHER, 0)]);
    }

    #[test]
    fn invented_names_do_not_make_series_without_end() {
        let mut letters = WaitingLetters::default();
        for round in 0..3 {
            let found = (0..40).map(|n| waiting("a", &format!("t{round}-{n}"), 1)).collect();
            letters.count(found, 40);
            assert_eq!(letters.0.values().sum::<i64>(), 40);
        }
        assert_eq!(letters.0.len(), MAX_SERIES);
    }
}
