# Parts the rendered manifests $1 into $2/presync.yaml, sync.yaml and postsync.yaml, as Argo CD parts them by their
# hooks.
set -euo pipefail
: >"$2/presync.yaml" && : >"$2/sync.yaml" && : >"$2/postsync.yaml"
awk -v out="$2" '
    function write() {
        file = "sync"
        if (document ~ /\n    argocd.argoproj.io\/hook: PreSync\n/) file = "presync"
        if (document ~ /\n    argocd.argoproj.io\/hook: PostSync\n/) file = "postsync"
        if (document != "") printf "---\n%s", document > (out "/" file ".yaml")
        document = ""
    }
    /^---$/ { write(); next }
    { document = document $0 "\n" }
    END { write() }
' "$1"
