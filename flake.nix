{
  description = "mesh-six: a mesh of LLM agents with an immutable event log";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      all = nixpkgs.lib.genAttrs systems (
        system:
        import ./nix {
          inherit self;
          pkgs = nixpkgs.legacyPackages.${system};
        }
      );
      each = name: builtins.mapAttrs (_: outputs: outputs.${name}) all;
    in
    {
      packages = each "packages"; # mesh-six (default), images, image-<service>, manifests
      apps = each "apps"; # default (up), push, test
      checks = each "checks"; # clippy, tests, fmt, deny, manifests, images, vm
      devShells = each "devShells"; # default
    };
}
