# Dapr as its maintainers release it: the chart, and the released programs in images of the names that the chart
# expects. Only for x86_64-linux: the hashes of the other programs are not known here.
{ pkgs }:
let
  version = "1.18.1";
  programs = {
    daprd = "sha256-0CPAClp6etwX1D/PSiOJtvK6HZw0Z+lEVrdLIo6ajFA=";
    operator = "sha256-7F8MOIowvGPoRmEcrZ6y7PTqe4jMgP3QaAoe2ZrElRM=";
    sentry = "sha256-p47iLZyFYIrK/BCnPhLCliBDzIGX6g3wBSOXYD8Ifow=";
    scheduler = "sha256-L9FVqAauntUBvCfer5ogI0ozKfG4tUA0AXNxpHi19y8=";
    injector = "sha256-KQP8PoEuGwama3GEEdfGb5SwUvlob1FGV5aIyVtF6yw=";
    placement = "sha256-TQXiKRaej1vDNKQE4Avvpv2ESlPb1ElOeM2Jfj1qVLo=";
  };

  # As upstream's own images: the program at the root, no entrypoint, since the chart and the injector name it.
  image =
    name: hash:
    let
      archive = pkgs.fetchurl {
        url = "https://github.com/dapr/dapr/releases/download/v${version}/${name}_linux_amd64.tar.gz";
        inherit hash;
      };
    in
    pkgs.dockerTools.buildLayeredImage {
      name = "ghcr.io/dapr/${name}";
      tag = version;
      contents = [ pkgs.dockerTools.caCertificates ];
      extraCommands = ''
        tar --extract --gzip --to-stdout --file ${archive} > ${name}
        chmod 755 ${name}
      '';
      config.User = "65532:65532";
    };
in
{
  inherit version;
  chart = pkgs.fetchurl {
    url = "https://dapr.github.io/helm-charts/dapr-${version}.tgz";
    hash = "sha256-1Ri9Li94PFs4t6ZEWWQm/SeESenNdKz0o3viE+iBLns=";
  };
  images = builtins.attrValues (builtins.mapAttrs image programs);
}
