# shellcheck shell=sh
# Runs in a build's guest as the agent's user: whether the agent could be started. Says why not.
# $1: its program, as the recipe's command names it
set -u
no() { echo "$1" >&2; exit 1; }
on_path() {
    IFS=:
    for folder in $PATH; do
        if [ -f "$folder/$1" ] && [ -x "$folder/$1" ]; then found=$folder/$1; break; fi
    done
    unset IFS
}
found=
case $1 in
*/*) found=$1 ;;
*) on_path "$1" ;;
esac
[ -n "$found" ] || no "there is no program \`$1\` on the PATH of $USER, $PATH"
[ -f "$found" ] || no "there is no program $found"
[ -x "$found" ] || no "$found may not be executed by $USER"
# A script is started by what its first line names.
line=$(head -c 256 -- "$found" 2>/dev/null | tr -d '\000' | head -n 1)
case $line in '#!'*) ;; *) exit 0 ;; esac
set -f
# shellcheck disable=SC2086
set -- ${line#??}
[ -x "${1:-}" ] || no "$found is a script for ${1:-nothing}, which is not there"
if [ "${1##*/}" = env ] && [ -n "${2:-}" ]; then
    case $2 in
    -* | *=*) ;;
    *)
        found=
        on_path "$2"
        [ -n "$found" ] || no "it is a script for \`$2\`, which is not on the PATH of $USER, $PATH"
        ;;
    esac
fi
