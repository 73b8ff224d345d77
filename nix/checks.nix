# `nix flake check`
{
  pkgs,
  source,
  services,
  mesh-six,
  images,
  manifests,
  tag,
}:
let
  inherit (pkgs) lib;

  # Runs cargo on the whole workspace, with the dependencies of Cargo.lock and without the network.
  cargo =
    name: inputs: command:
    pkgs.rustPlatform.buildRustPackage {
      pname = "mesh-six-${name}";
      inherit (mesh-six) version;
      src = source.checks;
      cargoLock.lockFile = ../Cargo.lock;
      nativeBuildInputs = inputs;
      buildPhase = ''
        runHook preBuild
        ${command}
        runHook postBuild
      '';
      doCheck = false;
      installPhase = "touch $out";
    };
in
{
  clippy = cargo "clippy" [ pkgs.clippy ] "cargo clippy --offline --workspace --all-targets -- --deny warnings";
  fmt = cargo "fmt" [ pkgs.rustfmt ] "cargo fmt --all --check";
  deny = cargo "deny" [ pkgs.cargo-deny ] "cargo deny --offline --workspace check bans licenses sources";

  # Without those that need a container engine, a registry of Go modules, or, as those that mount something, root.
  tests = cargo "tests" [
    pkgs.mosquitto
    (pkgs.postgresql_18.withPackages (extensions: [ extensions.pgvector ]))
    pkgs.procps
    pkgs.prometheus
    pkgs.prometheus.cli
  ] (
    "cargo test --offline --workspace --lib --bins --test it --test acceptance -- "
    + toString (
      map (test: "--skip ${test}") [
        "a_full_disk_is_told"
        "a_full_disk_under_the_event_partition_loses_and_doubles_nothing"
        "a_missing_postgresql_is_told"
      ]
    )
  );

  manifests = pkgs.runCommand "mesh-six-manifests-check" { nativeBuildInputs = [ pkgs.prometheus.cli ]; } ''
    test -s ${manifests}/prod.yaml -a -s ${manifests}/dev.yaml
    promtool check rules ${../k8s/base/monitoring/alerts.yaml}
    touch $out
  '';

  # Sixteen images, and nothing in them that the program does not need.
  images = pkgs.runCommand "mesh-six-images-check" { nativeBuildInputs = [ pkgs.jq ]; } ''
    test "$(jq length ${images.images}/index.json)" = ${toString (builtins.length (builtins.attrNames services))}
    test "$(wc -l < ${pkgs.closureInfo { rootPaths = [ mesh-six ]; }}/store-paths)" = 1
    touch $out
  '';
}
// lib.optionalAttrs (pkgs.stdenv.hostPlatform.system == "x86_64-linux") {
  vm = pkgs.testers.runNixOSTest (
    import ./tests/vm.nix {
      inherit pkgs services tag;
      images = images.byService;
    }
  );
}
