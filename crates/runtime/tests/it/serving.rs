use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use mesh_six_runtime::{Auth, HealthState, ServiceInfo, serve, serve_with_grace, shell};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(10);

/// Sends one request and reads until the server closes.
async fn raw(address: std::net::SocketAddr, request: Vec<u8>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_request_in_flight_is_answered_after_the_end_was_asked_for() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (begun.clone(), go_on.clone());
    let handler = async move || {
        tell.notify_one();
        wait.notified().await;
        "done"
    };
    let router = Router::new().route("/slow", get(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, router, stop.clone()));
    let client = tokio::spawn(raw(address, request("/slow")));
    timeout(SOON, begun.notified()).await.unwrap();
    stop.cancel();
    go_on.notify_one();
    assert!(client.await.unwrap().ends_with("done"));
    timeout(SOON, server).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_end() {
    let begun = Arc::new(Notify::new());
    let tell = begun.clone();
    let handler = async move || {
        tell.notify_one();
        std::future::pending::<()>().await;
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let router = Router::new().route("/slow", get(handler));
    let server = tokio::spawn(serve_with_grace(listener, router, stop.clone(), Duration::from_millis(50)));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request("/slow")).await.unwrap();
    timeout(SOON, begun.notified()).await.unwrap();
    stop.cancel();
    timeout(SOON, server).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_caller_that_sends_two_mebibytes_sees_the_413() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Router::new().route("/tasks", axum::routing::post(async || "unreached"));
    let auth = Auth::for_listener(address, None, None, false).unwrap();
    let router = shell(ServiceInfo::new("orchestrator"), tasks, HealthState::new(), auth);
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, router, stop.clone()));
    let size = 2 * 1024 * 1024;
    let head =
        format!("POST /tasks HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n");
    let answer = raw(address, [head.into_bytes(), vec![b'x'; size]].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("1048576 bytes"), "{answer}");
    stop.cancel();
    timeout(SOON, server).await.unwrap().unwrap().unwrap();
}
