//! Bounds and pauses of the local mesh.

use std::{collections::BTreeMap, time::Duration};

use mesh_six_core::names;

/// Bounds and pauses. The defaults are those of messaging.md §1.
#[derive(Clone)]
pub struct MeshConfig {
    /// Pause before the second try of a message; doubles with each further one.
    pub first_pause: Duration,
    /// The longest such pause.
    pub longest_pause: Duration,
    /// The longest such pause of single apps, by app-id.
    pub longest_pause_of: BTreeMap<String, Duration>,
    /// How long a publish waits for every subscriber's answer.
    pub publish_wait: Duration,
    /// How long an app may take to answer a delivery.
    pub handler_timeout: Duration,
    /// How long [`super::LocalMesh::shutdown`] waits for the messages under way, and again for the deliveries.
    pub drain_wait: Duration,
    /// Most messages in one app's queue for one topic, in flight ones included.
    pub queue_capacity: usize,
    /// The bearer token that invoked services ask for.
    pub api_token: Option<String>,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(15),
            longest_pause_of: BTreeMap::from([(names::EVENT_LOGGER.to_owned(), Duration::from_secs(5))]),
            publish_wait: Duration::from_secs(10),
            handler_timeout: Duration::from_secs(10),
            drain_wait: Duration::from_secs(5),
            queue_capacity: 1_000,
            api_token: None,
        }
    }
}

impl MeshConfig {
    /// The pause of `app_id` after `tries` deliveries in vain.
    pub(super) fn pause(&self, app_id: &str, tries: u32) -> Duration {
        let longest = *self.longest_pause_of.get(app_id).unwrap_or(&self.longest_pause);
        self.first_pause.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1))).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_of_the_app() {
        let config = MeshConfig::default();
        let millis = |app: &str, tries| config.pause(app, tries).as_millis();
        assert_eq!([1, 2, 3, 9, 10, 4_000_000_000].map(|n| millis("a", n)), [50, 100, 200, 12_800, 15_000, 15_000]);
        assert_eq!([1, 7, 8, 100].map(|n| millis(names::EVENT_LOGGER, n)), [50, 3_200, 5_000, 5_000]);
    }
}
