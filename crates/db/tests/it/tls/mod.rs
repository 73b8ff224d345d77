//! Connections by TLS, as `sslmode` and `sslrootcert` ask for them.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    time::Duration,
};

use diesel::{QueryableByName, sql_query, sql_types::Bool};
use diesel_async::RunQueryDsl;
use mesh_six_db::{Database, DbConfig, DbError, migrate};
use mesh_six_testing::{TestServer, wait_until};

const SOON: Duration = Duration::from_secs(30);
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls");

/// Lets `server` speak TLS, and nothing else to whoever comes over the network.
async fn serve_tls(server: &TestServer) {
    let cluster = server.folder().join("postgres");
    let account = fs::metadata(&cluster).unwrap();
    for name in ["server.pem", "server.key"] {
        let file = cluster.join(name);
        fs::copy(format!("{FOLDER}/{name}"), &file).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        chown(&file, Some(account.uid()), Some(account.gid())).unwrap();
    }
    let client = server.client().await;
    for setting in ["ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'", "ssl = on"] {
        client.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await.unwrap();
    }
    let rules = cluster.join("pg_hba.conf");
    let only_tls = fs::read_to_string(&rules).unwrap().replace("\nhost ", "\nhostssl ");
    assert!(only_tls.contains("\nhostssl "), "{only_tls}");
    fs::write(&rules, only_tls).unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
}

#[derive(QueryableByName)]
struct Encrypted {
    #[diesel(sql_type = Bool)]
    ssl: bool,
}

/// Whether a connection to `url` is by TLS, or why there is none.
async fn connect(url: &str) -> Result<bool, String> {
    let told = |error: DbError| error.to_string();
    let db = Database::connect(DbConfig::new(url, "mesh-six-test")).await.map_err(told)?;
    let mut conn = db.conn().await.map_err(told)?;
    let encrypted = sql_query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    Ok(encrypted.get_result::<Encrypted>(&mut conn).await.unwrap().ssl)
}

#[tokio::test]
async fn a_server_that_insists_on_tls_is_spoken_to_and_known_by_its_certificate() {
    let server = TestServer::start().await;
    let (url, plain) = (server.app_url().await, connect(&server.app_url().await).await);
    assert_eq!(plain, Ok(false));
    let unserved = connect(&format!("{url}?sslmode=require")).await.unwrap_err();
    assert!(unserved.contains("server does not support TLS"), "{unserved}");
    serve_tls(&server).await;
    // The server reads its new settings when it gets to it.
    wait_until(SOON, async || connect(&url).await.is_err()).await;

    let by_name = url.replace("127.0.0.1", "localhost");
    let (ca, other) = (format!("{FOLDER}/ca.pem"), format!("{FOLDER}/other-ca.pem"));
    for (url, parameters) in [
        (&url, "sslmode=require".to_owned()),
        (&url, "sslmode=prefer".to_owned()),
        (&url, format!("sslmode=require&sslrootcert={ca}")),
        (&url, format!("sslmode=verify-ca&sslrootcert={ca}")),
        (&by_name, format!("sslmode=verify-full&sslrootcert={ca}")),
    ] {
        assert_eq!(connect(&format!("{url}?{parameters}")).await, Ok(true), "{parameters}");
    }
    for (url, parameters, says) in [
        (&url, String::new(), "no pg_hba.conf entry"),
        (&url, "sslmode=disable".to_owned(), "no pg_hba.conf entry"),
        (&url, format!("sslmode=verify-full&sslrootcert={ca}"), "certificate not valid for name"),
        (&url, format!("sslmode=require&sslrootcert={other}"), "UnknownIssuer"),
        (&url, format!("sslmode=verify-ca&sslrootcert={other}"), "UnknownIssuer"),
        (&by_name, format!("sslmode=verify-full&sslrootcert={other}"), "UnknownIssuer"),
    ] {
        let told = connect(&format!("{url}?{parameters}")).await.unwrap_err();
        assert!(told.contains(says), "{parameters}: {told}");
    }
    let owner = server.url();
    assert!(migrate::status(&owner).await.is_err(), "migrations speak as they are told to");
    let all = migrate::status(&format!("{owner}?sslmode=verify-ca&sslrootcert={ca}")).await.unwrap();
    assert!(all.iter().all(|migration| migration.applied));
}
