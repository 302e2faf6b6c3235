# shellcheck shell=sh
# Runs in a build's guest: writes a file of the agent's profile, unless there is one already.
# $1: its path; $2: its text; $3: its permissions, octal
set -eu
if [ -e "$1" ] || [ -L "$1" ]; then
    echo "$1 is there already, and is left as it is"
    exit 0
fi
mkdir -p -- "$(dirname -- "$1")"
printf %s "$2" > "$1"
chmod -- "$3" "$1"
