//! Closed loops: so many callers, each with one piece of work under way, for a time.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// A caller.
pub(super) trait Worker: Send + 'static {
    /// Does one piece of work and says how many events it was.
    fn work(&mut self) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

/// What callers got done.
pub(super) struct Load {
    done: u64,
    elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Load {
    /// Events in a second.
    #[expect(clippy::cast_precision_loss, reason = "counts of a minute are far below 2^53")]
    pub(super) fn rate(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64()
    }

    /// In milliseconds.
    pub(super) fn latency(&self, percent: usize) -> f64 {
        percentile(&self.latencies, percent).as_secs_f64() * 1_000.0
    }
}

/// Lets all `workers` work for `window`, each at least once. Work that has begun is finished and counted with the
/// time it took.
pub(super) async fn run<W: Worker>(workers: Vec<W>, window: Duration) -> anyhow::Result<Load> {
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for mut worker in workers {
        running.spawn(async move {
            let (mut done, mut latencies) = (0, Vec::new());
            loop {
                let before = Instant::now();
                done += worker.work().await?;
                latencies.push(before.elapsed());
                if begin.elapsed() >= window {
                    return anyhow::Ok((done, latencies));
                }
            }
        });
    }
    let mut load = Load { done: 0, elapsed: window, latencies: Vec::new() };
    while let Some(ended) = running.join_next().await {
        let (done, latencies) = ended??;
        load.done += done;
        load.latencies.extend(latencies);
    }
    load.elapsed = begin.elapsed();
    Ok(load)
}

/// The value that `percent` of all values do not exceed.
pub(super) fn percentile(values: &[Duration], percent: usize) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The middle one of several measurements.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// In milliseconds.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_medians() {
        let values: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 50), Duration::from_millis(50));
        assert_eq!(percentile(&values, 99), Duration::from_millis(99));
        assert_eq!(percentile(&values[..1], 99), Duration::from_millis(100));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
