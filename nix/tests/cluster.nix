# What a cluster has before Argo CD comes: the names of database, broker and registry, which run on the host at
# `address`, and the secrets. Needs builtins only. The passwords are worth nothing outside this machine.
{ address }:
let
  namespace = name: {
    apiVersion = "v1";
    kind = "Namespace";
    metadata.name = name;
  };

  # A name inside the cluster for a port of the host.
  outside = namespace: name: port: [
    {
      apiVersion = "v1";
      kind = "Service";
      metadata = { inherit name namespace; };
      spec.ports = [
        {
          name = "tcp";
          inherit port;
        }
      ];
    }
    {
      apiVersion = "discovery.k8s.io/v1";
      kind = "EndpointSlice";
      metadata = {
        inherit name namespace;
        labels."kubernetes.io/service-name" = name;
      };
      addressType = "IPv4";
      endpoints = [ { addresses = [ address ]; } ];
      ports = [
        {
          name = "tcp";
          inherit port;
        }
      ];
    }
  ];

  secret = name: stringData: {
    apiVersion = "v1";
    kind = "Secret";
    metadata = {
      inherit name;
      namespace = "mesh-six";
    };
    inherit stringData;
  };
  database = user: "postgres://${user}:for-this-machine@postgres.postgres.svc.cluster.local:5432/mesh_six";
in
{
  apiVersion = "v1";
  kind = "List";
  items =
    map namespace [
      "mesh-six"
      "postgres"
      "rabbitmq"
      "redis"
    ]
    ++ outside "postgres" "postgres" 5432
    ++ outside "rabbitmq" "rabbitmq" 5672
    ++ outside "redis" "redis-master" 6379
    ++ [
      (secret "api-secret" { token = "for-this-machine"; })
      (secret "dapr-app-secret" { token = "for-this-machine"; })
      (secret "postgres-secret" {
        url = database "mesh_six";
        owner-url = database "mesh_six_owner";
      })
      (secret "rabbitmq-secret" { url = "amqp://mesh-six:for-this-machine@rabbitmq.rabbitmq.svc.cluster.local:5672/"; })
      (secret "redis-secret" { password = "for-this-machine"; })
      (secret "litellm-secret" { api-key = "for-this-machine"; })
    ];
}
