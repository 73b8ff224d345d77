//! What was measured: a table for people, one JSON object for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{machine::Machine, settings::Settings};
use crate::output;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// So many times the reference, or more.
    Times(f64),
    /// At most so many times the reference.
    TimesAtMost(f64),
    /// At most this, in the figure's own unit.
    AtMost(f64),
    /// Below the reference.
    BelowReference,
}

impl Target {
    fn met(self, value: f64, ratio: Option<f64>) -> bool {
        match self {
            Self::Times(least) => ratio.is_some_and(|r| r >= least),
            Self::TimesAtMost(most) => ratio.is_some_and(|r| r <= most),
            Self::AtMost(most) => value <= most,
            Self::BelowReference => ratio.is_some_and(|r| r < 1.0),
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::Times(least) => format!(">= {least}x"),
            Self::TimesAtMost(most) => format!("<= {most}x"),
            Self::AtMost(most) => format!("<= {most} {unit}"),
            Self::BelowReference => "< 1x".to_owned(),
        }
    }
}

/// One figure.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    id: &'static str,
    name: &'static str,
    value: f64,
    unit: &'static str,
    reference: Option<f64>,
    ratio: Option<f64>,
    target: String,
    met: bool,
}

impl Figure {
    /// A figure beside its reference, both in `unit`.
    pub(super) fn compared(
        id: &'static str,
        name: &'static str,
        (value, reference): (f64, f64),
        unit: &'static str,
        target: Target,
    ) -> Self {
        let ratio = (reference > 0.0).then(|| value / reference);
        let met = target.met(value, ratio);
        let (value, reference, ratio) = (rounded(value), Some(rounded(reference)), ratio.map(rounded));
        Self { id, name, value, unit, reference, ratio, target: target.text(unit), met }
    }

    /// A figure that stands for itself.
    pub(super) fn alone(id: &'static str, name: &'static str, value: f64, unit: &'static str, target: Target) -> Self {
        let met = target.met(value, None);
        Self { id, name, value: rounded(value), unit, reference: None, ratio: None, target: target.text(unit), met }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.id.to_owned(),
            self.name.to_owned(),
            format!("{} {}", number(self.value), self.unit),
            self.reference.map_or_else(|| "-".to_owned(), number),
            self.ratio.map_or_else(|| "-".to_owned(), |r| format!("{r:.2}x")),
            self.target.clone(),
            if self.met { "yes" } else { "NO" }.to_owned(),
        ]
    }
}

/// All of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    pub(super) results: Vec<Figure>,
    /// What each figure was compared with, and what else is worth knowing, by id.
    pub(super) notes: BTreeMap<&'static str, String>,
}

impl Report {
    /// Prints the run.
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return output::json(self);
        }
        output::print_line(&format!("{}\n{}\n", self.machine, self.settings))?;
        let rows = self.results.iter().map(Figure::row).collect();
        output::table::print(&["ID", "WORK", "VALUE", "REFERENCE", "RATIO", "TARGET", "MET"], rows)?;
        output::print_line("")?;
        for (id, note) in &self.notes {
            output::print_line(&format!("{id:<5} {note}"))?;
        }
        let missed: Vec<&str> = self.results.iter().filter(|f| !f.met).map(|f| f.id).collect();
        let all = self.results.len();
        output::print_line(&match missed.as_slice() {
            [] => format!("\nall {all} targets met"),
            some => format!("\n{} of {all} targets missed: {}", some.len(), some.join(", ")),
        })
    }
}

/// Three figures or so are all that such a measurement tells.
fn number(value: f64) -> String {
    match value.abs() {
        1_000.0.. => format!("{value:.0}"),
        100.0..1_000.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// To three decimals.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_met_or_missed() {
        let compared = |pair, target| Figure::compared("P0", "work", pair, "ms", target).met;
        assert!(compared((40.0, 10.0), Target::Times(4.0)));
        assert!(!compared((39.0, 10.0), Target::Times(4.0)));
        assert!(compared((15.0, 10.0), Target::TimesAtMost(1.5)));
        assert!(!compared((10.0, 10.0), Target::BelowReference));
        assert!(!compared((10.0, 0.0), Target::Times(1.0)), "without a reference nothing is met");
        assert!(Figure::alone("P0", "work", 100.0, "ms", Target::AtMost(100.0)).met);
    }
}
