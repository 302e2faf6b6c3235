# shellcheck shell=sh
# Runs in a build's guest as root: copies files as COPY of a Dockerfile does.
# $1: folder that they are in; $2: where they go, a folder where a slash is its end; $3: whom they belong to, or nothing;
# $4: their permissions, or nothing; then paths in the folder, which may be patterns
set -eu
context=$1 target=$2 owner=${3:-0:0} mode=$4
shift 4
cd -- "$context"
# The copies alone are given away, and nothing that is there already.
staged=$(mktemp -d)
trap 'rm -rf -- "$staged"' EXIT
count=0
single=
# Patterns are followed, and names with blanks stay whole.
IFS=
for pattern; do
    before=$count
    # shellcheck disable=SC2086
    for path in $pattern; do
        [ -e "$path" ] || [ -L "$path" ] || continue
        if [ -d "$path" ]; then
            cp -a -- "$path/." "$staged/"
            count=$((count + 2))
        else
            cp -a -- "$path" "$staged/"
            single=${path##*/}
            count=$((count + 1))
        fi
    done
    if [ "$count" = "$before" ]; then
        echo "there is no $pattern in $context" >&2
        exit 1
    fi
done
each() {
    for path in "$staged"/* "$staged"/.[!.]* "$staged"/..?*; do
        if [ -e "$path" ] || [ -L "$path" ]; then "$@" "$path"; fi
    done
}
each chown -Rh "$owner"
[ -z "$mode" ] || each chmod -R "$mode"
into() { cp -a -- "$1" "$target/"; }
case $target in
*/) name= ;;
*) [ -d "$target" ] && name= || name=$single ;;
esac
if [ "$count" = 1 ] && [ -n "$name" ]; then
    mkdir -p -- "$(dirname -- "$target")"
    cp -a -- "$staged/$name" "$target"
else
    mkdir -p -- "$target"
    each into
fi
