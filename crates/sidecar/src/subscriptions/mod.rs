//! The routes that a sidecar calls: the list of subscriptions and one delivery route for each.

mod handling;

use std::{hint::black_box, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State, rejection::BytesRejection},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use mesh_six_core::{ApiError, ErrorType, error::ErrorBody, names};

use crate::{
    bulk::{BulkAnswer, EntryStatus, SingleAnswer, Status, Subscription},
    delivery::BulkHandler,
};
use handling::{Incoming, Received, receive};

/// The header by which a sidecar proves to the app that it is the sidecar.
pub const APP_TOKEN_HEADER: &str = "dapr-api-token";

/// Where a sidecar asks an app for its subscriptions.
pub(crate) const SUBSCRIBE_PATH: &str = "/dapr/subscribe";

/// `GET /dapr/subscribe`, and for each subscription the route it names. With a token, only a caller who shows
/// it in the header `dapr-api-token` gets in.
///
/// # Panics
/// If two subscriptions name the same route, or a route does not begin with `/`.
pub fn subscription_router(
    subscriptions: Vec<(Subscription, Arc<dyn BulkHandler>)>,
    app_token: Option<String>,
) -> Router {
    let list: Vec<Subscription> = subscriptions.iter().map(|(subscription, _)| subscription.clone()).collect();
    let subscribe = get(move || {
        let list = list.clone();
        async move { Json(list) }
    });
    let mut router = Router::new().route(SUBSCRIBE_PATH, subscribe);
    for (subscription, handler) in subscriptions {
        let route = subscription.route.clone();
        let delivery = post(deliver).with_state(Arc::new(Target { subscription, handler }));
        router = router.route(&route, delivery);
    }
    router = router.layer(DefaultBodyLimit::max(names::MAX_DELIVERY_BYTES));
    match app_token {
        Some(token) => router.layer(from_fn_with_state(Arc::<str>::from(token), check_token)),
        None => router,
    }
}

/// Where the deliveries of one route go.
struct Target {
    subscription: Subscription,
    handler: Arc<dyn BulkHandler>,
}

async fn deliver(State(target): State<Arc<Target>>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refuse_body(&rejection),
    };
    match receive(&target.subscription, &body) {
        Ok(Received::Bulk(entries)) => {
            let statuses = handling::handle(&*target.handler, &entries).await;
            let statuses = entries.into_iter().zip(statuses);
            let statuses = statuses.map(|(Incoming { entry_id, .. }, status)| EntryStatus::new(entry_id, status));
            Json(BulkAnswer { statuses: statuses.collect() }).into_response()
        }
        Ok(Received::Single(entry)) => {
            let statuses = handling::handle(&*target.handler, std::slice::from_ref(&entry)).await;
            let status = statuses.first().copied().unwrap_or(Status::Retry);
            Json(SingleAnswer::new(status)).into_response()
        }
        Err(error) => {
            let topic = &target.subscription.topic;
            tracing::warn!(messaging.topic = %topic, error = %error, field = error.field, "unreadable bulk delivery");
            refuse(error)
        }
    }
}

/// Lets only the sidecar in.
async fn check_token(State(token): State<Arc<str>>, headers: HeaderMap, request: Request, next: Next) -> Response {
    match headers.get(APP_TOKEN_HEADER) {
        Some(shown) if same(shown.as_bytes(), token.as_bytes()) => next.run(request).await,
        Some(_) => refuse(ApiError::new(ErrorType::Permission, "the sidecar's token is wrong")),
        None => refuse(ApiError::new(ErrorType::Unauthorized, "only the sidecar may call this; its token is missing")),
    }
}

/// Compares without telling by its time where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && black_box(a.iter().zip(b).fold(0_u8, |difference, (x, y)| difference | (x ^ y))) == 0
}

fn refuse_body(rejection: &BytesRejection) -> Response {
    let kind = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ErrorType::PayloadTooLarge,
        _ => ErrorType::Validation,
    };
    let mut error = ApiError::new(kind, "the body cannot be read or is too large");
    error.field = Some("body".to_owned());
    refuse(error)
}

fn refuse(error: ApiError) -> Response {
    let status = StatusCode::from_u16(error.error_type.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(ErrorBody { error })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same(b"secret", b"secret"));
        for other in [&b"secres"[..], b"", b"secre", b"secrets"] {
            assert!(!same(b"secret", other));
        }
    }
}
