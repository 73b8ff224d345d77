//! Pauses between tries, up to a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::port::SidecarError;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Pauses that double, up to a deadline.
pub(super) struct Backoff {
    deadline: Instant,
    pause: Duration,
    /// What the last try that had time for an answer met.
    met: Option<SidecarError>,
}

impl Backoff {
    /// Tries for `total`.
    pub(super) fn new(total: Duration) -> Self {
        Self { deadline: Instant::now() + total, pause: FIRST_PAUSE, met: None }
    }

    /// What is left for a try.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits before the next try, after one that met `error`. The error to report at once if there will be none:
    /// because the error will not pass, or no time is left. That a last try was cut short by the clock says less than
    /// what an earlier one met, so that is then reported.
    pub(super) async fn again(&mut self, error: SidecarError) -> Result<(), SidecarError> {
        if !error.is_transient() {
            return Err(error);
        }
        let left = self.left();
        if left <= self.pause {
            return Err(if left.is_zero() { self.met.take().unwrap_or(error) } else { error });
        }
        self.met = Some(error);
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_end_before_the_deadline() {
        let (begin, mut backoff) = (Instant::now(), Backoff::new(Duration::from_secs(5)));
        let mut tries = Vec::new();
        while backoff.again(SidecarError::Unavailable("away".to_owned())).await.is_ok() {
            tries.push(begin.elapsed().as_millis());
        }
        assert_eq!(tries, [50, 150, 350, 750, 1_550, 2_550, 3_550, 4_550]);
        assert!(backoff.left() > Duration::ZERO);
    }
}
