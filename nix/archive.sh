# Turns the docker-archive $2 into $1/$3.tar, an OCI archive, and $1/$3.entry, its line of index.json.
set -euo pipefail
out="$1" archive="$2" name="$3" tag="$4" built="$5"
skopeo --insecure-policy --tmpdir "${TMPDIR:-/tmp}" copy --quiet \
    "docker-archive:$archive" "oci-archive:$out/$name.tar:mesh-six/$name:$tag"
digest=$(skopeo --tmpdir "${TMPDIR:-/tmp}" inspect --format '{{.Digest}}' "oci-archive:$out/$name.tar")
jq --null-input --arg name "mesh-six/$name" --arg tag "$tag" --arg digest "$digest" --arg archive "$name.tar" \
    --argjson built "$built" --argjson size "$(stat --format %s "$out/$name.tar")" \
    '{name: $name, tag: $tag, digest: $digest, archive: $archive, size: $size, built: $built}' > "$out/$name.entry"
