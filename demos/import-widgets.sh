#!/usr/bin/env bash
# Puts demos/widgets as a bare Git repository into a data folder: DATA/git/widgets.git, branch main, which is set back to
# it. Repeatable: the commit always has the same id, so that builds stay cached.
# Usage: demos/import-widgets.sh DATA
set -euo pipefail
source=$(cd "$(dirname "$0")/widgets" && pwd)
[ $# -eq 1 ] || { sed -n '4s/^# //p' "$0" >&2; exit 2; }
repository=$1/git/widgets.git
export GIT_AUTHOR_NAME=Widgets GIT_AUTHOR_EMAIL=widgets@widgets.invalid GIT_AUTHOR_DATE='2026-01-05T09:00:00Z'
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
unset GIT_INDEX_FILE GIT_WORK_TREE
export GIT_DIR=$repository

[ -d "$repository" ] || { mkdir -p "$repository"; git init --quiet --bare --initial-branch=main; }
index=$(mktemp -d)
trap 'rm -rf "$index"' EXIT
GIT_INDEX_FILE=$index/index git --work-tree="$source" add --all --force .
tree=$(GIT_INDEX_FILE=$index/index git write-tree)
# The same commit each time, whatever was merged since: an environment that was built at it is still good.
git update-ref refs/heads/main "$(git commit-tree -m 'Widgets: a catalogue and its command' "$tree")"
