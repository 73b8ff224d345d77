//! `mesh-six migrate`.

use std::process::ExitCode;

use mesh_six_db::migrate;
use owo_colors::OwoColorize;

use crate::{cli::MigrateArgs, output, up::database};

/// Migrates, or shows what would be done.
pub(crate) async fn run(args: MigrateArgs) -> anyhow::Result<ExitCode> {
    let database = database::for_tools(&args.database).await?;
    let url = database.owner_url();
    if args.status || args.dry_run {
        let all = migrate::status(url).await.map_err(database::unusable)?;
        let shown: Vec<_> = all.into_iter().filter(|m| args.status || !m.applied).collect();
        if shown.is_empty() && !args.output.json {
            output::print_line("nothing to apply")?;
        }
        for m in shown {
            if args.output.json {
                output::json(&m)?;
            } else {
                let mark = if m.applied { "applied".green().to_string() } else { "pending".yellow().to_string() };
                output::print_line(&format!("{mark}  {}", m.name))?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (verb, done) = if args.revert {
        ("reverted", vec![migrate::revert_last(url).await.map_err(database::unusable)?])
    } else {
        ("applied", migrate::run(url).await.map_err(database::unusable)?)
    };
    if args.output.json {
        output::json(&serde_json::json!({ verb: done }))?;
    } else if done.is_empty() {
        output::print_line("the schema is current")?;
    } else {
        for name in done {
            output::print_line(&format!("{verb}  {name}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
