//! Pauses between tries, up to a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Pauses that double, up to a deadline.
pub(super) struct Backoff {
    deadline: Instant,
    pause: Duration,
}

impl Backoff {
    /// Tries for `total`.
    pub(super) fn new(total: Duration) -> Self {
        Self { deadline: Instant::now() + total, pause: FIRST_PAUSE }
    }

    /// What is left for a try.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits before the next try; false at once if there is no time for one.
    pub(super) async fn again(&mut self) -> bool {
        if self.left() <= self.pause {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_end_before_the_deadline() {
        let (begin, mut backoff) = (Instant::now(), Backoff::new(Duration::from_secs(5)));
        let mut tries = Vec::new();
        while backoff.again().await {
            tries.push(begin.elapsed().as_millis());
        }
        assert_eq!(tries, [50, 150, 350, 750, 1_550, 2_550, 3_550, 4_550]);
        assert!(backoff.left() > Duration::ZERO);
    }
}
