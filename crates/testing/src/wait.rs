//! Waiting for something to become true, and free ports.

use std::{net::TcpListener, panic::Location, time::Duration};

use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(10);

/// Polls until `condition` holds; fails the test, naming the caller's line, if it does not within `within`.
#[track_caller]
pub fn wait_until<C: AsyncFnMut() -> bool>(within: Duration, mut condition: C) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let found = poll(within, async || condition().await.then_some(())).await;
        assert!(found.is_some(), "{caller}: the condition did not become true within {within:?}");
    }
}

/// Polls until `look` gives a value; fails the test, naming the caller's line, if it does not within `within`.
#[track_caller]
pub fn wait_for<T, L: AsyncFnMut() -> Option<T>>(within: Duration, look: L) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        match poll(within, look).await {
            Some(value) => value,
            None => panic!("{caller}: nothing was found within {within:?}"),
        }
    }
}

async fn poll<T>(within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = look().await {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A port on 127.0.0.1 that is free now. Binding port 0 is better where the server under test allows it.
pub fn free_port() -> u16 {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound.unwrap_or_else(|error| panic!("no free port: {error}")).port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_the_condition_holds() {
        let mut looks = 0;
        let third = wait_for(Duration::from_secs(5), async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(third.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "wait.rs")]
    async fn waiting_in_vain_names_the_line() {
        wait_until(Duration::ZERO, async || false).await;
    }
}
