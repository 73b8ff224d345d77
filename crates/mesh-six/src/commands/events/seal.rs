//! `mesh-six events seal`.

use std::process::ExitCode;

use mesh_six_db::seals::{self, SealOptions, SealReport};

use crate::{cli::SealArgs, exit::Exit, output, up::database};

/// Seals what can be sealed and prints the chain's head, to be noted somewhere else.
pub(crate) async fn run(args: SealArgs) -> anyhow::Result<ExitCode> {
    let database = database::for_tools(&args.database).await?;
    let db = database.open("mesh-six events seal").await?;
    let sealed = seals::seal(&db, SealOptions::default()).await;
    db.close();
    database.stop().await;
    print(&sealed.map_err(Exit::database)?, args.output.json)?;
    Ok(ExitCode::SUCCESS)
}

fn print(report: &SealReport, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(report);
    }
    output::print_line(&format!("sealed {} events in {} seals", report.rows, report.seals))?;
    for month in &report.closed {
        output::print_line(&format!("closed {month}"))?;
    }
    match report.head {
        Some(head) => output::print_line(&format!("head   seal {} {}", head.number, head.hash)),
        None => output::print_line("head   none: there are no seals yet"),
    }
}
