# What is in the image of each service, from services.toml. Needs builtins only, so that it is tested without nixpkgs.
# Fails in one line if an entry is wrong, or if the entries and the folders of k8s/base do not fit together.
{
  table ? builtins.fromTOML (builtins.readFile ../services.toml),
  base ? ../k8s/base,
}:
let
  fields = {
    name = "string";
    title = "string";
    purpose = "string";
    kind = "string";
    built = "bool";
    port = "int";
    local_port = "int";
  };
  fault = message: throw "services.toml: ${message}";

  checked =
    service:
    let
      name = service.name or (fault "an entry has no name");
      wrong = builtins.filter (
        field: !(service ? ${field}) || builtins.typeOf service.${field} != fields.${field}
      ) (builtins.attrNames fields);
    in
    if builtins.match "[a-z0-9]([a-z0-9-]*[a-z0-9])?" name == null then
      fault "\"${name}\" must be lower-case letters, digits and hyphens"
    else if wrong != [ ] then
      fault "${name}: ${builtins.head wrong} is missing or no ${fields.${builtins.head wrong}}"
    else if
      !builtins.elem service.kind [
        "agent"
        "infrastructure"
        "ui"
        "command"
      ]
    then
      fault "${name}: unknown kind \"${service.kind}\""
    else
      service;

  # Fails if two services have the same value, else gives the services.
  distinct =
    field: services:
    builtins.foldl' (
      seen: service:
      if builtins.any (other: other.${field} == service.${field}) seen then
        fault "${service.name}: ${field} ${toString service.${field}} is another service's"
      else
        seen ++ [ service ]
    ) [ ] services;

  # Every built service has a folder of manifests, and every such folder a built service.
  deployed =
    services:
    let
      built = map (service: service.name) (builtins.filter (service: service.built) services);
      folders = builtins.filter (name: builtins.pathExists (base + "/${name}/deployment.yaml")) (
        builtins.attrNames (builtins.readDir base)
      );
      listed =
        name: builtins.match ".*\n  - ${name}\n.*" (builtins.readFile (base + "/kustomization.yaml")) != null;
      missing = builtins.filter (name: !builtins.elem name folders) built;
      strange = builtins.filter (name: !builtins.elem name built) folders;
      unlisted = builtins.filter (name: !listed name) built;
    in
    if missing != [ ] then
      fault "${builtins.head missing} is built, but there is no folder k8s/base/${builtins.head missing}"
    else if strange != [ ] then
      fault "the folder k8s/base/${builtins.head strange} is of no service that is built"
    else if unlisted != [ ] then
      fault "${builtins.head unlisted} is built, but k8s/base/kustomization.yaml does not list it"
    else
      services;

  image = service: {
    inherit (service) name built port;
    cmd = [
      "serve"
      service.name
    ];
    user = "65532:65532";
    labels = {
      "org.opencontainers.image.title" = service.title;
      "org.opencontainers.image.description" = service.purpose;
      "org.opencontainers.image.source" = "https://github.com/mesh-six/mesh-six";
      "org.opencontainers.image.licenses" = "Apache-2.0";
    };
    environment = {
      APP_PORT = toString service.port;
      SSL_CERT_FILE = "/etc/ssl/certs/ca-bundle.crt";
    };
  };
in
builtins.listToAttrs (
  map (service: {
    inherit (service) name;
    value = image service;
  }) (deployed (distinct "local_port" (distinct "name" (map checked table.service))))
)
