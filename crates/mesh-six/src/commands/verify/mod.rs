//! `mesh-six verify`: the acceptance criteria, against a running mesh.

mod argocd;
mod around;
mod cluster;
mod criteria;
mod finding;
mod junit;
mod log;
mod metrics;
mod pods;
mod report;
mod sidecars;
mod site;
mod tasks;
mod traces;
mod workloads;

use std::{fs, process::ExitCode, time::Duration};

use anyhow::Context;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tokio::time::Instant;

use self::{
    criteria::{CRITERIA, Criterion, How},
    finding::{Finding, Outcome, Verdict},
    site::Site,
};
use crate::{
    cli::CriteriaArgs,
    exit::{Exit, FAILED},
    output,
};

/// How long one check may take: a heartbeat comes every 30 s.
const PATIENCE: Duration = Duration::from_secs(100);

/// Checks what was chosen and prints it. All checks run at once.
pub(crate) async fn run(args: CriteriaArgs) -> anyhow::Result<ExitCode> {
    let chosen = chosen(&args.only)?;
    let required: Vec<&str> = self::chosen(&args.require)?.iter().map(|c| c.id).collect();
    let required = if args.require.is_empty() { Vec::new() } else { required };
    let site = Site::open(&args).await?;
    let bar = ProgressBar::with_draw_target(Some(chosen.len() as u64), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} criteria  {elapsed}  {msg}")?);
    let findings: Vec<Finding> = stream::iter(chosen)
        .map(|criterion| check(criterion, &site))
        .buffered(CRITERIA.len())
        .inspect(|finding| {
            bar.inc(1);
            bar.set_message(finding.id);
        })
        .collect()
        .await;
    bar.finish_and_clear();
    if let Some(database) = &site.database {
        database.close();
    }
    let missing = |finding: &&Finding| required.contains(&finding.id) && finding.verdict != Verdict::Pass;
    let unmet: Vec<&str> = findings.iter().filter(missing).map(|finding| finding.id).collect();
    let absent = required.iter().filter(|id| findings.iter().all(|finding| finding.id != **id));
    let unmet: Vec<&str> = unmet.into_iter().chain(absent.copied()).collect();
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Fail).count();
    if let Some(file) = &args.junit {
        fs::write(file, junit::xml(&findings, &unmet)).with_context(|| file.display().to_string())?;
    }
    if args.output.json {
        output::json(&json!({ "version": env!("CARGO_PKG_VERSION"), "url": args.target.url, "criteria": findings,
            "failed": failed, "requiredButNotPassed": unmet }))?;
    } else {
        report::print(&findings, &unmet)?;
    }
    Ok(if failed == 0 && unmet.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The criteria that `ids` name, all where there is none. An id without a dot means all of its kind.
fn chosen(ids: &[String]) -> anyhow::Result<Vec<&'static Criterion>> {
    for id in ids {
        if !CRITERIA.iter().any(|criterion| names(id, criterion)) {
            return Err(Exit::usage(format!("{id}: there is no such criterion; M1.11 is one, M1 are all of its kind")));
        }
    }
    Ok(CRITERIA.iter().filter(|criterion| ids.is_empty() || ids.iter().any(|id| names(id, criterion))).collect())
}

fn names(id: &str, criterion: &Criterion) -> bool {
    criterion.id.eq_ignore_ascii_case(id)
        || criterion.id.split_once('.').is_some_and(|(kind, _)| kind.eq_ignore_ascii_case(id))
}

async fn check(criterion: &'static Criterion, site: &Site) -> Finding {
    let begun = Instant::now();
    let outcome = match &criterion.how {
        How::Check(check) => match tokio::time::timeout(PATIENCE, check(site)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("no end within {} s", PATIENCE.as_secs())),
        },
        How::Elsewhere(reason) => Ok(Outcome::not_applicable(*reason)),
        How::NotBuilt => {
            let reason = Some("belongs to a service that does not exist yet".to_owned());
            Ok(Outcome { verdict: Verdict::NotBuilt, reason, evidence: serde_json::Value::Null })
        }
    };
    Finding::of(criterion.id, criterion.sentence, outcome, begun.elapsed())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_choose_one_or_all_of_a_kind_and_unknown_ones_are_refused() {
        let ids = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(ToString::to_string).collect();
            chosen(&given).map(|all| all.iter().map(|c| c.id).collect::<Vec<_>>())
        };
        assert_eq!(ids(&["m1.11", "E.9"]).unwrap(), ["M1.11", "E.9"]);
        assert_eq!(ids(&["D"]).unwrap(), ["D.1", "D.2", "D.3"]);
        assert_eq!(ids(&[]).unwrap().len(), CRITERIA.len());
        assert!(ids(&["M9.9"]).unwrap_err().to_string().starts_with("M9.9: there is no such criterion"));
    }

    #[test]
    fn each_criterion_is_there_once() {
        let ids: BTreeSet<_> = CRITERIA.iter().map(|criterion| criterion.id).collect();
        assert_eq!(ids.len(), CRITERIA.len());
    }
}
