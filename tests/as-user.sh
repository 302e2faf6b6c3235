#!/usr/bin/env bash
# Runs some end-to-end tests as an ordinary user, as hostd is meant to be run: a user with sub-ids of its own and, where there
# is one, in the group kvm. Root makes that user and a copy of what it needs in a folder of the user's, and removes both.
# Usage: tests/as-user.sh [FILTER ...]   default: the tests of `anywhere` in tests/common.sh
set -euo pipefail
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"
user=pilothouse-test
[ $# -gt 0 ] || set -- "${anywhere[@]}"
program=$(test_program e2e)

if [ "$(id -u)" != 0 ]; then
    # Whoever runs this is one.
    RUST_TEST_THREADS=${RUST_TEST_THREADS:-2} exec "$program" "$@"
fi

home=''
tidy() {
    ! id "$user" >/dev/null 2>&1 || userdel "$user"
    [ -z "$home" ] || rm -rf "$home"
}
exec 9>"/run/lock/$user.lock"
flock 9
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
tidy
home=$(mktemp -d "/var/tmp/$user.XXXXXX")
groups=()
! getent group kvm >/dev/null || groups=(--groups kvm)
# Sub-ids come with an ordinary user where these files are there.
touch /etc/subuid /etc/subgid
useradd --home-dir "$home" --shell /bin/sh --user-group "${groups[@]}" "$user"
grep -q "^$user:" /etc/subuid || usermod --add-subuids 1000000-1065535 --add-subgids 1000000-1065535 "$user"

bin=$home/bin
mkdir -p "$bin/deps" "$home/tree/tests"
cp "$program" "$bin/deps/e2e"
for name in hostd pilothouse pilothouse-guest-static; do cp "$(dirname "$(dirname "$program")")/$name" "$bin/"; done
cp -r "$root/demos" "$home/tree/"
cp -r "$root/tests/environments" "$home/tree/tests/"
chown -R "$user:" "$home"
# What it started ends with it.
unshare --mount --pid --fork --kill-child --mount-proc runuser -u "$user" -- \
    env -i "PATH=$PATH" "HOME=$home" LC_ALL=C.UTF-8 "PILOTHOUSE_TEST_TREE=$home/tree" \
    "RUST_TEST_THREADS=${RUST_TEST_THREADS:-2}" "$bin/deps/e2e" "$@" 9>&-
