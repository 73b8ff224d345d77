//! The findings as people read them.

use owo_colors::OwoColorize;

use super::finding::{Finding, Verdict};
use crate::output;

/// Prints a table with evidence, and what it adds up to.
pub(super) fn print(findings: &[Finding], unmet: &[&str]) -> anyhow::Result<()> {
    for finding in findings {
        let verdict = format!("{:<14}", finding.verdict.text());
        let verdict = match finding.verdict {
            Verdict::Pass => verdict.green().to_string(),
            Verdict::Fail => verdict.red().to_string(),
            Verdict::NotApplicable | Verdict::NotBuilt => verdict.dimmed().to_string(),
        };
        let time = output::duration(i64::try_from(finding.duration_ms).unwrap_or(i64::MAX));
        let time = if finding.verdict == Verdict::NotBuilt { String::new() } else { time };
        output::print_line(&format!("{:<6} {verdict} {time:>8}  {}", finding.id, finding.sentence))?;
        if let Some(reason) = finding.reason.as_ref().filter(|_| finding.verdict != Verdict::NotBuilt) {
            output::print_line(&format!("{:32}{}", "", reason.dimmed()))?;
        }
        if !finding.evidence.is_null() {
            output::print_line(&format!("{:32}{}", "", finding.evidence.to_string().dimmed()))?;
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    output::print_line(&format!(
        "\n{} passed, {} failed, {} not applicable here, {} not built",
        count(Verdict::Pass),
        count(Verdict::Fail),
        count(Verdict::NotApplicable),
        count(Verdict::NotBuilt)
    ))?;
    if !unmet.is_empty() {
        output::print_line(&format!("required, but not passed: {}", unmet.join(", ")))?;
    }
    Ok(())
}
