//! `mesh-six events export`.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use mesh_six_core::event::Position;
use mesh_six_db::{
    Database, DbConfig, DbResult,
    export::{Export, ExportFile, Range, Receipt, TransferError},
    owner, retention,
    seals::Month,
};

use crate::{
    cli::ExportArgs,
    exit::{Exit, FAILED},
    output::{self, progress},
    up::database,
};

/// Writes events as JSON lines, and says where it stopped.
pub(crate) async fn run(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let database = database::for_tools(&args.database).await?;
    let db = Database::connect(DbConfig::new(database.owner_url(), "mesh-six events export"))
        .await
        .map_err(|e| Exit::unreachable(e.to_string()))?;
    let done = tokio::select! {
        done = export(&db, database.owner_url(), &args) => done,
        _ = tokio::signal::ctrl_c() => Ok(false),
    };
    db.close();
    database.stop().await;
    if done? {
        return Ok(ExitCode::SUCCESS);
    }
    anstream::eprintln!("stopped: with --out, the same command goes on where it stopped");
    Ok(ExitCode::from(FAILED))
}

async fn export(db: &Database, owner_url: &str, args: &ExportArgs) -> anyhow::Result<bool> {
    let range = range(db, args).await.map_err(Exit::database)?;
    let mut export = Export::open(db, range).await.map_err(Exit::database)?;
    let Some(path) = &args.out else {
        let last = into_stdout(&mut export).await?;
        report_last(last.or(args.from));
        return Ok(true);
    };
    let receipt = into_file(&mut export, path).await.map_err(Exit::transfer)?;
    if args.json {
        output::json(&receipt)?;
    } else {
        anstream::eprintln!("{} events, {} bytes, SHA-256 {}", receipt.rows, receipt.bytes, receipt.sha256);
        report_last(receipt.last);
    }
    if let Some(month) = args.month {
        match record(owner_url, month, &receipt).await {
            Ok(()) => anstream::eprintln!("{month} is on record as exported"),
            Err(error) => anstream::eprintln!("{month} is not on record as exported: {error}"),
        }
    }
    Ok(true)
}

async fn range(db: &Database, args: &ExportArgs) -> DbResult<Range> {
    match args.month {
        Some(month) => retention::export_range(&mut *db.conn().await?, month).await,
        None => Ok(Range { after: args.from.unwrap_or(Position::START), since: None, until: args.to_time }),
    }
}

async fn record(owner_url: &str, month: Month, receipt: &Receipt) -> DbResult<()> {
    let mut conn = owner::connect(owner_url, "mesh-six events export").await?;
    retention::record_export(&mut conn, month, receipt).await
}

async fn into_file(export: &mut Export, path: &Path) -> Result<Receipt, TransferError> {
    let mut file = ExportFile::open(path).await?;
    if let Some(last) = file.last() {
        export.resume(last);
    }
    let bar = progress::events(export.count().await?.map(|left| left + file.rows()));
    loop {
        bar.set_position(file.rows());
        let page = export.next_page().await?;
        if page.is_empty() {
            bar.finish_and_clear();
            return file.finish().await;
        }
        file.write(&page).await?;
    }
}

async fn into_stdout(export: &mut Export) -> anyhow::Result<Option<Position>> {
    let bar = progress::events(export.count().await.map_err(Exit::database)?);
    let mut last = None;
    loop {
        let page = export.next_page().await.map_err(Exit::database)?;
        let mut text = Vec::with_capacity(page.len() * 512);
        for event in &page {
            serde_json::to_writer(&mut text, event)?;
            text.push(b'\n');
        }
        let Some(event) = page.last() else {
            bar.finish_and_clear();
            return Ok(last);
        };
        match io::stdout().lock().write_all(&text) {
            // `| head` has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(last),
            done => done?,
        }
        last = Some(event.position);
        bar.inc(page.len() as u64);
    }
}

fn report_last(last: Option<Position>) {
    match last {
        Some(last) => anstream::eprintln!("last position {last}"),
        None => anstream::eprintln!("no events"),
    }
}
