//! `mesh-six partitions`.

use std::process::ExitCode;

use mesh_six_core::time;
use mesh_six_db::{
    Database, owner, partitions,
    retention::{self, Plan},
    seals::Month,
};
use serde_json::json;

use crate::{
    cli::PartitionsArgs,
    exit::{Exit, FAILED},
    output,
    up::database,
};

/// Lists the partitions; makes, repairs or drops some where asked to.
pub(crate) async fn run(args: PartitionsArgs) -> anyhow::Result<ExitCode> {
    let database = database::for_tools(&args.database).await?;
    let db = database.open("mesh-six partitions").await?;
    let done = match args.drop_before {
        Some(month) => drop_before(&db, database.owner_url(), month, &args).await,
        None => show(&db, database.owner_url(), &args).await,
    };
    db.close();
    database.stop().await;
    done
}

async fn show(db: &Database, owner_url: &str, args: &PartitionsArgs) -> anyhow::Result<ExitCode> {
    if args.repair {
        let mut conn = owner::connect(owner_url, "mesh-six partitions").await.map_err(Exit::database)?;
        let made = retention::repair_default(&mut conn).await.map_err(Exit::database)?;
        let made = if made.is_empty() { "nothing: the default partition is empty".to_owned() } else { made.join(", ") };
        anstream::eprintln!("repaired {made}");
    }
    if let Some(months) = args.ensure {
        let made = partitions::ensure(db, months).await.map_err(Exit::database)?;
        anstream::eprintln!("made {made}");
    }
    let mut conn = db.conn().await.map_err(Exit::database)?;
    let all = partitions::list(&mut conn).await.map_err(Exit::database)?;
    if args.output.json {
        for partition in &all {
            output::json(partition)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let day = |t: Option<_>| t.map(|t| time::format(t)[..10].to_owned()).unwrap_or_default();
    let rows = all
        .iter()
        .map(|p| {
            let rows = p.rows_estimate.map_or_else(|| "not counted".to_owned(), |rows| rows.to_string());
            vec![p.name.clone(), day(p.from), day(p.to), rows, kilobytes(p.bytes)]
        })
        .collect();
    output::table::print(&["PARTITION", "FROM", "TO", "ROWS (ABOUT)", "SIZE"], rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the plan, then drops what can go. Fails if a month that was asked for stays.
async fn drop_before(db: &Database, owner_url: &str, before: Month, args: &PartitionsArgs) -> anyhow::Result<ExitCode> {
    let mut conn = db.conn().await.map_err(Exit::database)?;
    let plan = retention::plan(&mut conn, before.from()).await.map_err(Exit::database)?;
    drop(conn);
    if args.output.json {
        output::json(&plan)?;
    } else {
        print(&plan)?;
    }
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let mut conn = owner::connect(owner_url, "mesh-six partitions").await.map_err(Exit::database)?;
    let mut stays = false;
    for candidate in plan.partitions {
        if !candidate.blockers.is_empty() {
            stays = true;
            continue;
        }
        let dropped = retention::drop_month(&mut conn, candidate.month).await.map_err(Exit::database)?;
        if args.output.json {
            output::json(&json!({ "dropped": dropped }))?;
            continue;
        }
        let head = dropped.head.map(|head| format!("; head seal {} {}", head.number, head.hash)).unwrap_or_default();
        anstream::eprintln!("dropped {} with {} events{head}", dropped.partition, dropped.rows);
    }
    let buckets = retention::drop_buckets(&mut conn, before.from()).await.map_err(Exit::database)?;
    for month in buckets {
        if args.output.json {
            output::json(&json!({ "droppedKeysOf": month }))?;
        } else {
            anstream::eprintln!("dropped the keys of {month}");
        }
    }
    Ok(if stays { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn print(plan: &Plan) -> anyhow::Result<()> {
    let verdict = |blockers: &[String]| {
        if blockers.is_empty() { "can go".to_owned() } else { format!("stays: {}", blockers.join("; ")) }
    };
    let months = plan
        .partitions
        .iter()
        .map(|c| vec![c.partition.clone(), c.rows.to_string(), kilobytes(c.bytes), verdict(&c.blockers)]);
    let buckets = plan.buckets.iter().map(|b| {
        let blockers: Vec<String> = b.blocker.iter().cloned().collect();
        vec![format!("keys of {}", b.month), format!("~{}", b.keys_estimate), kilobytes(b.bytes), verdict(&blockers)]
    });
    output::table::print_or("nothing to drop", &["WHAT", "ROWS", "SIZE", ""], months.chain(buckets).collect())
}

fn kilobytes(bytes: i64) -> String {
    format!("{} kB", bytes / 1024)
}
