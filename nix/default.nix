# All outputs for one system.
{ self, pkgs }:
let
  inherit (pkgs) lib;
  source = import ./source.nix { inherit lib; };
  services = import ./services.nix { };
  # Also what the images say that they were built from.
  tag = self.shortRev or "dirty";
  images = import ./images.nix {
    inherit
      pkgs
      services
      mesh-six
      tag
      ;
    revision = self.rev or "dirty";
  };
  mesh-six = pkgs.pkgsStatic.callPackage ./package.nix { source = source.program; };
  manifests = import ./manifests.nix { inherit pkgs; };
in
{
  packages = {
    inherit mesh-six manifests;
    inherit (images) images;
    default = mesh-six;
  }
  // lib.mapAttrs' (name: lib.nameValuePair "image-${name}") images.byService;

  apps = import ./apps.nix { inherit pkgs mesh-six images; };
  checks = import ./checks.nix {
    inherit
      pkgs
      source
      services
      mesh-six
      images
      manifests
      tag
      ;
  };
  devShells.default = import ./shell.nix { inherit pkgs; };
}
