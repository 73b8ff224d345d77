# The one program that all images hold. Called with pkgsStatic it is linked with musl and needs nothing beside it.
{ rustPlatform, source }:
rustPlatform.buildRustPackage {
  pname = "mesh-six";
  inherit ((builtins.fromTOML (builtins.readFile ../Cargo.toml)).workspace.package) version;
  src = source;
  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [
    "--package"
    "mesh-six"
  ];
  # The tests are a check of their own, where they may be linked as is quickest.
  doCheck = false;
  meta = {
    description = "A mesh of LLM agents with an immutable event log";
    mainProgram = "mesh-six";
  };
}
