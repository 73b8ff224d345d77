//! The apps of a mesh: who is there, who subscribes to what, who can be invoked.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::Router;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method};
use tokio::{
    task::{AbortHandle, JoinHandle},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{broker::Broker, call::call, config::MeshConfig, worker::Worker};
use crate::{
    bulk::Subscription,
    limits::refused,
    port::SidecarError,
    subscriptions::{APP_TOKEN_HEADER, SUBSCRIBE_PATH},
};

/// The apps of a mesh.
pub(super) struct Apps {
    attached: Mutex<HashMap<String, App>>,
    broker: Arc<Broker>,
    config: Arc<MeshConfig>,
    token: String,
}

struct App {
    router: Router,
    stop: CancellationToken,
    workers: Vec<JoinHandle<()>>,
}

impl Apps {
    pub(super) fn new(broker: Arc<Broker>, config: Arc<MeshConfig>, token: String) -> Self {
        Self { attached: Mutex::default(), broker, config, token }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The headers by which the mesh shows that it is the sidecar.
    pub(super) fn headers(&self) -> HeaderMap {
        // The token is hex, so it is always a header's value.
        HeaderValue::from_str(&self.token)
            .map(|token| HeaderMap::from_iter([(http::HeaderName::from_static(APP_TOKEN_HEADER), token)]))
            .unwrap_or_default()
    }

    /// The router of an attached app.
    pub(super) fn router(&self, app_id: &str) -> Option<Router> {
        self.lock().get(app_id).map(|app| app.router.clone())
    }

    pub(super) async fn attach(&self, app_id: &str, router: Router) -> Result<(), SidecarError> {
        let subscriptions = self.subscriptions(app_id, &router).await?;
        let mut apps = self.lock();
        if self.broker.is_closed() {
            return Err(SidecarError::Unavailable("the mesh is shutting down".to_owned()));
        }
        if apps.contains_key(app_id) {
            return Err(refused(409, format!("{app_id} is attached already")));
        }
        let stop = CancellationToken::new();
        let workers = subscriptions.into_iter().map(|subscription| {
            let worker = Worker {
                broker: Arc::clone(&self.broker),
                config: Arc::clone(&self.config),
                queue: self.broker.queue(app_id, &subscription.topic),
                subscription,
                router: router.clone(),
                headers: self.headers(),
            };
            tokio::spawn(worker.run(stop.clone()))
        });
        let workers = workers.collect();
        apps.insert(app_id.to_owned(), App { router, stop, workers });
        Ok(())
    }

    /// What the app answers to `GET /dapr/subscribe`; 404 means that it subscribes to nothing, as for Dapr.
    async fn subscriptions(&self, app_id: &str, router: &Router) -> Result<Vec<Subscription>, SidecarError> {
        let limit = self.config.handler_timeout;
        let answer = call(router.clone(), Method::GET, SUBSCRIBE_PATH, self.headers(), Vec::new(), limit).await;
        let body = match answer {
            Ok((200, body)) => body,
            Ok((404, _)) => return Ok(Vec::new()),
            Ok((status, _)) => return Err(refused(status, format!("{app_id} does not tell its subscriptions"))),
            Err(error) => {
                return Err(SidecarError::Unavailable(format!("{app_id} does not tell its subscriptions: {error}")));
            }
        };
        let list: Vec<Subscription> = serde_json::from_slice(&body)
            .map_err(|error| refused(400, format!("the subscriptions of {app_id} are malformed: {error}")))?;
        let mut topics = HashSet::new();
        for subscription in &list {
            let Subscription { topic, dead_letter_topic, bulk_subscribe, .. } = subscription;
            if !bulk_subscribe.enabled {
                return Err(refused(400, format!("the subscription of {app_id} to {topic} is not bulk")));
            }
            if !topics.insert(topic) {
                return Err(refused(400, format!("{app_id} subscribes to {topic} twice")));
            }
            if dead_letter_topic.as_ref() == Some(topic) {
                return Err(refused(400, format!("the dead letters of {app_id} for {topic} would come back for ever")));
            }
        }
        Ok(list)
    }

    pub(super) async fn detach(&self, app_id: &str) {
        let app = self.lock().remove(app_id);
        if let Some(app) = app {
            app.stop.cancel();
            // A delivery that is cut off would leave its queue, so it gets all the time it may take.
            join(app.workers, self.config.handler_timeout + self.config.drain_wait).await;
        }
    }

    pub(super) async fn detach_all(&self) {
        let apps: Vec<App> = self.lock().drain().map(|(_, app)| app).collect();
        for app in &apps {
            app.stop.cancel();
        }
        join(apps.into_iter().flat_map(|app| app.workers).collect(), self.config.drain_wait).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, App>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the deliveries in flight, at most `limit`.
async fn join(workers: Vec<JoinHandle<()>>, limit: Duration) {
    let aborts: Vec<_> = workers.iter().map(JoinHandle::abort_handle).collect();
    if timeout(limit, join_all(workers)).await.is_err() {
        aborts.iter().for_each(AbortHandle::abort);
    }
}
