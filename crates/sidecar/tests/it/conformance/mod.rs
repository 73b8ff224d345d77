//! What every adapter of the port must do. An adapter gives a [`Fixture`] and a line of [`conformance!`].
//!
//! Publishing is no proof of delivery, so each test waits for what must have come, with a deadline; and topics,
//! keys and app-ids are new ones in each test, because a broker and a store may be shared and keep what they had.

mod delivery;
mod invocation;
mod publishing;
mod state;
mod tokens;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use http::Method;
use mesh_six_sidecar::{BulkHandler, Sidecar, Subscription};
use serde_json::{Value, json};

pub(crate) use {delivery::*, invocation::*, publishing::*, state::*, tokens::*};

use crate::support::Scripted;

/// An adapter under test with whatever it needs around it.
///
/// The constants, and the methods with a default, are where adapters differ: ARCHITECTURE.md has a line for each.
#[async_trait(?Send)]
pub(crate) trait Fixture {
    /// Whether the messages of a bulk arrive in its order.
    const KEEPS_ORDER: bool;
    /// Whether whole numbers beyond 2^53 arrive as they were sent.
    const KEEPS_NUMBERS: bool;
    /// Whether an app that has ended is told from one that never was.
    const KNOWS_WHO_IS_AWAY: bool;

    /// The sidecar of `app_id`.
    async fn sidecar(&self, app_id: &str) -> Arc<dyn Sidecar>;
    /// Starts an app with these subscriptions and routes; returns when its sidecar is subscribed.
    async fn start_app(&self, app_id: &str, subscriptions: Subscriptions, routes: Router);
    /// Ends the app; its messages are kept.
    async fn stop_app(&self, app_id: &str);
    /// What an app is asked for by its sidecar, and by nobody else.
    fn app_token(&self) -> String;
    /// The status with which a running app answers a caller who shows this token.
    async fn knock(&self, app_id: &str, method: Method, path: &str, token: Option<&str>) -> u16;

    /// Ends the sidecar of `app_id`, which was there; false if it cannot end alone.
    async fn end_sidecar(&self, _app_id: &str) -> bool {
        false
    }
    /// Starts the sidecar of `app_id` again, and returns at once.
    async fn start_sidecar(&self, _app_id: &str) {}
    /// The sidecar of `app_id` for a caller who shows this token; `None` if callers need none.
    async fn stranger(&self, _app_id: &str, _token: Option<&str>) -> Option<Arc<dyn Sidecar>> {
        None
    }
}

pub(crate) type Subscriptions = Vec<(Subscription, Arc<dyn BulkHandler>)>;

/// All tests for one fixture, each with these attributes.
macro_rules! conformance {
    ([$($test:meta),+], $fixture:expr) => {
        $crate::conformance::conformance!(@each [$($test),+], $fixture,
            a_message_arrives_as_it_was_published,
            numbers_arrive_as_they_were_sent,
            each_message_has_its_own_trace,
            every_app_that_subscribes_gets_a_copy,
            each_subscription_of_an_app_gets_its_own_topic,
            retry_brings_the_same_event_again,
            drop_goes_to_the_dead_letters_unchanged,
            each_entry_has_its_own_answer,
            a_panic_drops_only_its_own_message,
            a_missing_answer_is_a_retry,
            a_bulk_is_delivered_in_order_and_in_batches,
            a_second_publish_is_the_same_event,
            an_event_that_is_sent_again_keeps_what_it_is,
            without_a_subscriber_publishing_succeeds,
            an_app_that_was_away_gets_what_it_missed,
            publishing_waits_for_a_sidecar_that_is_away,
            etags_and_conditions,
            a_value_vanishes_after_its_ttl,
            values_in_bulk,
            keys_and_values_of_any_kind,
            invocation,
            invocation_that_fails,
            only_the_sidecar_gets_into_the_app,
            only_the_app_gets_into_the_sidecar,
        );
    };
    (@each $tests:tt, $fixture:expr, $($name:ident,)*) => {
        $($crate::conformance::conformance!(@one $tests, $fixture, $name);)*
    };
    (@one [$($test:meta),+], $fixture:expr, $name:ident) => {
        $(#[$test])+
        async fn $name() {
            $crate::conformance::$name(&$fixture).await;
        }
    };
}
pub(crate) use conformance;

/// The event with which [`Fixture::knock`] comes.
pub(crate) fn forged() -> Value {
    json!({ "id": "forged", "source": "s", "type": "com.dapr.event.sent", "specversion": "1.0", "data": 1 })
}

/// An app with one subscription.
async fn one_app(fixture: &impl Fixture, app: &str, subscription: Subscription, handler: &Arc<Scripted>) {
    fixture.start_app(app, vec![(subscription, handler.clone())], Router::new()).await;
}

/// The trace of a `traceparent`; a sidecar may have put its own span in between.
fn trace(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap()
}
