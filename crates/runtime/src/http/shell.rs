//! The shell: a service's routes, wrapped with what every service has.

use std::{sync::Arc, time::Duration};

use ::metrics::gauge;
use axum::{
    Json, Router,
    extract::State,
    http::header,
    middleware::{from_fn, from_fn_with_state},
    response::IntoResponse,
    routing::get,
};
use serde_json::{Map, Value, json};
use tower_http::catch_panic::CatchPanicLayer;

use super::{Auth, HealthState, HttpError, layers};
use crate::metrics::{self, BUILD};

/// How long a handler may take to begin its answer, unless its group says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Which service this is, for `/version`, `/healthz` and the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceInfo {
    /// The app-id.
    pub name: String,
    /// The product's version.
    pub version: String,
    /// What `/healthz` shows beside status and service, such as an agent's capabilities.
    pub fields: Map<String, Value>,
}

impl ServiceInfo {
    /// The service `name` of this build.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: env!("CARGO_PKG_VERSION").to_owned(), fields: Map::new() }
    }

    /// With a field for `/healthz`.
    #[must_use]
    pub fn with_field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }
}

/// A service's routes, grouped by what the shell has to do for them.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    public: Vec<(Router, Option<Duration>)>,
    delivered: Router,
}

impl Routes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Public routes: token, 1 MiB of body, [`DEFAULT_TIMEOUT`]. Server-sent events belong here too, as the time
    /// ends with the answer's head.
    #[must_use]
    pub fn public(self, router: Router) -> Self {
        self.public_within(router, Some(DEFAULT_TIMEOUT))
    }

    /// Public routes with a time of their own; `None` for handlers that bound their waiting themselves.
    #[must_use]
    pub fn public_within(mut self, router: Router, timeout: Option<Duration>) -> Self {
        self.public.push((router, timeout));
        self
    }

    /// Routes that the sidecar calls. They check its token and their body's size themselves
    /// (`mesh_six_sidecar::subscription_router`).
    #[must_use]
    pub fn delivered(mut self, router: Router) -> Self {
        self.delivered = self.delivered.merge(router);
        self
    }
}

impl Routes {
    /// These and the public ones of `other`, for services that share a port. Their deliveries stay their own.
    #[must_use]
    pub fn with_public_of(mut self, other: &Self) -> Self {
        self.public.extend(other.public.iter().cloned());
        self
    }
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        Self::new().public(router)
    }
}

/// Wraps `routes`: `/version`, `/healthz`, `/readyz` and `/metrics`, which need no token; limits of size and time;
/// panics, unknown routes and methods as our errors; spans, counters; token, Host and Origin as `auth` asks.
/// The routers must not have a fallback of their own.
pub fn shell(service: ServiceInfo, routes: impl Into<Routes>, health: HealthState, auth: Auth) -> Router {
    metrics::handle();
    gauge!(BUILD.name, "service" => service.name.clone(), "version" => service.version.clone()).set(1.0);
    let groups = routes.into();
    let auth = Arc::new(auth);
    let name: Arc<str> = service.name.as_str().into();
    let mut public = Router::new();
    for (router, timeout) in groups.public {
        let bounded = router.layer(from_fn(layers::read_body));
        public = public.merge(match timeout {
            Some(limit) => bounded.layer(from_fn_with_state(limit, layers::limit_time)),
            None => bounded,
        });
    }
    // Each layer wraps those before it: a request passes them from the last to the first.
    public
        .layer(from_fn_with_state(auth.clone(), layers::check_token))
        .merge(groups.delivered)
        .merge(probes(service, health))
        .fallback(layers::no_route)
        .method_not_allowed_fallback(layers::no_method)
        .layer(from_fn_with_state(auth, layers::check_origin))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(name, layers::observe))
}

fn probes(service: ServiceInfo, health: HealthState) -> Router {
    Router::new()
        .route("/version", get(version))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .with_state(Probes { service: Arc::new(service), health })
}

#[derive(Clone)]
struct Probes {
    service: Arc<ServiceInfo>,
    health: HealthState,
}

async fn version(State(probes): State<Probes>) -> Json<Value> {
    Json(json!({ "name": "mesh-six", "service": probes.service.name, "version": probes.service.version }))
}

async fn healthz(State(probes): State<Probes>) -> Json<Value> {
    let mut body = Map::new();
    body.insert("status".to_owned(), "ok".into());
    body.insert("service".to_owned(), probes.service.name.clone().into());
    body.extend(probes.service.fields.clone());
    body.extend(probes.health.details());
    Json(Value::Object(body))
}

async fn readyz(State(probes): State<Probes>) -> Result<Json<Value>, HttpError> {
    probes.health.check()?;
    Ok(Json(json!({ "status": "ok" })))
}

async fn show_metrics() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render())
}
