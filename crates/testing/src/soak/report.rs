//! What a run ends with: a row for each piece of work.

use std::fmt;

use comfy_table::{ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde::Serialize;

/// A piece of work, what was done to it, and what came of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What was done.
    pub work: String,
    /// What failed meanwhile, and how often.
    pub faults: String,
    /// What must hold.
    pub must_hold: String,
    /// What was seen.
    pub seen: String,
    /// Whether it holds.
    pub holds: bool,
    /// What does not hold, in words; nothing if all holds.
    pub violations: Vec<String>,
}

impl Row {
    /// A row that holds if nothing violates it.
    pub fn new(
        work: impl Into<String>,
        faults: impl Into<String>,
        must_hold: impl Into<String>,
        seen: impl Into<String>,
        violations: Vec<String>,
    ) -> Self {
        let (work, faults, must_hold, seen) = (work.into(), faults.into(), must_hold.into(), seen.into());
        Self { work, faults, must_hold, seen, holds: violations.is_empty(), violations }
    }
}

/// All of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The seed of the plan.
    pub seed: u64,
    /// The minutes with faults.
    pub minutes: f64,
    /// A row for each piece of work.
    pub rows: Vec<Row>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether all rows hold.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.holds)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        if table.width().is_none() {
            table.set_width(150);
        }
        table.set_header(["work", "faults", "must hold", "seen", "holds"]);
        for row in &self.rows {
            let holds = if row.holds { "yes" } else { "NO" };
            table.add_row([&row.work, &row.faults, &row.must_hold, &row.seen, holds]);
        }
        writeln!(f, "seed {}, {:.1} minutes with faults\n{table}", self.seed, self.minutes)?;
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for row in self.rows.iter().filter(|row| !row.holds) {
            writeln!(f, "\ndoes not hold: {}", row.work)?;
            for violation in &row.violations {
                writeln!(f, "  {violation}")?;
            }
        }
        let held = self.rows.iter().filter(|row| row.holds).count();
        write!(f, "\n{held} of {} rows hold", self.rows.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_said() {
        let row = |violations: &[&str]| {
            let violations = violations.iter().map(|text| (*text).to_owned()).collect();
            Row::new("messages", "rabbitmq 5 kills", "accepted = rows", "10 accepted", violations)
        };
        let report = |rows| Report { seed: 7, minutes: 3.0, rows, notes: vec!["nothing else".to_owned()] };
        let well = report(vec![row(&[])]);
        assert!(well.holds() && well.to_string().ends_with("1 of 1 rows hold"), "{well}");
        let ill = report(vec![row(&[]), row(&["key a is there twice"])]);
        let text = ill.to_string();
        assert!(
            !ill.holds() && text.contains("  key a is there twice\n") && text.ends_with("1 of 2 rows hold"),
            "{text}"
        );
    }
}
