//! `mesh-six submit`: one task, or a file of them.

mod file;
pub(crate) mod wait;

use std::{io, process::ExitCode};

use mesh_six_core::{malformed, task::TaskStatus};
use owo_colors::OwoColorize;
use serde_json::{Map, Value, json};

use super::task_view::TaskView;
use crate::{
    cli::SubmitArgs,
    client::Client,
    exit::{self, Exit},
    output,
};

/// Submits and, unless told otherwise, waits.
pub(crate) async fn run(args: SubmitArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(args.target.clone())?;
    if let Some(path) = &args.file {
        return file::run(&client, &args, path).await;
    }
    let body = body(&args, &payload(&args)?);
    let key = args.idempotency_key.as_deref();
    if args.no_wait {
        let accepted = wait::submit(&client, &body, key).await?;
        if args.output.json {
            output::json(&accepted)?;
        } else {
            output::print_line(accepted["taskId"].as_str().unwrap_or_default())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let task = wait::submit_and_wait(&client, &body, key).await?;
    if args.output.json {
        output::json(&task.summary())?;
    } else {
        print(&task)?;
    }
    Ok(code(&task))
}

fn print(task: &TaskView) -> anyhow::Result<()> {
    if let Some(answer) = task.answer() {
        // A model's words.
        output::print_line(&output::plain_lines(&answer))?;
        output::print_line("")?;
    }
    if let Some(error) = &task.error {
        let line = format!("{} {}: {}", task.status.as_str().red(), error.error_type, output::plain(&error.message));
        output::print_line(&line)?;
    } else if task.status == TaskStatus::Cancelled {
        output::print_line(&"cancelled".yellow().to_string())?;
    }
    output::print_line(&task.facts().dimmed().to_string())
}

fn payload(args: &SubmitArgs) -> anyhow::Result<Map<String, Value>> {
    if let Some(query) = &args.query {
        let query = if query == "-" { &from_stdin()? } else { query };
        return Ok(Map::from_iter([("query".to_owned(), json!(query))]));
    }
    let text = args.payload.as_deref().unwrap_or("{}");
    match serde_json::from_str(text) {
        Ok(Value::Object(payload)) => Ok(payload),
        Ok(_) => Err(Exit::usage(r#"--payload must be a JSON object, such as '{"query": "..."}'"#)),
        Err(error) => Err(Exit::usage(format!("--payload is not JSON: {}", malformed(&error)))),
    }
}

/// A question that is piped in.
fn from_stdin() -> anyhow::Result<String> {
    let text = io::read_to_string(io::stdin()).map_err(|e| Exit::usage(format!("cannot read the question: {e}")))?;
    let question = text.trim();
    if question.is_empty() {
        return Err(Exit::usage("QUERY is -, but standard input holds no question"));
    }
    Ok(question.to_owned())
}

fn body(args: &SubmitArgs, payload: &Map<String, Value>) -> Value {
    let mut body = json!({
        "capability": args.capability,
        "payload": payload,
        "priority": args.priority,
        "timeout": args.timeout,
        "requestedBy": "cli",
    });
    if let Some(user) = &args.user {
        body["userId"] = json!(user);
    }
    body
}

/// 0 if the task was completed, else 1.
fn code(task: &TaskView) -> ExitCode {
    if task.status == TaskStatus::Completed { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) }
}
