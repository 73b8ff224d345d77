# An image for each service: the same program, and what to do with it. The layers are shared, so a node pulls the
# program once. All dates are the constants of dockerTools: the same commit gives the same digests.
{
  pkgs,
  services,
  mesh-six,
  tag,
  revision,
}:
let
  inherit (pkgs) lib;

  image =
    _: service:
    pkgs.dockerTools.buildLayeredImage {
      name = "mesh-six/${service.name}";
      inherit tag;
      contents = [
        mesh-six
        pkgs.dockerTools.caCertificates
      ];
      config = {
        Entrypoint = [ "/bin/mesh-six" ];
        Cmd = service.cmd;
        User = service.user;
        Env = lib.mapAttrsToList (name: value: "${name}=${value}") service.environment;
        ExposedPorts."${toString service.port}/tcp" = { };
        Labels = service.labels // {
          "org.opencontainers.image.revision" = revision;
        };
      };
    };
  byService = builtins.mapAttrs image services;
in
{
  inherit byService;

  # Built as OCI archives, whose digests stay what they are when they are pushed, and index.json that lists them.
  images = pkgs.runCommand "mesh-six-images" { nativeBuildInputs = [ pkgs.skopeo pkgs.jq ]; } ''
    mkdir $out
    ${lib.concatLines (
      lib.mapAttrsToList (
        name: archive: "bash ${./archive.sh} $out ${archive} ${name} ${tag} ${lib.boolToString services.${name}.built}"
      ) byService
    )}
    jq --slurp . $out/*.entry > $out/index.json
    rm $out/*.entry
  '';
}
