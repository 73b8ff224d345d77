//! A file of tasks: all are read and checked before the first is submitted.

use std::{
    io::Read,
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mesh_six_core::{
    malformed, parse_value,
    task::{NewTaskBody, TaskStatus},
};
use serde_json::{Value, json};

use super::wait;
use crate::{
    cli::SubmitArgs,
    client::Client,
    commands::task_view::TaskView,
    exit::{self, Exit},
    output,
};

/// Submits every line of `path`, at most `concurrency` at once, and prints a summary.
pub(crate) async fn run(client: &Client, args: &SubmitArgs, path: &Path) -> anyhow::Result<ExitCode> {
    let tasks = read(path, args)?;
    let bar = ProgressBar::with_draw_target(Some(tasks.len() as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} tasks  {elapsed}  {msg}")?;
    bar.set_style(style);
    let begun = Instant::now();
    // Once nobody answers, the rest of the file would only repeat that.
    let gone = AtomicBool::new(false);
    let mut results: Vec<(usize, anyhow::Result<TaskView>)> = stream::iter(tasks)
        .map(|(line, task)| {
            let gone = &gone;
            async move {
                if gone.load(Ordering::Relaxed) {
                    return (line, Err(Exit::unreachable("not submitted: the mesh went away")));
                }
                let key = args.idempotency_key.as_ref().map(|key| format!("{key}:{line}"));
                let done = wait::submit_and_wait(client, &task, key.as_deref()).await;
                if done.as_ref().is_err_and(exit::is_unreachable) {
                    gone.store(true, Ordering::Relaxed);
                }
                (line, done)
            }
        })
        .buffer_unordered(usize::from(args.concurrency))
        .inspect(|(_, done)| {
            bar.inc(1);
            if let Err(error) = done {
                bar.set_message(error.to_string());
            }
        })
        .collect()
        .await;
    bar.finish_and_clear();
    results.sort_by_key(|(line, _)| *line);
    let completed = results.iter().filter(|(_, r)| r.as_ref().is_ok_and(|t| t.status == TaskStatus::Completed)).count();
    if args.output.json {
        for (line, result) in &results {
            output::json(&match result {
                Ok(task) => task.summary(),
                Err(error) => json!({"line": line, "status": "not submitted", "error": exit::told(error).1}),
            })?;
        }
    } else {
        summary(&results, completed, begun)?;
    }
    let all = completed == results.len();
    let away = gone.into_inner();
    match results.into_iter().next() {
        Some((_, Err(error))) if completed == 0 => Err(error),
        _ if all => Ok(ExitCode::SUCCESS),
        // A mesh that went away is not the same as tasks that failed.
        _ if away => Ok(ExitCode::from(exit::UNREACHABLE)),
        _ => Ok(ExitCode::from(exit::FAILED)),
    }
}

fn summary(results: &[(usize, anyhow::Result<TaskView>)], completed: usize, begun: Instant) -> anyhow::Result<()> {
    let rows = results
        .iter()
        .map(|(line, result)| match result {
            Ok(task) => {
                let usage = task.usage.unwrap_or_default();
                vec![
                    line.to_string(),
                    task.status.as_str().to_owned(),
                    task.dispatched_to.clone().unwrap_or_default(),
                    task.duration_ms.map(output::duration).unwrap_or_default(),
                    format!("{}+{}", usage.input_tokens, usage.output_tokens),
                    task.task_id.to_string(),
                ]
            }
            Err(error) => {
                let blank = String::new;
                vec![line.to_string(), "not done".to_owned(), blank(), blank(), blank(), format!("{error:#}")]
            }
        })
        .collect();
    output::table::print(&["LINE", "STATUS", "AGENT", "TIME", "TOKENS", "TASK"], rows)?;
    let took = output::duration(i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX));
    output::print_line(&format!("\n{completed} of {} completed in {took}", results.len()))
}

/// The tasks of a file, each with its line. An empty line is skipped; a wrong one stops everything before anything is submitted.
fn read(path: &Path, args: &SubmitArgs) -> anyhow::Result<Vec<(usize, Value)>> {
    let mut text = String::new();
    let opened = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut f| f.read_to_string(&mut text))
    };
    opened.map_err(|e| Exit::usage(format!("cannot read {}: {e}", path.display())))?;
    let mut tasks = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let task = task(line, args).map_err(|e| Exit::usage(format!("{}:{}: {e}", path.display(), i + 1)))?;
        tasks.push((i + 1, task));
    }
    if tasks.is_empty() {
        return Err(Exit::usage(format!("{} holds no task", path.display())));
    }
    Ok(tasks)
}

/// A line is the body of `POST /api/v1/tasks`; what it leaves out comes from the command line.
fn task(line: &str, args: &SubmitArgs) -> Result<Value, String> {
    let value: Value = serde_json::from_str(line).map_err(|e| format!("not JSON: {}", malformed(&e)))?;
    let Value::Object(given) = value else {
        return Err("a task is a JSON object".to_owned());
    };
    if !given.contains_key("payload") {
        return Err("payload: a JSON object is required".to_owned());
    }
    let mut task = super::body(args, &serde_json::Map::new());
    if let Value::Object(fields) = &mut task {
        fields.extend(given);
    }
    // As the mesh will check it: a file whose last line is wrong must not be half submitted.
    match parse_value::<NewTaskBody>(task.clone()) {
        Ok(_) => Ok(task),
        Err(error) => Err(format!("{}: {}", error.field.unwrap_or_default(), error.message)),
    }
}
