# shellcheck shell=sh
# Runs in a session's guest: prints a line with what is compared, then a pack of what the working tree has and its merge
# base has not. Neither the repository's index nor its objects are touched.
# $1: where it is, $2: the branch that it left, $3: bytes of a pack that are taken
set -eu
cd -- "$1"
command -v git >/dev/null || { echo "there is no git in its VM; add it to the environment's packages" >&2; exit 1; }
# Also where it is another user's, and whatever lies in it.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
top=$(git rev-parse --show-toplevel) || exit 1
cd -- "$top"
left=refs/remotes/origin/${2:-HEAD}
limit=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM PIPE
base=$(git merge-base HEAD "$left") || { echo "its HEAD and $left have no common history" >&2; exit 1; }
objects=$(cd -- "$(git rev-parse --git-path objects)" && pwd)
index=$(git rev-parse --git-path index)
mkdir -p "$work/objects/info"
printf '%s\n' "$objects" >"$work/objects/info/alternates"
# With its times: git trusts an entry only if the index is younger than the file.
if [ -f "$index" ]; then cp -p -- "$index" "$work/index"; fi
export GIT_INDEX_FILE="$work/index" GIT_OBJECT_DIRECTORY="$work/objects"
missing=
git -c advice.addEmbeddedRepo=false add -A --ignore-errors . >/dev/null 2>&1 || missing=unread
tree=$(git write-tree)
for filter in none blob:limit=65536 blob:none; do
    if [ "$filter" = none ]; then set --; else set -- "--filter=$filter" && missing=$missing,large; fi
    printf '%s\n^%s\n' "$tree" "$base" |
        git pack-objects --revs --thin --stdout --delta-base-offset -q "$@" >"$work/pack"
    if [ "$(wc -c <"$work/pack")" -le "$limit" ]; then break; fi
done
printf 'pilothouse-diff %s %s %s\n' "$base" "$tree" "${missing:-nothing}"
cat "$work/pack"
