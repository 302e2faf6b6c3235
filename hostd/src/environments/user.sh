# shellcheck shell=sh
# Runs in a build's guest as root: makes the agent's user where there is none, and lets it become root where the recipe says so.
# $1: name of the user; $2: whether it may become root, yes or no
set -eu
if ! id -u -- "$1" >/dev/null 2>&1; then
    # Bash is in every Debian, and what people expect to be in.
    shell=/bin/bash
    [ -x "$shell" ] || shell=/bin/sh
    if command -v useradd >/dev/null; then
        useradd --create-home --shell "$shell" -- "$1"
    elif command -v adduser >/dev/null; then
        # Busybox's.
        adduser -D -s "$shell" "$1"
    else
        echo "there is no user \`$1\` and no useradd to make one; add \"passwd\" to base.packages" >&2
        exit 1
    fi
    echo "the user $1 was made"
fi
[ "$2" = yes ] || exit 0
umask 337
mkdir -p /etc/sudoers.d
echo "$1 ALL=(ALL:ALL) NOPASSWD: ALL" > /etc/sudoers.d/pilothouse-agent
