# `nix develop`
{ pkgs }:
pkgs.mkShell {
  packages = import ./tools.nix { inherit pkgs; } ++ [
    pkgs.kubectl
    pkgs.kustomize
    pkgs.rust-analyzer
  ];
}
