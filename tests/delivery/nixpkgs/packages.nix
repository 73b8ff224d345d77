# The packages and functions that the flake uses. The signatures are those of the project's notes on nixpkgs 26.05.
{ lib, system }:
let
  drv =
    name: extra:
    derivation {
      inherit name system;
      builder = "/bin/sh";
    }
    // extra;
  package = name: drv name { version = "0"; };

  # Refuses arguments that the real function does not know, and records the others.
  strict =
    function:
    {
      required ? [ ],
      optional ? [ ],
    }:
    args:
    let
      unknown = builtins.attrNames (
        builtins.removeAttrs args (required ++ optional)
      );
      missing = builtins.filter (name: !(args ? ${name})) required;
    in
    if unknown != [ ] then
      throw "${function} does not know ${toString unknown}"
    else if missing != [ ] then
      throw "${function} wants ${toString missing}"
    else
      args;

  buildRustPackage =
    args:
    let
      given = strict "buildRustPackage" {
        required = [
          "pname"
          "version"
          "src"
          "cargoLock"
        ];
        optional = [
          "cargoRoot"
          "sourceRoot"
          "buildAndTestSubdir"
          "buildType"
          "checkType"
          "buildFeatures"
          "checkFeatures"
          "buildNoDefaultFeatures"
          "useNextest"
          "auditable"
          "cargoPatches"
          "depsExtraArgs"
          "doCheck"
          "env"
          "RUSTFLAGS"
          "cargoBuildFlags"
          "cargoTestFlags"
          "checkFlags"
          # Of every derivation.
          "nativeBuildInputs"
          "buildInputs"
          "nativeCheckInputs"
          "buildPhase"
          "installPhase"
          "postInstall"
          "meta"
        ];
      } args;
      lock = strict "cargoLock" {
        required = [ "lockFile" ];
        optional = [ "outputHashes" ];
      } given.cargoLock;
      parsed = builtins.fromTOML (builtins.readFile lock.lockFile);
      git = builtins.filter (
        crate: builtins.match "git\\+.*" (crate.source or "") != null
      ) parsed.package;
    in
    # Without outputHashes the real function fails for these, and their hashes are not known here.
    assert git == [ ] || throw "Cargo.lock has git dependencies: ${toString (map (crate: crate.name) git)}";
    drv given.pname {
      inherit (given) version src;
      inherit given;
    };

  layered = {
    required = [ "name" ];
    optional = [
      "tag"
      "fromImage"
      "contents"
      "config"
      "architecture"
      "created"
      "mtime"
      "uid"
      "gid"
      "uname"
      "gname"
      "maxLayers"
      "extraCommands"
      "fakeRootCommands"
      "enableFakechroot"
      "includeStorePaths"
      "includeNixDB"
      "passthru"
      "meta"
      "compressor"
    ];
  };
  imageConfig = {
    optional = [
      "Cmd"
      "Entrypoint"
      "Env"
      "ExposedPorts"
      "Labels"
      "StopSignal"
      "User"
      "Volumes"
      "WorkingDir"
    ];
  };
  buildLayeredImage =
    args:
    let
      given = strict "buildLayeredImage" layered args;
    in
    # As nixpkgs names it: images of one last part would overwrite each other in k3s' folder.
    drv "${baseNameOf given.name}.tar.gz" {
      imageName = given.name;
      imageTag = given.tag;
      given = given // {
        config = strict "config of an image" imageConfig given.config;
      };
    };

  runCommand =
    name: env: script:
    drv name { given = { inherit env script; }; };

  writeShellApplication =
    args:
    let
      given = strict "writeShellApplication" {
        required = [
          "name"
          "text"
        ];
        optional = [
          "runtimeInputs"
          "runtimeEnv"
          "meta"
          "passthru"
          "checkPhase"
          "excludeShellChecks"
          "extraShellCheckFlags"
          "bashOptions"
          "derivationArgs"
          "inheritPath"
        ];
      } args;
    in
    drv given.name { inherit given; };

  fetchurl =
    args:
    let
      given = strict "fetchurl" {
        required = [
          "url"
          "hash"
        ];
        optional = [ "name" ];
      } args;
      sri = builtins.match "sha256-[A-Za-z0-9+/]{43}=" given.hash != null;
    in
    assert sri || throw "fetchurl: ${given.hash} is no SRI hash";
    drv (baseNameOf given.url) { inherit given; };

  postgresql = drv "postgresql" {
    version = "18";
    withPackages = choose: drv "postgresql-and-plugins" { plugins = choose { pgvector = package "pgvector"; }; };
  };

  rustPlatform = { inherit buildRustPackage; };
  plain = lib.genAttrs [
    "cargo"
    "cargo-deny"
    "clippy"
    "gcc"
    "git"
    "go"
    "jq"
    "kubectl"
    "kustomize"
    "mosquitto"
    "nix"
    "openssl"
    "procps"
    "python3"
    "rust-analyzer"
    "rustc"
    "rustfmt"
    "skopeo"
    "util-linux"
  ] package;
in
plain
// {
  inherit
    lib
    runCommand
    writeShellApplication
    fetchurl
    rustPlatform
    ;
  pkgsStatic.callPackage = file: args: import file ({ inherit rustPlatform; } // args);
  stdenv.hostPlatform.system = system;
  postgresql_18 = postgresql;
  prometheus = package "prometheus" // {
    cli = package "prometheus-cli";
  };
  dockerTools = {
    inherit buildLayeredImage;
    caCertificates = package "ca-certificates";
  };
  writeText = name: text: drv name { given = { inherit text; }; };
  closureInfo = args: drv "closure-info" { given = strict "closureInfo" { required = [ "rootPaths" ]; } args; };
  mkShell = args: drv "shell" { given = strict "mkShell" { optional = [ "packages" ]; } args; };
  testers.runNixOSTest = import ./nixos-test.nix { inherit drv package strict; };
}
