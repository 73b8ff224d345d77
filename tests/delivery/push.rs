//! `nix run .#push`, with a registry that checks digests; criterion D.3.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{copy, documents, kustomize, output, root, run, text};

/// What was pushed: blobs and manifests by digest, tags by name, and the upload under way by its address.
#[derive(Default)]
struct Registry {
    blobs: BTreeMap<String, Bytes>,
    tags: BTreeMap<String, String>,
    uploads: BTreeMap<String, Vec<u8>>,
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// As much of the distribution protocol as a push needs.
async fn serve(State(registry): State<Arc<Mutex<Registry>>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let mut registry = registry.lock().unwrap();
    let path = uri.path().to_owned();
    let told = |status: StatusCode, name: header::HeaderName, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        (status, headers).into_response()
    };
    let content_digest = header::HeaderName::from_static("docker-content-digest");
    if path == "/v2/" {
        return StatusCode::OK.into_response();
    }
    if path.ends_with("/blobs/uploads/") && method == Method::POST {
        let upload = format!("{path}{}", registry.uploads.len());
        registry.uploads.insert(upload.clone(), Vec::new());
        return told(StatusCode::ACCEPTED, header::LOCATION, &upload);
    }
    if let Some(mut so_far) = registry.uploads.remove(&path) {
        so_far.extend_from_slice(&body);
        if method == Method::PATCH {
            registry.uploads.insert(path.clone(), so_far);
            return told(StatusCode::ACCEPTED, header::LOCATION, &path);
        }
        let found = digest(&so_far);
        let claimed = uri.query().unwrap_or_default().replace("%3A", ":");
        if !claimed.contains(&found) {
            return StatusCode::BAD_REQUEST.into_response();
        }
        registry.blobs.insert(found.clone(), so_far.into());
        return told(StatusCode::CREATED, content_digest, &found);
    }
    let reference = path.rsplit('/').next().unwrap_or_default().to_owned();
    if path.contains("/manifests/") && method == Method::PUT {
        let found = digest(&body);
        registry.blobs.insert(found.clone(), body);
        registry.tags.insert(path, found.clone());
        return told(StatusCode::CREATED, content_digest, &found);
    }
    match registry.blobs.get(&reference) {
        Some(blob) if method == Method::HEAD => told(StatusCode::OK, header::CONTENT_LENGTH, &blob.len().to_string()),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A docker-archive as dockerTools makes it, of one small layer, and the folder of `nix build .#images` for it.
fn images(folder: &Path) -> PathBuf {
    let (layer, images) = (folder.join("layer"), folder.join("images"));
    fs::create_dir_all(layer.join("bin")).unwrap();
    fs::create_dir(&images).unwrap();
    fs::write(layer.join("bin/mesh-six"), "the program").unwrap();
    let tar = |from: &Path, to: &Path, what: &[&str]| {
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "--mtime=@1", "--owner=0", "--group=0", "--create", "--directory"]).arg(from);
        run(tar.arg("--file").arg(to).args(what), "");
    };
    tar(&layer, &folder.join("layer.tar"), &["bin"]);
    for (service, built) in
        [("orchestrator", true), ("simple-agent", true), ("event-logger", true), ("dashboard", false)]
    {
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": { "Cmd": ["serve", service] },
            "rootfs": { "type": "layers", "diff_ids": [digest(&fs::read(folder.join("layer.tar")).unwrap())] },
        });
        let manifest = json!([{ "Config": "config.json", "RepoTags": [format!("mesh-six/{service}:abc1234")], "Layers": ["layer.tar"] }]);
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
        let archive = folder.join(format!("{service}.tar.gz"));
        tar(folder, &archive, &["config.json", "layer.tar", "manifest.json"]);
        let mut convert = Command::new("bash");
        convert.arg(root().join("nix/archive.sh")).arg(&images).arg(&archive);
        run(convert.args([service, "abc1234", if built { "true" } else { "false" }]), "");
    }
    // As images.nix does.
    let join = "jq --slurp . *.entry > index.json && rm *.entry";
    run(Command::new("bash").args(["-euc", join]).current_dir(&images), "");
    images
}

#[tokio::test(flavor = "multi_thread")]
async fn d_3_push_writes_what_was_pushed_into_the_overlay_and_a_revert_takes_it_back() {
    let registry = Arc::new(Mutex::new(Registry::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("{}/team", listener.local_addr().unwrap());
    let layers = axum::extract::DefaultBodyLimit::max(64 << 20);
    let router = Router::new().fallback(serve).layer(layers).with_state(Arc::clone(&registry));
    let server = tokio::spawn(async { axum::serve(listener, router).await });
    let told = Arc::clone(&registry);
    tokio::task::spawn_blocking(move || story(&address, &told)).await.unwrap();
    server.abort();
}

fn story(address: &str, registry: &Mutex<Registry>) {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path());
    let repository = folder.path().join("repository");
    copy(&repository);
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]);
        run(git.args(args).current_dir(&repository), "")
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "begin"]);
    let push = |args: &[&str]| {
        let mut push = Command::new("bash");
        push.arg(root().join("nix/push.sh")).args(args).current_dir(&repository).env("IMAGES", &images);
        output(push.env("SKOPEO_COPY_OPTIONS", "--dest-tls-verify=false"), "")
    };
    let overlay = repository.join("k8s/overlays/prod");
    let before = kustomize(&overlay);

    assert!(push(&[]).unwrap_err().starts_with("usage: push <registry>"));
    assert!(push(&[address, "--latest"]).unwrap_err().starts_with("usage: push <registry>"));
    fs::write(repository.join("dirt"), "").unwrap();
    let words = push(&[address]).unwrap_err();
    assert!(words.starts_with("push: the work tree has changes") && words.lines().count() == 1, "{words}");
    fs::remove_file(repository.join("dirt")).unwrap();
    assert!(registry.lock().unwrap().tags.is_empty());

    push(&[address]).unwrap();
    let index: Value = serde_json::from_str(&fs::read_to_string(images.join("index.json")).unwrap()).unwrap();
    assert_eq!(index.as_array().unwrap().len(), 4);
    let deployed = documents(&kustomize(&overlay));
    {
        let registry = registry.lock().unwrap();
        assert_eq!(registry.tags.len(), 3, "only what is built is pushed: {:?}", registry.tags);
        for image in index.as_array().unwrap().iter().filter(|image| image["built"] == true) {
            let (name, digest) = (text(image, "name"), text(image, "digest"));
            assert_eq!(registry.tags[&format!("/v2/team/{name}/manifests/abc1234")], digest);
            let reference = format!("{address}/{name}@{digest}");
            assert!(deployed.iter().any(|object| object.to_string().contains(&reference)), "{reference}");
        }
    }
    git(&["commit", "--all", "--quiet", "--message", "deploy"]);
    git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(kustomize(&overlay), before);
    push(&[address, "--tag"]).unwrap();
    assert!(kustomize(&overlay).contains(&format!("image: {address}/mesh-six/orchestrator:abc1234")));
}
