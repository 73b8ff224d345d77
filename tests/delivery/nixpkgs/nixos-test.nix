# `testers.runNixOSTest` for a test with one machine: refuses options that NixOS 26.05 does not have, as far as they
# are known here, and records the machine.
{
  drv,
  package,
  strict,
}:
module:
let
  given = strict "runNixOSTest" {
    required = [
      "name"
      "nodes"
      "testScript"
    ];
    optional = [
      "defaults"
      "globalTimeout"
      "extraPythonPackages"
      "interactive"
      "meta"
    ];
  } module;

  options = {
    virtualisation.optional = [
      "cores"
      "diskSize"
      "memorySize"
      "graphics"
    ];
    networking.optional = [ "firewall" ];
    environment.optional = [
      "etc"
      "systemPackages"
      "sessionVariables"
    ];
    services.optional = [
      "k3s"
      "postgresql"
      "rabbitmq"
      "redis"
    ];
    "services.k3s".optional = [
      "enable"
      "package"
      "role"
      "extraFlags"
      "disable"
      "manifests"
      "images"
      "charts"
      "autoDeployCharts"
      "nodeName"
      "nodeIP"
      "nodeLabel"
      "nodeTaint"
      "clusterInit"
      "gracefulNodeShutdown"
    ];
    "services.postgresql".optional = [
      "enable"
      "package"
      "extensions"
      "enableTCPIP"
      "authentication"
      "settings"
      "initialScript"
    ];
    "services.rabbitmq".optional = [
      "enable"
      "package"
      "listenAddress"
      "port"
      "configItems"
      "plugins"
    ];
    "services.redis.servers".optional = [
      "enable"
      "bind"
      "port"
      "requirePass"
      "settings"
      "user"
    ];
    chart = {
      required = [ "package" ];
      optional = [
        "enable"
        "targetNamespace"
        "createNamespace"
        "values"
        "extraFieldDefinitions"
      ];
    };
    etc.optional = [
      "source"
      "text"
      "mode"
      "user"
      "group"
    ];
  };
  known = name: strict name options.${name};

  machine = given.nodes.machine {
    config = {
      networking.primaryIPAddress = "192.168.1.1";
      services.k3s.package.airgap-images = package "k3s-airgap-images";
    };
  };
  services = known "services" machine.services;
  checked = strict "nodes.machine" {
    optional = [
      "environment"
      "networking"
      "services"
      "virtualisation"
    ];
  } machine;
in
drv "vm-test-run-${given.name}" {
  given = given // {
    machine = {
      virtualisation = known "virtualisation" checked.virtualisation;
      networking = known "networking" checked.networking;
      etc = builtins.mapAttrs (_: known "etc") (known "environment" checked.environment).etc;
      k3s = known "services.k3s" services.k3s // {
        autoDeployCharts = builtins.mapAttrs (_: known "chart") services.k3s.autoDeployCharts;
      };
      postgresql = known "services.postgresql" services.postgresql;
      rabbitmq = known "services.rabbitmq" services.rabbitmq;
      redis = builtins.mapAttrs (_: known "services.redis.servers") services.redis.servers;
    };
  };
}
