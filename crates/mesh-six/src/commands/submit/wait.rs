//! Submitting and waiting for the end, across short outages of the connection.

use std::time::{Duration, Instant};

use anyhow::Context;
use mesh_six_core::{ApiError, ErrorType};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::{client::Client, commands::task_view::TaskView};

/// How long a submission may take.
const SUBMIT: Duration = Duration::from_secs(30);
/// Seconds that one request waits for the end of a task.
const POLL_SECONDS: u64 = 25;
/// A pause before the next request, where the one before did not wait.
const PAUSE: Duration = Duration::from_millis(500);
/// Requests that may fail in a row before giving up.
const TRIES: u32 = 20;

/// Submits `body` and returns the answer. The key makes a second try after a broken connection the same task.
pub(crate) async fn submit(client: &Client, body: &Value, key: Option<&str>) -> anyhow::Result<Value> {
    let request = client.request(Method::POST, "/api/v1/tasks").json(body).timeout(SUBMIT);
    let request = match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    };
    let response = client.send(request).await.map_err(|error| with_hint(error, body))?;
    response.json().await.map_err(|e| client.unreachable(&e))
}

/// Where to look why nobody takes the task.
fn with_hint(error: anyhow::Error, body: &Value) -> anyhow::Error {
    let mut error = match error.downcast::<ApiError>() {
        Ok(error) if error.error_type == ErrorType::NoAgent => error,
        Ok(other) => return other.into(),
        Err(other) => return other,
    };
    let nobody = error.details.as_ref().is_some_and(|details| details["scores"] == Value::Array(Vec::new()));
    let capability = body["capability"].as_str().unwrap_or_default();
    error.message = if nobody {
        format!("{}; `mesh-six agents` shows who can do what", error.message)
    } else {
        format!("{}; `mesh-six agents --score {capability}` shows why", error.message)
    };
    error.into()
}

/// Submits `body` and waits until the task has ended. The submission does not wait itself, so that the task's id is
/// known whatever happens to the connection later.
pub(crate) async fn submit_and_wait(client: &Client, body: &Value, key: Option<&str>) -> anyhow::Result<TaskView> {
    let accepted = submit(client, body, key).await?;
    let id: Uuid = serde_json::from_value(accepted["taskId"].clone())?;
    wait(client, id).await.with_context(|| format!("task {id} was accepted, but its end was not seen"))
}

/// Waits until the task has ended.
async fn wait(client: &Client, id: Uuid) -> anyhow::Result<TaskView> {
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        match poll(client, id).await {
            Ok(task) if task.status.is_final() => return Ok(task),
            Ok(_) => {
                failures = 0;
                // A mesh that ends, or a proxy, answers at once.
                if begun.elapsed() < Duration::from_secs(POLL_SECONDS / 2) {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            // The mesh may be restarting; the task lives in its database.
            Err(error) => {
                failures += 1;
                let away = error.downcast_ref::<ApiError>().is_none_or(|e| e.error_type == ErrorType::Unavailable);
                if !away || failures >= TRIES {
                    return Err(error);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn poll(client: &Client, id: Uuid) -> anyhow::Result<TaskView> {
    let path = format!("/api/v1/tasks/{id}?wait={POLL_SECONDS}");
    let request = client.request(Method::GET, &path).timeout(Duration::from_secs(POLL_SECONDS + 10));
    let response = client.send(request).await?;
    response.json().await.map_err(|e| client.unreachable(&e))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Json, Router, routing::get};
    use mesh_six_core::{TraceId, task::TaskStatus};
    use serde_json::json;

    use super::*;
    use crate::cli::Target;

    #[tokio::test]
    async fn a_mesh_that_answers_at_once_is_not_asked_again_at_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let answer = move || {
            let status = if counted.fetch_add(1, Ordering::Relaxed) < 2 { "dispatched" } else { "completed" };
            let (id, trace) = (Uuid::nil(), TraceId::new());
            let task = json!({"taskId": id, "capability": "c", "status": status, "traceId": trace, "createdAt": ""});
            async move { Json(task) }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/api/v1/tasks/{id}", get(answer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let client = Client::new(Target { url, token: None }).unwrap();
        let begun = Instant::now();
        let task = wait(&client, Uuid::nil()).await.unwrap();
        assert_eq!((task.status, asked.load(Ordering::Relaxed)), (TaskStatus::Completed, 3));
        assert!(begun.elapsed() >= PAUSE * 2, "asked three times in {:?}", begun.elapsed());
    }

    #[test]
    fn whoever_finds_no_agent_is_told_where_to_look() {
        let told = |scores: Value| {
            let error = ApiError::new(ErrorType::NoAgent, "no").with_details(json!({ "scores": scores }));
            with_hint(error.into(), &json!({"capability": "c"})).to_string()
        };
        assert_eq!(told(json!([])), "no; `mesh-six agents` shows who can do what");
        assert_eq!(told(json!([{"agentId": "a"}])), "no; `mesh-six agents --score c` shows why");
        let other = with_hint(ApiError::unavailable("away").into(), &json!({"capability": "c"}));
        assert_eq!(other.to_string(), "away");
    }
}
