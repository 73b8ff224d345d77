//! The Kubernetes API as far as `verify` asks it: TLS, bearer tokens, rights by Roles, lists and objects in the API's
//! own form.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path as Segments, State as Shared},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::state::State;
use crate::support::run;

/// What the account shows.
pub(crate) const TOKEN: &str = "the-accounts-token";

/// A running API server.
pub(crate) struct Api {
    pub(crate) port: u16,
    /// The certificate of its authority, in PEM.
    pub(crate) authority: String,
    state: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Api {
    pub(crate) async fn start(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let folder = tempfile::tempdir().unwrap();
        let authority = certify(folder.path());
        let chain = CertificateDer::pem_file_iter(folder.path().join("tls.crt")).unwrap().map(Result::unwrap);
        let key = PrivateKeyDer::from_pem_file(folder.path().join("tls.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(chain.collect(), key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = Tls { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
        let router = Router::new()
            .route("/api/v1/namespaces/{namespace}/{resource}", get(core))
            .route("/apis/{group}/{version}/namespaces/{namespace}/{resource}", get(group))
            .route("/apis/{group}/{version}/namespaces/{namespace}/{resource}/{name}", get(one))
            .with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            axum::serve(tls, router).await.unwrap();
        });
        Self { port, authority, state, server }
    }

    /// Changes what is there.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// A kubeconfig for it.
    pub(crate) fn kubeconfig(&self, folder: &Path) -> PathBuf {
        let authority = folder.join("ca.crt");
        fs::write(&authority, &self.authority).unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": format!("https://127.0.0.1:{}", self.port),
                "certificate-authority": authority } }],
            "users": [{ "name": "u", "user": { "token": TOKEN } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        });
        let file = folder.join("kubeconfig");
        fs::write(&file, config.to_string()).unwrap();
        file
    }
}

/// Makes an authority and a certificate by it for 127.0.0.1, as a cluster has them. Gives the authority's.
fn certify(folder: &Path) -> String {
    let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let make = |args: &[&str]| run(Command::new("openssl").current_dir(folder).args(new).args(args), "");
    make(&["-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"]);
    make(&[
        "-subj",
        "/CN=api",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-keyout",
        "tls.key",
        "-out",
        "tls.crt",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    fs::read_to_string(folder.join("ca.crt")).unwrap()
}

/// Connections with TLS.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

type Objects = Shared<Arc<Mutex<State>>>;

async fn core(state: Objects, headers: HeaderMap, path: Segments<(String, String)>) -> Response {
    let (namespace, resource) = path.0;
    answer(&state.lock().unwrap(), &headers, &namespace, ("", "v1"), &resource, None)
}

async fn group(state: Objects, headers: HeaderMap, path: Segments<(String, String, String, String)>) -> Response {
    let (group, version, namespace, resource) = path.0;
    answer(&state.lock().unwrap(), &headers, &namespace, (&group, &version), &resource, None)
}

async fn one(state: Objects, headers: HeaderMap, path: Segments<(String, String, String, String, String)>) -> Response {
    let (group, version, namespace, resource, name) = path.0;
    answer(&state.lock().unwrap(), &headers, &namespace, (&group, &version), &resource, Some(&name))
}

/// A refusal as the API tells it.
fn refusal(code: StatusCode, reason: &str, message: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code.as_u16(),
    });
    (code, Json(status)).into_response()
}

fn answer(
    state: &State,
    headers: &HeaderMap,
    namespace: &str,
    (group, version): (&str, &str),
    resource: &str,
    name: Option<&str>,
) -> Response {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    if token != Some(&format!("Bearer {TOKEN}")) {
        return refusal(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized");
    }
    let verb = if name.is_some() { "get" } else { "list" };
    if !state.allows(namespace, group, resource, verb, name.unwrap_or_default()) {
        let message = format!(
            "{resource}.{group} is forbidden: User \"system:serviceaccount:mesh-six:verify\" cannot {verb} resource \
             \"{resource}\" in API group \"{group}\" in the namespace \"{namespace}\""
        );
        return refusal(StatusCode::FORBIDDEN, "Forbidden", &message);
    }
    let kind = match resource {
        "pods" => "Pod",
        "services" => "Service",
        "deployments" => "Deployment",
        "components" => "Component",
        "applications" => "Application",
        other => return refusal(StatusCode::NOT_FOUND, "NotFound", &format!("there is no resource {other}")),
    };
    let objects = &state.objects[kind];
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    match name {
        None => Json(listed(kind, &api_version, objects)).into_response(),
        Some(name) => match objects.iter().find(|object| object["metadata"]["name"] == name) {
            Some(object) => Json(object).into_response(),
            None => refusal(StatusCode::NOT_FOUND, "NotFound", &format!("{resource}.{group} \"{name}\" not found")),
        },
    }
}

/// A list as the API gives it: the items of its own kinds do not repeat what they are.
fn listed(kind: &str, api_version: &str, objects: &[Value]) -> Value {
    let item = |object: &Value| {
        let mut item = object.clone();
        if kind != "Component" {
            item.as_object_mut().unwrap().retain(|name, _| name != "kind" && name != "apiVersion");
        }
        item
    };
    let items: Vec<Value> = objects.iter().map(item).collect();
    json!({ "kind": format!("{kind}List"), "apiVersion": api_version, "metadata": { "resourceVersion": "1" },
        "items": items })
}
