use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use mesh_six_db::server::{PostgresServer, ServerConfig, ServerError};
use mesh_six_testing::{TestServer, free_port, temporary_folder};

async fn rows(url: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one("SELECT count(*) FROM kept", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn data_survives_stop_and_kill_nine_on_the_same_port() {
    let mut server = TestServer::start().await;
    let url = server.url();
    server.client().await.batch_execute("CREATE TABLE kept AS SELECT 1 AS one").await.unwrap();
    server.kill_nine();
    server.restart().await;
    assert_eq!((rows(&url).await, server.url()), (1, url.clone()));
    server.client().await.batch_execute("INSERT INTO kept VALUES (2)").await.unwrap();
    server.stop().await;
    assert!(tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err());
    server.restart().await;
    assert_eq!(rows(&url).await, 2);
    server.database().await.ping().await.unwrap();
}

#[tokio::test]
async fn a_folder_serves_one_process_and_keeps_its_data() {
    let parent = temporary_folder().unwrap();
    let folder = parent.path().join("new/data");
    let mut server = PostgresServer::start(ServerConfig::new(&folder)).await.unwrap();

    let error = PostgresServer::start(ServerConfig::new(&folder)).await.unwrap_err();
    assert!(matches!(error, ServerError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");

    for name in ["password", "lock", "postgres.log"] {
        assert_eq!(fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_ne!(fs::metadata(folder.join("postgres")).unwrap().uid(), 0, "PostgreSQL never runs as root");
    let wrong = format!("postgres://postgres:wrong@127.0.0.1:{}/mesh_six", server.port());
    assert!(tokio_postgres::connect(&wrong, tokio_postgres::NoTls).await.is_err(), "the password counts");

    let url = server.url();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("CREATE TABLE kept AS SELECT 1 AS one").await.unwrap();
    server.stop().await;
    drop(server);
    let server = PostgresServer::start(ServerConfig::new(&folder)).await.unwrap();
    assert!(!server.ended_leftover());
    assert_eq!(rows(&server.url()).await, 1);
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let parent = temporary_folder().unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = ServerConfig { port: Some(port), throwaway: true, ..ServerConfig::new(parent.path().join("data")) };
    let error = PostgresServer::start(config).await.unwrap_err();
    assert!(matches!(error, ServerError::PortTaken { port: named } if named == port), "{error}");
}

#[tokio::test]
async fn a_recycled_process_id_does_not_keep_the_server_down() {
    let parent = temporary_folder().unwrap();
    let folder = parent.path().join("data");
    drop(PostgresServer::start(ServerConfig::new(&folder)).await.unwrap());
    let pid = folder.join("postgres/postmaster.pid");
    fs::write(&pid, format!("{}\n{}\n", std::process::id(), folder.join("postgres").display())).unwrap();
    let server = PostgresServer::start(ServerConfig::new(&folder)).await.unwrap();
    assert!(!server.ended_leftover());
}

#[tokio::test]
async fn a_folder_of_another_version_is_refused() {
    let parent = temporary_folder().unwrap();
    let folder = parent.path().join("data");
    fs::create_dir_all(folder.join("postgres")).unwrap();
    fs::write(folder.join("postgres/PG_VERSION"), "9\n").unwrap();
    let error = PostgresServer::start(ServerConfig::new(&folder)).await.unwrap_err();
    assert!(matches!(error, ServerError::VersionMissing { major: 9, .. }), "{error}");
}

#[tokio::test]
async fn a_folder_that_anybody_may_change_is_refused() {
    let parent = temporary_folder().unwrap();
    let folder = parent.path().join("data");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let error = PostgresServer::start(ServerConfig::new(&folder)).await.unwrap_err();
    assert!(matches!(error, ServerError::Unsafe { .. }), "{error}");
}
