# Pushes the images that $IMAGES lists and writes what was pushed into the prod overlay.
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ] || { [ $# -eq 2 ] && [ "$2" != --tag ]; }; then
    cat >&2 <<'HELP'
usage: push <registry>[/folder] [--tag]

Pushes the image of each built service to <registry>/mesh-six/<service> and writes the digests into
k8s/overlays/prod/images/kustomization.yaml; with --tag the tag instead. Log in first: skopeo login <registry>.
HELP
    exit 2
fi
registry="${1%/}"
by="${2:-digest}"

cd "$(git rev-parse --show-toplevel)"
if [ -n "$(git status --porcelain)" ]; then
    echo "push: the work tree has changes that no commit holds; commit them, so that the tag says what is in the image" >&2
    exit 1
fi
overlay=k8s/overlays/prod/images/kustomization.yaml
if [ ! -f "$overlay" ]; then
    echo "push: there is no $overlay here; run this in the repository that Argo CD reads" >&2
    exit 1
fi

entries='[]'
while IFS=$'\t' read -r name tag digest archive; do
    target="$registry/$name"
    echo "pushing $target:$tag" >&2
    # shellcheck disable=SC2086 # several options, split on purpose
    skopeo --insecure-policy copy --quiet --preserve-digests ${SKOPEO_COPY_OPTIONS:-} \
        "oci-archive:$IMAGES/$archive" "docker://$target:$tag"
    entry=$(jq --null-input --arg name "$name" --arg target "$target" --arg tag "$tag" --arg digest "$digest" \
        --arg by "$by" '{name: $name, newName: $target} + if $by == "--tag" then {newTag: $tag} else {digest: $digest} end')
    entries=$(jq --argjson entry "$entry" '. + [$entry]' <<<"$entries")
done < <(jq --raw-output '.[] | select(.built) | [.name, .tag, .digest, .archive] | @tsv' "$IMAGES/index.json")

# JSON is YAML too, and Nix can read it.
jq --null-input --argjson images "$entries" \
    '{apiVersion: "kustomize.config.k8s.io/v1alpha1", kind: "Component", images: $images}' >"$overlay"
echo "wrote $overlay; commit it, and Argo CD rolls it out" >&2
