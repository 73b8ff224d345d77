//! Repeating a failed request, inside the task's time.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::Generator;
use crate::{ChatRequest, ChatResponse, LlmError};

/// How a failed request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Requests per step, the first one included.
    pub tries: u32,
    /// The wait before the second try; it doubles with each further one, and a random half is taken off.
    pub first_delay: Duration,
    /// The longest wait, unless the endpoint asks for more.
    pub max_delay: Duration,
    /// The longest time of one request; less where the task has less left.
    pub request_timeout: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 3,
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(8),
            request_timeout: Duration::from_secs(110),
        }
    }
}

impl RetryPolicy {
    /// The wait after try number `attempt` failed. The random part keeps many tasks from coming back at once.
    fn delay(&self, attempt: u32, error: &LlmError) -> Duration {
        let doubled = self.first_delay.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
        let jittered = doubled.min(self.max_delay).mul_f64(0.5 + fastrand::f64() / 2.0);
        jittered.max(error.retry_after().unwrap_or_default())
    }
}

impl Generator {
    /// One step: a request, repeated where that may help. Each try is on the record.
    pub(super) async fn ask(&self, request: &mut ChatRequest, step: u32) -> Result<ChatResponse, LlmError> {
        let mut attempt = 1;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LlmError::Timeout { after: Duration::ZERO });
            }
            request.timeout = left.min(self.retry.request_timeout);
            let error = match self.request_once(request, step, attempt).await {
                Ok(answer) if answer.content.trim().is_empty() && answer.tool_calls.is_empty() => {
                    let reason = format!("it is empty (finish reason {})", answer.finish_reason);
                    LlmError::Unusable { reason }
                }
                outcome @ Ok(_) => return outcome,
                Err(error) => error,
            };
            let delay = self.retry.delay(attempt, &error);
            // A wait that outlasts the task would only hide the reason of its failure.
            let in_time = Instant::now().checked_add(delay).is_some_and(|then| then < self.deadline);
            if !error.retryable() || attempt >= self.retry.tries || !in_time {
                return Err(error);
            }
            warn!(
                agent.id = self.context.agent_id,
                task.id = self.context.task_id.map(tracing::field::display),
                trace.id = %self.context.trace_id,
                error.r#type = error.kind(),
                llm.attempt = attempt,
                llm.delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                "model request failed and is repeated: {error}"
            );
            sleep(delay).await;
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_and_the_endpoint_may_ask_for_more() {
        let policy = RetryPolicy::default();
        let limited = |seconds| LlmError::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
        for (attempt, most) in [(1, 500), (2, 1_000), (3, 2_000), (9, 8_000), (99, 8_000)] {
            let delay = policy.delay(attempt, &LlmError::Client { status: 400 }).as_millis();
            assert!((most / 2..=most).contains(&delay), "{attempt}: {delay}");
        }
        assert_eq!(policy.delay(1, &limited(20)), Duration::from_secs(20));
        assert!(policy.delay(1, &limited(0)) >= Duration::from_millis(250));
    }
}
