# Pushes the images that $IMAGES lists and writes what was pushed into the prod overlay.
set -euo pipefail

usage() {
    cat >&2 <<'HELP'
usage: push <registry>[/folder] [--tag] [--also <folder>]...

Pushes the image of each built service to <registry>/mesh-six/<service> and writes the digests into
k8s/overlays/prod/images/kustomization.yaml; with --tag the tag instead. --also names the images of another
architecture, such as the result of nix build .#packages.aarch64-linux.images; each tag then holds both.
Log in first: skopeo login <registry>.
HELP
    exit 2
}

if [ $# -eq 0 ] || [[ "$1" == -* ]]; then
    echo "push: no registry was named; the first argument is one, such as registry.example.com/team" >&2
    exit 2
fi
registry="${1%/}" by=digest folders=("$IMAGES")
shift
while [ $# -gt 0 ]; do
    case "$1" in
    --tag) by=tag ;;
    --also)
        [ $# -gt 1 ] || usage
        folders+=("$(realpath "$2")")
        shift
        ;;
    *) usage ;;
    esac
    shift
done

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
for folder in "${folders[@]}"; do
    if jq --exit-status 'any(.[]; .tag == "dirty")' "$folder/index.json" >/dev/null; then
        echo "push: the images were built from a work tree with changes that no commit holds" >&2
        exit 1
    fi
    if [ "$(jq --compact-output 'map([.name, .tag])' "$folder/index.json")" != \
        "$(jq --compact-output 'map([.name, .tag])' "$IMAGES/index.json")" ]; then
        echo "push: the images in $folder are not of the same commit" >&2
        exit 1
    fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Puts archive $2 of each folder into one OCI layout $1, under one index by architecture; prints the index's digest.
join() {
    local layout="$1" archive="$2" folder number=0 manifests='[]'
    for folder in "${folders[@]}"; do
        number=$((number + 1))
        skopeo --insecure-policy --tmpdir "$work" copy --quiet --preserve-digests \
            "oci-archive:$folder/$archive" "oci:$layout:$number" >&2
        manifests=$(jq --argjson all "$manifests" --arg name "$number" --argjson platform \
            "$(skopeo inspect --config --raw "oci:$layout:$number" | jq '{architecture, os}')" \
            '$all + [.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $name)
                     | {mediaType, digest, size, platform: $platform}]' "$layout/index.json")
    done
    if [ "$(jq 'map(.platform.architecture) | unique | length' <<<"$manifests")" != "${#folders[@]}" ]; then
        echo "push: two folders hold images of one architecture" >&2
        exit 1
    fi
    local type=application/vnd.oci.image.index.v1+json index="$work/index" digest
    jq --null-input --compact-output --join-output --arg type "$type" --argjson manifests "$manifests" \
        '{schemaVersion: 2, mediaType: $type, manifests: $manifests}' >"$index"
    digest=$(sha256sum "$index" | cut --delimiter=' ' --fields=1)
    jq --null-input --arg type "$type" --arg digest "sha256:$digest" --argjson size "$(stat --format %s "$index")" \
        '{schemaVersion: 2, manifests: [{mediaType: $type, digest: $digest, size: $size,
          annotations: {"org.opencontainers.image.ref.name": "all"}}]}' >"$layout/index.json"
    mv "$index" "$layout/blobs/sha256/$digest"
    echo "sha256:$digest"
}

entries='[]'
while IFS=$'\t' read -r name tag digest archive; do
    target="$registry/$name"
    source="oci-archive:$IMAGES/$archive"
    if [ ${#folders[@]} -gt 1 ]; then
        layout="$work/${archive%.tar}"
        digest=$(join "$layout" "$archive")
        source="oci:$layout:all"
    fi
    echo "pushing $target:$tag" >&2
    # shellcheck disable=SC2086 # several options, split on purpose
    skopeo --insecure-policy --tmpdir "$work" copy --all --quiet --preserve-digests ${SKOPEO_COPY_OPTIONS:-} \
        "$source" "docker://$target:$tag"
    entry=$(jq --null-input --arg name "$name" --arg target "$target" --arg tag "$tag" --arg digest "$digest" \
        --arg by "$by" '{name: $name, newName: $target} + if $by == "tag" then {newTag: $tag} else {digest: $digest} end')
    entries=$(jq --argjson entry "$entry" '. + [$entry]' <<<"$entries")
done < <(jq --raw-output '.[] | select(.built) | [.name, .tag, .digest, .archive] | @tsv' "$IMAGES/index.json")

# JSON is YAML too, and Nix can read it.
jq --null-input --argjson images "$entries" \
    '{apiVersion: "kustomize.config.k8s.io/v1alpha1", kind: "Component", images: $images}' >"$overlay"
echo "wrote $overlay; commit it, and Argo CD rolls it out" >&2
