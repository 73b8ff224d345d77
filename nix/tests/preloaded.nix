# The services whose images the machine needs. Fails, with the list, if the prod overlay names an image that is not
# one of ours and built: nothing can be pulled inside the VM. The render is the reviewed one, which the tests of
# plain cargo compare with what kustomize makes of the overlay. Needs builtins only.
{
  services,
  render ? builtins.readFile ../../tests/delivery/snapshots/delivery__manifests__render_prod.snap,
}:
let
  named = map builtins.head (
    builtins.filter builtins.isList (builtins.split "\n *-? *image: ([^\n]+)" render)
  );
  service =
    image:
    let
      found = builtins.match "([^@]*/)?mesh-six/([a-z0-9-]+)[:@].*" image;
    in
    if found == null then null else builtins.elemAt found 1;
  missing = builtins.filter (image: !(services.${toString (service image)}.built or false)) named;
in
if missing != [ ] then
  throw "no image is preloaded for: ${builtins.concatStringsSep ", " missing}"
else
  builtins.attrNames (
    builtins.listToAttrs (
      map (image: {
        name = service image;
        value = null;
      }) named
    )
  )
