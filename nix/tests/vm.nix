# One machine with k3s, Dapr by its chart, and PostgreSQL, RabbitMQ and Redis on the host; no network. The prod
# overlay is applied in the phases of Argo CD, and `mesh-six verify` runs as the Job that it brings.
{
  pkgs,
  services,
  images,
  tag,
}:
let
  dapr = import ./dapr.nix { inherit pkgs; };
  overlay = import ./overlay.nix { inherit services tag; };
  manifests = import ../manifests.nix {
    inherit pkgs;
    inherit (overlay) images overlays;
  };
  phases = pkgs.runCommand "mesh-six-phases" { } ''
    mkdir $out
    bash ${./phases.sh} ${manifests}/vm.yaml $out
  '';
in
{
  name = "mesh-six";
  globalTimeout = 2700;

  nodes.machine =
    { config, ... }:
    {
      virtualisation = {
        memorySize = 6144;
        cores = 4;
        diskSize = 20480;
      };
      # Pods must reach the API server and the servers of the host.
      networking.firewall.enable = false;

      services.k3s = {
        enable = true;
        role = "server";
        disable = [
          "metrics-server"
          "servicelb"
          "traefik"
        ];
        images = [
          config.services.k3s.package.airgap-images
        ]
        ++ dapr.images
        ++ map (name: images.${name}) overlay.preloaded;
        autoDeployCharts.dapr = {
          package = dapr.chart;
          targetNamespace = "dapr-system";
          createNamespace = true;
          values = builtins.fromJSON (builtins.readFile ../../k8s/dapr-values.json);
        };
      };

      services.postgresql = {
        enable = true;
        package = pkgs.postgresql_18;
        extensions = extensions: [ extensions.pgvector ];
        enableTCPIP = true;
        authentication = "host mesh_six all 0.0.0.0/0 scram-sha-256";
      };
      services.rabbitmq = {
        enable = true;
        listenAddress = "0.0.0.0";
      };
      services.redis.servers.mesh-six = {
        enable = true;
        bind = "0.0.0.0";
        port = 6379;
        requirePass = "for-this-machine";
      };

      environment.etc = {
        "mesh-six/cluster.json".text = builtins.toJSON (
          import ./cluster.nix { address = config.networking.primaryIPAddress; }
        );
        "mesh-six/database.sql".source = ../../k8s/database.sql;
        "mesh-six/phases".source = phases;
      };
    };

  testScript = builtins.readFile ./vm.py;
}
