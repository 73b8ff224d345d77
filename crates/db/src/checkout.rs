//! Waiting for a connection only so long, without throwing away the one that is being made.

use std::{future::Future, sync::Arc, time::Duration};

use diesel::ConnectionResult;
use diesel_async::{AsyncPgConnection, pooled_connection::deadpool::Pool};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    error::{DbError, DbResult, innermost},
    pool::Conn,
};

/// How long a connection may still be made after its caller has given up.
const FINISH: Duration = Duration::from_secs(5);
/// Connections that are made at once. More would only slow each other down: after an outage all services come back at
/// the same time, and a handshake costs both sides some thousand hashes.
const AT_ONCE: usize = 4;

/// A connection of `pool`, which may be a new one; waits at most `patience`.
pub(crate) async fn checkout(pool: &Pool<AsyncPgConnection>, patience: Duration) -> DbResult<Conn> {
    let pool = pool.clone();
    let mut getting = Box::pin(async move { pool.get().await });
    if let Ok(got) = timeout(patience, &mut getting).await {
        return got.map_err(|error| DbError::Unavailable(innermost(&error)));
    }
    // On a busy machine a handshake may take longer than a caller waits. Dropped here, it would begin anew with the next
    // caller and never come to its end; so it goes on, and what it gives is in the pool for whoever comes next.
    tokio::spawn(timeout(FINISH, getting));
    Err(too_late(patience))
}

/// A connection of one's own; waits at most `patience` until it is made.
pub(crate) async fn in_time<T>(
    connecting: impl Future<Output = ConnectionResult<T>>,
    patience: Duration,
) -> DbResult<T> {
    match timeout(patience, connecting).await {
        Ok(made) => made.map_err(|error| DbError::Unavailable(innermost(&error))),
        Err(_) => Err(too_late(patience)),
    }
}

fn too_late(patience: Duration) -> DbError {
    DbError::Unavailable(format!("no connection within {} s", patience.as_secs()))
}

/// Lets only a few connections be made at once. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }

    pub(crate) async fn pass<T>(self, connecting: impl Future<Output = T>) -> T {
        // It is never closed.
        let _turn = self.0.acquire().await;
        connecting.await
    }
}
