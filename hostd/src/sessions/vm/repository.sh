# shellcheck shell=sh
# Runs in a session's guest that was booted from a disk that it had worked on: says whether the repository is whole.
# $1: where it is, $2: how many of the last commits are read. One line for each thing that is found, a word first:
#   whole ID       nothing is missing; HEAD names this commit, or "none"
#   broken WHAT    something is
#   good ID        the last commit that HEAD named and that is whole
#   ref NAME       the branch that HEAD is on
# Nothing else runs in the guest: whoever had a lock is gone, and no git command would go on beside it.
[ -n "$1" ] && cd -- "$1" 2>/dev/null && command -v git >/dev/null || exit 0
git() { command git -c safe.directory='*' -c core.fsmonitor=false "$@" 2>/dev/null; }
top=$(git rev-parse --git-dir) || { if [ -e .git ]; then echo "broken .git is no repository any more"; fi; exit 0; }
broken=
common=$(git rev-parse --git-common-dir)
find "$top" "$common" -name '*.lock' -type f -delete 2>/dev/null

# Whether a commit, and all that it names and its parents lack, is there. An empty object has no type.
whole() {
    list=$(git rev-list --objects --no-object-names "-$2" "$1") || return 1
    types=$(printf '%s\n' "$list" | git cat-file --batch-check='%(objecttype)') || return 1
    ! printf '%s\n' "$types" | grep -q ' missing$'
}

# What git had not given its name yet was never an object.
empty=$(find "$(git rev-parse --git-path objects)" -type f -size 0 ! -name 'tmp_*' 2>/dev/null | wc -l)
if [ "$empty" -gt 0 ]; then broken=1; echo "broken $empty of its objects are empty"; fi
head=$(git rev-parse -q --verify HEAD)
# git itself does not say it of a branch that names nothing.
ref=$(sed -n 's/^ref: //p' "$top/HEAD" 2>/dev/null)
if [ -n "$head" ]; then
    if ! whole "$head" "$2"; then broken=1; echo "broken HEAD names $head, of which something is missing"; fi
elif [ -n "$ref" ] && [ ! -e "$(git rev-parse --git-path "$ref")" ] && ! git show-ref -q; then
    head=none
else
    broken=1
    echo "broken HEAD names no commit"
fi
refs=$(command git -c safe.directory='*' for-each-ref --format='%(objecttype)' 2>&1 >/dev/null)
if [ -n "$refs" ]; then broken=1; echo "broken some of its refs name nothing"; fi
if ! git ls-files >/dev/null; then broken=1; echo "broken its index cannot be read"; fi

if [ -z "$broken" ]; then echo "whole $head"; exit 0; fi
if [ -n "$ref" ]; then echo "ref $ref"; fi
# The last of what HEAD was; a line that was cut short names nothing.
tail -n 100 "$top/logs/HEAD" 2>/dev/null | tr -d '\000' | cut -d ' ' -f 2 | sed -n '1!G;h;$p' | while read -r id; do
    if [ "${#id}" -ge 40 ] && whole "$id" 5; then echo "good $id"; break; fi
done
