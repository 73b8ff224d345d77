# What people need to work on this, and what the tests look for.
{ pkgs }:
[
  pkgs.cargo
  pkgs.cargo-deny
  pkgs.clippy
  pkgs.gcc
  pkgs.go
  pkgs.jq
  pkgs.mosquitto
  pkgs.nix
  pkgs.openssl
  (pkgs.postgresql_18.withPackages (extensions: [ extensions.pgvector ]))
  pkgs.procps
  pkgs.prometheus
  pkgs.prometheus.cli
  pkgs.python3
  pkgs.rustc
  pkgs.rustfmt
  pkgs.skopeo
  pkgs.util-linux
]
