//! `mesh-six events erase`.

use std::process::ExitCode;

use mesh_six_core::ApiError;
use mesh_six_db::{
    Database, DbResult,
    contents::{self, Erased, Subject},
};

use crate::{
    cli::{EraseArgs, SubjectArgs},
    exit::Exit,
    output,
    up::database,
};

/// Removes content and says how much went.
pub(crate) async fn run(args: EraseArgs) -> anyhow::Result<ExitCode> {
    let subject = subject(args.subject)?;
    let database = database::for_tools(&args.database).await?;
    let db = database.open("mesh-six events erase").await?;
    let erased = erase(&db, &subject, args.dry_run).await;
    db.close();
    database.stop().await;
    let erased = erased.map_err(Exit::database)?;
    if args.output.json {
        output::json(&erased)?;
    } else {
        print(&erased, args.dry_run)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn subject(args: SubjectArgs) -> anyhow::Result<Subject> {
    let SubjectArgs { event, task, user } = args;
    let subject = event.map(Subject::Event).or(task.map(Subject::Task)).or(user.map(Subject::User));
    subject.ok_or_else(|| ApiError::validation("subject", "say --event, --task or --user").into())
}

async fn erase(db: &Database, subject: &Subject, dry_run: bool) -> DbResult<Erased> {
    contents::erase(&mut *db.conn().await?, subject, dry_run).await
}

fn print(erased: &Erased, dry_run: bool) -> anyhow::Result<()> {
    let Erased { contents, tasks, inbox, outbox, dead_letters, names } = erased;
    let verb = if dry_run { "would erase" } else { "erased" };
    output::print_line(&format!(
        "{verb} {contents} contents, {tasks} tasks, {inbox} inbox rows, {outbox} messages, {dead_letters} dead letters, \
         the name in {names} tasks of others"
    ))
}
