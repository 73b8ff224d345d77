//! `mesh-six events export`.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use mesh_six_core::event::Position;
use mesh_six_db::{
    Database, DbResult,
    export::{Export, ExportFile, Range, Receipt, TransferError},
    owner, retention,
    seals::Month,
};
use serde::Serialize;

use crate::{
    cli::ExportArgs,
    exit::{Exit, FAILED},
    output::{self, progress},
    up::database,
};

/// Writes events as JSON lines, and says where it stopped.
pub(crate) async fn run(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let database = database::for_tools(&args.database).await?;
    let db = database.open("mesh-six events export").await?;
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
        into_stdout(&mut export, args.from).await?;
        return Ok(true);
    };
    let receipt = into_file(&mut export, path).await.map_err(Exit::transfer)?;
    let record = match args.month {
        Some(month) => Some(record(owner_url, month, &receipt).await.map_err(|error| error.to_string())),
        None => None,
    };
    if args.json {
        output::json(&Summary {
            receipt: &receipt,
            on_record: record.as_ref().map(Result::is_ok),
            not_on_record_because: record.and_then(Result::err),
        })?;
        return Ok(true);
    }
    anstream::eprintln!("{} events, {} bytes, SHA-256 {}", receipt.rows, receipt.bytes, receipt.sha256);
    report_last(receipt.last);
    match (args.month, record) {
        (Some(month), Some(Ok(()))) => anstream::eprintln!("{month} is on record as exported"),
        (Some(month), Some(Err(why))) => anstream::eprintln!("{month} is not on record as exported: {why}"),
        _ => {}
    }
    Ok(true)
}

/// What `--json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    #[serde(flatten)]
    receipt: &'a Receipt,
    /// Of a month: whether retention may rely on this export.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_record: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_on_record_because: Option<String>,
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

async fn into_stdout(export: &mut Export, from: Option<Position>) -> anyhow::Result<()> {
    let bar = progress::events(export.count().await.map_err(Exit::database)?);
    let mut last = from;
    loop {
        let page = export.next_page().await.map_err(Exit::database)?;
        let mut text = Vec::with_capacity(page.len() * 512);
        for event in &page {
            serde_json::to_writer(&mut text, event)?;
            text.push(b'\n');
        }
        let Some(event) = page.last() else {
            bar.finish_and_clear();
            report_last(last);
            return Ok(());
        };
        match io::stdout().lock().write_all(&text) {
            // `| head` has seen enough. How much of it, nobody knows.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
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
