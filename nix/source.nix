# What is built from: other files do not cause a new build.
{ lib }:
let
  program = [
    ../Cargo.toml
    ../Cargo.lock
    ../services.toml
    ../crates
    ../migrations
    # Members and targets of the workspace that cargo wants to see, though it does not build them.
    ../tests
    ../xtask
  ];
  select =
    files:
    lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions files;
    };
in
{
  # The program alone.
  program = select program;

  # And what the checks read beside it.
  checks = select (
    program
    ++ [
      ../README.md
      ../clippy.toml
      ../deny.toml
      ../rustfmt.toml
      ../dapr.yaml
      ../tools/dapr/go.mod
      ../docs
      ../examples
      ../k8s
    ]
  );
}
