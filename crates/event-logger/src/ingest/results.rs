//! Topic `task-results`: the agents' answers.

use async_trait::async_trait;
use mesh_six_core::{ApiError, Event, event::catalogue, parse_value, task::TaskResult};
use mesh_six_db::vouch::{self, Claim, Voucher};
use mesh_six_sidecar::{BulkHandler, Delivery, Status};

use super::{Intake, Refusal};

/// Writes `task.result` for each answer that somebody stands behind.
pub(crate) struct TaskResults(pub(crate) Intake);

#[async_trait]
impl BulkHandler for TaskResults {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let parsed: Vec<_> = deliveries.iter().map(read).collect();
        let claims: Vec<Claim> = parsed.iter().flatten().map(|(result, _)| claim(result)).collect();
        let vouchers = match self.vouchers(&claims).await {
            Ok(vouchers) => vouchers,
            Err(Refusal::Later) => return vec![Status::Retry; deliveries.len()],
            // No claim is at fault: its fields are typed, and texts that the database cannot take were refused.
            Err(Refusal::Bad(error)) => {
                let refused = deliveries.iter().map(|_| Err(Refusal::Bad(error.clone()))).collect();
                return self.0.take(&deliveries, refused).await;
            }
        };
        let mut vouchers = vouchers.into_iter();
        let events = parsed
            .into_iter()
            .zip(&deliveries)
            .map(|(result, delivery)| {
                let (result, foreign) = result?;
                let event = judge(&result, &delivery.event.source, &vouchers.next().unwrap_or(Voucher::Nobody))?;
                Ok(event.with_foreign_trace(foreign))
            })
            .collect();
        self.0.take(&deliveries, events).await
    }

    async fn dropped(&self, delivery: &Delivery, reason: &str) -> Status {
        self.0.dropped(delivery, reason).await
    }
}

impl TaskResults {
    async fn vouchers(&self, claims: &[Claim]) -> Result<Vec<Voucher>, Refusal> {
        let mut conn = self.0.db.conn().await?;
        Ok(vouch::vouchers(&mut conn, claims).await?)
    }
}

/// The answer, and its trace id where that was none.
fn read(delivery: &Delivery) -> Result<(TaskResult, Option<String>), ApiError> {
    let (content, foreign) = delivery.content_with_trace();
    Ok((parse_value(content)?, foreign))
}

fn claim(result: &TaskResult) -> Claim {
    Claim { task_id: result.task_id, attempt: result.attempt, agent_id: result.agent_id.clone() }
}

/// Messages are hints (events.md §6): the inbox must hold the same answer, or, where the agent has no database,
/// the agent must be the one that was asked and the message be its own.
fn judge(result: &TaskResult, source: &str, voucher: &Voucher) -> Result<Event, ApiError> {
    match voucher {
        Voucher::Inbox(hash) if *hash == result.result_hash => Ok(catalogue::task_result(result, true)),
        Voucher::Asked if source == result.agent_id => Ok(catalogue::task_result(result, false)),
        Voucher::Asked => Err(ApiError::validation("source", "somebody else than the agent sent this")),
        Voucher::Inbox(_) => Err(ApiError::validation("resultHash", "the agent's inbox holds another answer")),
        Voucher::Unanswered => Err(ApiError::validation("resultHash", "the agent's inbox holds no answer yet")),
        Voucher::Nobody => Err(ApiError::validation("agentId", "nobody asked this agent for that attempt")),
    }
}
