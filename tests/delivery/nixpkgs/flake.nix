# Stands in for nixpkgs where it cannot be had: functions that take what those of nixpkgs take, refuse what those
# refuse, and record what they were given. It shows that the flake evaluates, not that anything can be built.
{
  outputs =
    { self }:
    let
      lib = import ./lib.nix;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs systems (system: import ./packages.nix { inherit lib system; });
    };
}
