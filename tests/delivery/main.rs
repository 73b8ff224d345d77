//! What is delivered: the flake, the images' specs, the manifests. Nothing here can build with nixpkgs or reach a
//! cluster, so each claim is checked by the programs that are at hand: Nix itself, kustomize, the schemas of
//! Kubernetes, Dapr and Argo CD, promtool, mypy, a container engine. `cargo xtask test` brings them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

mod argocd;
mod cluster;
mod containers;
mod database;
mod evaluated;
mod flake;
mod job;
mod manifests;
#[path = "../acceptance/mesh.rs"]
#[expect(dead_code, reason = "the acceptance tests use all of it")]
mod mesh;
mod monitoring;
mod network;
mod new_service;
mod oci;
mod push;
mod references;
mod services;
mod size;
mod support;
mod vm;
mod workflows;
