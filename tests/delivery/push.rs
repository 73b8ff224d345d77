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

use crate::{
    oci::{Image, archive, digest, index, tar},
    support::{copy, documents, kustomize, output, root, run, text},
};

/// What was pushed: blobs and manifests by digest, tags by name, and the upload under way by its address.
#[derive(Default)]
struct Registry {
    blobs: BTreeMap<String, Bytes>,
    tags: BTreeMap<String, String>,
    uploads: BTreeMap<String, Vec<u8>>,
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

/// The folder of `nix build .#images` for an architecture, with images of one small layer.
fn images(folder: &Path, architecture: &str) -> PathBuf {
    let (layer, images) = (folder.join("layer"), folder.join(architecture));
    fs::create_dir_all(layer.join("bin")).unwrap();
    fs::create_dir(&images).unwrap();
    fs::write(layer.join("bin/mesh-six"), format!("the program for {architecture}")).unwrap();
    tar(&layer, &folder.join("layer.tar"), &["bin"]);
    for (service, built) in
        [("orchestrator", true), ("simple-agent", true), ("event-logger", true), ("dashboard", false)]
    {
        let spec = Image { service, built, architecture, config: json!({ "Cmd": ["serve", service] }) };
        archive(folder, &images, &spec, &["layer.tar"]);
    }
    index(&images);
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
    let (images, other) = (images(folder.path(), "amd64"), images(folder.path(), "arm64"));
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

    let words = push(&[]).unwrap_err();
    assert!(words.starts_with("push: no registry was named") && words.lines().count() == 1, "{words}");
    assert!(push(&["--tag"]).unwrap_err().starts_with("push: no registry was named"));
    for wrong in ["--latest", "--also"] {
        assert!(push(&[address, wrong]).unwrap_err().starts_with("usage: push <registry>"));
    }
    fs::write(repository.join("dirt"), "").unwrap();
    let words = push(&[address]).unwrap_err();
    assert!(words.starts_with("push: the work tree has changes") && words.lines().count() == 1, "{words}");
    fs::remove_file(repository.join("dirt")).unwrap();
    let list = images.join("index.json");
    let clean = fs::read_to_string(&list).unwrap();
    fs::write(&list, clean.replace("abc1234", "dirty")).unwrap();
    let words = push(&[address]).unwrap_err();
    assert!(words.starts_with("push: the images were built from a work tree") && words.lines().count() == 1, "{words}");
    fs::write(&list, &clean).unwrap();
    assert!(registry.lock().unwrap().tags.is_empty());

    push(&[address]).unwrap();
    let index: Value = serde_json::from_str(&clean).unwrap();
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
    both_architectures(&push, address, &other, registry, &overlay);
    git(&["commit", "--all", "--quiet", "--message", "deploy both"]);
    push(&[address, "--tag"]).unwrap();
    assert!(kustomize(&overlay).contains(&format!("image: {address}/mesh-six/orchestrator:abc1234")));
}

/// With `--also` a tag is an index of both architectures' images, and the overlay has its digest.
fn both_architectures(
    push: &dyn Fn(&[&str]) -> Result<String, String>,
    address: &str,
    other: &Path,
    registry: &Mutex<Registry>,
    overlay: &Path,
) {
    let words = push(&[address, "--also", other.parent().unwrap().join("amd64").to_str().unwrap()]).unwrap_err();
    assert!(words.contains("push: two folders hold images of one architecture"), "{words}");
    push(&[address, "--also", other.to_str().unwrap()]).unwrap();
    let registry = registry.lock().unwrap();
    let digest = &registry.tags["/v2/team/mesh-six/simple-agent/manifests/abc1234"];
    let index: Value = serde_json::from_slice(&registry.blobs[digest]).unwrap();
    let mut platforms = Vec::new();
    for manifest in index["manifests"].as_array().unwrap() {
        platforms.push(text(manifest, "platform.architecture").to_owned());
        assert!(registry.blobs.contains_key(text(manifest, "digest")), "{manifest}");
    }
    assert_eq!(platforms, ["amd64", "arm64"]);
    assert!(kustomize(overlay).contains(&format!("image: {address}/mesh-six/simple-agent@{digest}")));
}
