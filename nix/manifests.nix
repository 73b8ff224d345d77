# The manifests as Argo CD applies them: a file for each overlay. `images` stands in for what `push` wrote into the
# prod overlay, and `overlays` are more of them, as kustomizations by name.
{
  pkgs,
  images ? null,
  overlays ? { },
}:
let
  inherit (pkgs) lib;
  write = path: content: ''
    mkdir -p "$(dirname k8s/${path})"
    cp ${pkgs.writeText "kustomization.yaml" (builtins.toJSON content)} k8s/${path}
  '';
  component = {
    apiVersion = "kustomize.config.k8s.io/v1alpha1";
    kind = "Component";
    inherit images;
  };
in
pkgs.runCommand "mesh-six-manifests" { nativeBuildInputs = [ pkgs.kustomize ]; } ''
  cp -r ${../k8s} k8s
  chmod -R +w k8s
  ${lib.optionalString (images != null) (write "overlays/prod/images/kustomization.yaml" component)}
  ${lib.concatStrings (
    lib.mapAttrsToList (name: write "overlays/${name}/kustomization.yaml") overlays
  )}
  mkdir $out
  for overlay in dev prod ${toString (builtins.attrNames overlays)}; do
    kustomize build k8s/overlays/$overlay > $out/$overlay.yaml
  done
''
