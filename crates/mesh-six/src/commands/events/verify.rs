//! `mesh-six events verify`.

use std::process::ExitCode;

use indicatif::ProgressBar;
use mesh_six_core::time;
use mesh_six_db::seals::{self, Progress, VerifyOptions, VerifyReport};
use owo_colors::OwoColorize;

use crate::{
    cli::VerifyArgs,
    exit::{Exit, FAILED},
    output,
    up::database,
};

/// Recomputes the chain; fails if the log is not as it was sealed.
pub(crate) async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let database = database::for_tools(&args.database).await?;
    let db = database.open("mesh-six events verify").await?;
    let options = VerifyOptions { expect: args.expect, from: args.from };
    let bar = output::progress::events(Some(0));
    let verified = tokio::select! {
        verified = seals::verify(&db, options, |progress| show(&bar, progress)) => verified.map(Some),
        _ = tokio::signal::ctrl_c() => Ok(None),
    };
    bar.finish_and_clear();
    db.close();
    database.stop().await;
    let Some(report) = verified.map_err(Exit::database)? else {
        anstream::eprintln!("stopped: nothing is said about the rest");
        return Ok(ExitCode::from(FAILED));
    };
    if args.output.json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(if report.is_intact() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.of_rows.cast_unsigned());
    bar.set_position(progress.rows.cast_unsigned());
}

fn print(report: &VerifyReport) -> anyhow::Result<()> {
    match &report.difference {
        None => output::print_line(&format!("{} the log is as it was sealed", "intact".green().bold()))?,
        Some(difference) => output::print_line(&format!("{} {difference}", "DIFFERENT".red().bold()))?,
    }
    output::print_line(&format!("verified   {} events, {} seals", report.rows, report.seals))?;
    let unsealed = report.unsealed;
    let since = unsealed.oldest.map(|oldest| format!(", since {}", time::format(oldest))).unwrap_or_default();
    output::print_line(&format!("not sealed {} events{since}: a change of these would not be found", unsealed.rows))?;
    if !report.dropped.is_empty() {
        let months: Vec<String> = report.dropped.iter().map(ToString::to_string).collect();
        output::print_line(&format!("dropped    {}: of these only the seals are left", months.join(", ")))?;
    }
    if let Some(head) = report.head {
        output::print_line(&format!("head       seal {} {}", head.number, head.hash))?;
    }
    match report.expected {
        Some(expected) => output::print_line(&format!("expected   seal {} has the expected hash", expected.seal)),
        None if report.is_intact() => output::print_line(
            "expected   nothing: with --expect and a hash noted earlier, a chain rewritten as a whole is found too",
        ),
        None => Ok(()),
    }
}
