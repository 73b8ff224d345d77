//! `mesh-six tasks`.

use std::process::ExitCode;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::task_view::TaskView;
use crate::{cli::TasksArgs, client::Client, output};

#[derive(Deserialize)]
struct Page {
    tasks: Vec<Value>,
}

/// Lists tasks, shows one, or cancels one.
pub(crate) async fn run(args: TasksArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(args.target.clone())?;
    if let Some(id) = args.id {
        let path = format!("/api/v1/tasks/{id}");
        let method = if args.cancel { Method::DELETE } else { Method::GET };
        let response = client.send(client.request(method, &path)).await?;
        let task: Value = response.json().await.map_err(|e| client.unreachable(&e))?;
        if args.output.json {
            output::json(&task)?;
        } else {
            output::print_line(&output::plain_lines(&serde_json::to_string_pretty(&task)?))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let some = args.status.is_some() || args.capability.is_some();
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.status.map(|s| ("status", s)));
    query.extend(args.capability.map(|c| ("capability", c)));
    let request = client.request(Method::GET, "/api/v1/tasks").query(&query);
    let page: Page = client.send(request).await?.json().await.map_err(|e| client.unreachable(&e))?;
    if args.output.json {
        for task in &page.tasks {
            output::json(task)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Vec::new();
    for task in page.tasks {
        let task: TaskView = serde_json::from_value(task)?;
        rows.push(vec![
            task.task_id.to_string(),
            task.status.as_str().to_owned(),
            task.capability,
            task.dispatched_to.unwrap_or_default(),
            task.attempts.to_string(),
            task.duration_ms.map(output::duration).unwrap_or_default(),
            task.created_at.get(..19).unwrap_or(&task.created_at).replace('T', " "),
        ]);
    }
    let header = ["TASK", "STATUS", "CAPABILITY", "AGENT", "ATTEMPTS", "TIME", "CREATED (UTC)"];
    let nothing = if some { "no such tasks" } else { "no tasks yet" };
    output::table::print_or(nothing, &header, rows)?;
    Ok(ExitCode::SUCCESS)
}
