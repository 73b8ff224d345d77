# What `nix run` can do.
{
  pkgs,
  mesh-six,
  images,
}:
let
  app = description: script: {
    type = "app";
    program = "${script}/bin/${script.name}";
    meta = { inherit description; };
  };
in
{
  default = app "the whole mesh on this machine" (
    pkgs.writeShellApplication {
      name = "up";
      runtimeInputs = [
        mesh-six
        (pkgs.postgresql_18.withPackages (extensions: [ extensions.pgvector ]))
      ];
      text = ''exec mesh-six up "$@"'';
    }
  );

  push = app "pushes the images and writes their digests into the prod overlay" (
    pkgs.writeShellApplication {
      name = "push";
      runtimeInputs = [
        pkgs.git
        pkgs.jq
        pkgs.skopeo
      ];
      runtimeEnv.IMAGES = "${images.images}";
      text = builtins.readFile ./push.sh;
    }
  );

  test = app "all tests, as plain cargo runs them" (
    pkgs.writeShellApplication {
      name = "test";
      runtimeInputs = import ./tools.nix { inherit pkgs; };
      text = ''exec cargo xtask test "$@"'';
    }
  );
}
