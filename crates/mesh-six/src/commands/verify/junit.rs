//! The findings in JUnit's XML, which continuous integration shows.

use std::fmt::Write;

use super::finding::{Finding, Verdict};

/// One test case for each criterion. What was required and not passed is a failure here too; anything else that could
/// not be seen is skipped.
pub(super) fn xml(findings: &[Finding], unmet: &[&str]) -> String {
    let failed = |finding: &Finding| finding.verdict == Verdict::Fail || unmet.contains(&finding.id);
    let failures = findings.iter().filter(|finding| failed(finding)).count();
    let skipped = findings.iter().filter(|finding| !failed(finding) && finding.verdict != Verdict::Pass).count();
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
    // All run at once.
    let longest = findings.iter().map(|finding| finding.duration_ms).max().unwrap_or(0);
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"mesh-six verify\" tests=\"{}\" \
         failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{}\">\n",
        findings.len(),
        seconds(longest)
    );
    for finding in findings {
        let kind = finding.id.split_once('.').map_or(finding.id, |(kind, _)| kind);
        let name = escaped(&format!("{} {}", finding.id, finding.sentence));
        // A text takes all that is written to it.
        let _ =
            writeln!(out, "<testcase classname=\"{kind}\" name=\"{name}\" time=\"{}\">", seconds(finding.duration_ms));
        let reason = escaped(finding.reason.as_deref().unwrap_or_default());
        if failed(finding) {
            let _ = writeln!(out, "<failure message=\"{reason}\"/>");
        } else if finding.verdict != Verdict::Pass {
            let _ = writeln!(out, "<skipped message=\"{reason}\"/>");
        }
        if !finding.evidence.is_null() {
            let _ = writeln!(out, "<system-out>{}</system-out>", escaped(&finding.evidence.to_string()));
        }
        out.push_str("</testcase>\n");
    }
    out + "</testsuite>\n</testsuites>\n"
}

/// A text as it stands in XML, without the characters that XML does not have.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::commands::verify::finding::Outcome;

    #[test]
    fn each_criterion_is_a_test_case() {
        let of = |id, outcome| Finding::of(id, "it holds", Ok(outcome), Duration::from_millis(1_234));
        let findings = [
            of("M1.1", Outcome::pass(json!({ "a": "<&\u{7}>" }))),
            of("M1.2", Outcome::fail("not \"so\"", json!(null))),
            of("M1.3", Outcome::not_applicable("not here")),
            of("E.1", Outcome::not_applicable("nor here")),
        ];
        insta::assert_snapshot!(xml(&findings, &["E.1"]));
    }
}
