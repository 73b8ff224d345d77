//! `mesh-six partitions`.

use std::process::ExitCode;

use mesh_six_core::time;
use mesh_six_db::{Database, DbConfig, partitions};

use crate::{cli::PartitionsArgs, exit::Exit, output, up::database};

/// Lists the partitions, and makes missing ones where asked to.
pub(crate) async fn run(args: PartitionsArgs) -> anyhow::Result<ExitCode> {
    let database = database::for_tools(&args.database).await?;
    let db = Database::connect(DbConfig::new(database.owner_url(), "mesh-six partitions"))
        .await
        .map_err(|e| Exit::unreachable(e.to_string()))?;
    let done = show(&db, &args).await;
    db.close();
    database.stop().await;
    done.map(|()| ExitCode::SUCCESS)
}

async fn show(db: &Database, args: &PartitionsArgs) -> anyhow::Result<()> {
    if let Some(months) = args.ensure {
        let made = partitions::ensure(db, months).await?;
        anstream::eprintln!("made {made}");
    }
    let mut conn = db.conn().await?;
    let all = partitions::list(&mut conn).await?;
    if args.output.json {
        for partition in &all {
            output::json(partition)?;
        }
        return Ok(());
    }
    let day = |t: Option<_>| t.map(|t| time::format(t)[..10].to_owned()).unwrap_or_default();
    let rows = all
        .iter()
        .map(|p| {
            vec![p.name.clone(), day(p.from), day(p.to), p.rows_estimate.to_string(), format!("{} kB", p.bytes / 1024)]
        })
        .collect();
    output::table::print(&["PARTITION", "FROM", "TO", "ROWS (ABOUT)", "SIZE"], rows)
}
