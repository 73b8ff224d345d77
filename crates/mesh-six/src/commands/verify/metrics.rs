//! Criterion M1.13: what is counted, by the services and by their sidecars, and what Prometheus has of it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use mesh_six_core::{roster::SERVICES, time};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{around::samples, finding::Outcome, site::Site};
use crate::commands::submit::wait::submit_and_wait;

const TASKS: &str = "mesh_six_tasks_total";
const REQUESTS: &str = "dapr_http_server_request_count";
/// How long a finished task may take to be counted, and Prometheus to have scraped it.
const COUNTED: Duration = Duration::from_secs(10);
const SCRAPED: Duration = Duration::from_secs(75);

/// M1.13: a finished task is counted, the sidecars count their requests, and Prometheus, if it is named, has both.
pub(super) async fn counted(site: &Site) -> anyhow::Result<Outcome> {
    let mut evidence = BTreeMap::new();
    let mut problems = Vec::new();
    let grown = task_is_counted(site).await?;
    problems.extend(grown.reason.clone());
    evidence.insert("tasks", grown.evidence);
    let mut requests = BTreeMap::new();
    for sidecar in site.sidecars().await? {
        let Some(url) = &sidecar.metrics else { continue };
        match site.around.text(url, &[]).await {
            Ok(text) => {
                let ours = format!("app_id=\"{}\"", sidecar.app);
                let of_app = samples(&text, REQUESTS).filter(|(labels, _)| labels.contains(&ours));
                let count: f64 = of_app.map(|(_, value)| value).sum();
                if count < 1.0 {
                    problems.push(format!("the sidecar of {} counts no request", sidecar.app));
                }
                *requests.entry(sidecar.app).or_insert(0.0) += count;
            }
            Err(error) => match site.out_of_reach(&error) {
                Some(reason) => return Ok(Outcome::of(&problems, json!(evidence)).at_best(reason)),
                None => return Err(error),
            },
        }
    }
    if !requests.is_empty() {
        evidence.insert("sidecars", json!({ "metric": REQUESTS, "byApp": requests }));
    }
    if let Some(url) = &site.around.prometheus {
        let scraped = scraped(site, url, !requests.is_empty()).await?;
        problems.extend(scraped.reason.clone());
        evidence.insert("prometheus", scraped.evidence);
    }
    Ok(Outcome::of(&problems, json!(evidence)))
}

async fn task_is_counted(site: &Site) -> anyhow::Result<Outcome> {
    let before = completed(site).await?;
    let submitted = time::now();
    let task = submit_and_wait(&site.mesh, &site.task(), None).await?;
    let deadline = Instant::now() + COUNTED;
    loop {
        let after = completed(site).await?;
        let evidence = json!({ "metric": TASKS, "capability": site.capability, "before": before, "after": after,
            "taskId": task.task_id, "since": time::format(submitted) });
        if after > before {
            return Ok(Outcome::pass(evidence));
        }
        if Instant::now() >= deadline {
            return Ok(Outcome::fail("the counter of completed tasks did not grow", evidence));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many tasks of our capability have been completed, by all orchestrators together where they can be told apart.
async fn completed(site: &Site) -> anyhow::Result<f64> {
    let mut texts = Vec::new();
    if let Some(urls) = site.metrics().await? {
        for url in urls {
            texts.push(site.around.text(&url, &[]).await?);
        }
    } else {
        let (status, text) = site.ask(Method::GET, "/metrics", None).await?;
        texts.push(text.as_str().with_context(|| format!("/metrics answered {status} without text"))?.to_owned());
    }
    let wanted = format!("capability=\"{}\"", site.capability);
    let ours = |labels: &str| labels.contains(&wanted) && labels.contains("outcome=\"completed\"");
    let counts = texts.iter().flat_map(|text| samples(text, TASKS)).filter(|(labels, _)| ours(labels));
    Ok(counts.fold(0.0, |sum, (_, count)| sum + count))
}

/// What Prometheus has, once it has scraped.
async fn scraped(site: &Site, url: &str, sidecars: bool) -> anyhow::Result<Outcome> {
    let query = format!("{}/api/v1/query", url.trim_end_matches('/'));
    let tasks = format!("sum({TASKS}{{capability=\"{}\",outcome=\"completed\"}})", site.capability);
    let requests = format!("sum by (app_id) ({REQUESTS})");
    let deadline = Instant::now() + SCRAPED;
    loop {
        let count: Value = site.around.json(&query, &[("query", &tasks)]).await?;
        let by_app: Value = site.around.json(&query, &[("query", &requests)]).await?;
        let series = by_app["data"]["result"].as_array().into_iter().flatten();
        let apps: Vec<&str> = series.filter_map(|series| series["metric"]["app_id"].as_str()).collect();
        let missing: Vec<&str> = SERVICES
            .iter()
            .filter(|service| sidecars && service.built && service.has_sidecar() && !apps.contains(&service.name))
            .map(|service| service.name)
            .collect();
        let count = count["data"]["result"][0]["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
        let mut problems = Vec::new();
        if count.is_none_or(|count| count < 1.0) {
            problems.push("Prometheus has no completed task".to_owned());
        }
        if !missing.is_empty() {
            problems.push(format!("Prometheus has nothing of the sidecars of {}", missing.join(", ")));
        }
        let outcome = Outcome::of(&problems, json!({ "tasks": count, "sidecarsOf": apps }));
        if outcome.holds() || Instant::now() >= deadline {
            return Ok(outcome);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
