# What the VM changes in the manifests: the images are the preloaded ones, and there is no model. Nothing else
# differs from prod. Needs builtins only.
{ services, tag }:
let
  preloaded = import ./preloaded.nix { inherit services; };
in
{
  inherit preloaded;
  images = map (name: {
    name = "mesh-six/${name}";
    newTag = tag;
  }) preloaded;
  overlays.vm = {
    resources = [ "../prod" ];
    configMapGenerator = [
      {
        name = "settings";
        namespace = "mesh-six";
        behavior = "merge";
        literals = [ "LLM_OFFLINE=true" ];
      }
    ];
  };
}
