# What is in the image of each service, from services.toml. Needs builtins only, so that it is tested without nixpkgs.
{
  table ? builtins.fromTOML (builtins.readFile ../services.toml),
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
  }) (distinct "local_port" (distinct "name" (map checked table.service)))
)
