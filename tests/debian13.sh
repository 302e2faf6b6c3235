#!/usr/bin/env bash
# Runs `hostd doctor` and some end-to-end tests on a minimal Debian 13 of its own: nothing in it but what tests/setup.sh names
# for running hostd, with that release's QEMU, guests' kernel and helpers. The programs are this tree's, as they were built.
# Usage: tests/debian13.sh [FILTER ...]   default: the tests of `anywhere` in tests/common.sh
# Nothing is mounted outside a mount namespace of its own, and what it started ends with it. The root folder is kept in
# CARGO_TARGET_DIR/pilothouse-test-data/debian13 for the next run. Without root it needs sub-ids (/etc/subuid) and newuidmap.
set -euo pipefail
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"
suite=trixie
place=$CARGO_TARGET_DIR/pilothouse-test-data/debian13
fail() {
    printf 'debian13: %s\n' "$@" >&2
    exit 1
}

# Runs a command as root of a user namespace, where the caller is not root itself.
as_root_here() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        unshare --user --map-root-user --map-auto --setuid 0 --setgid 0 "$@"
    fi
}

make_root() {
    local packages stamp
    packages=$("$root/tests/setup.sh" --packages run | paste -sd ,)
    stamp="$suite $packages $(id -u)"
    [ "$(cat "$place/stamp" 2>/dev/null)" != "$stamp" ] || return 0
    echo "Making a Debian 13 with $packages"
    as_root_here rm -rf "$place/root" "$place/stamp"
    mkdir "$place/root"
    local options=(--variant=apt "--include=$packages" --dpkgopt=force-unsafe-io --skip=cleanup/apt/lists --quiet)
    for left_out in doc info locale man; do options+=("--dpkgopt=path-exclude=/usr/share/$left_out/*"); done
    # With the lists of apt, as on any machine that has installed something: guests' kernels are fetched by them.
    # Through a tar, because without root mmdebstrap's own user may have no way to this folder.
    TMPDIR=/var/tmp mmdebstrap "${options[@]}" --format=tar "$suite" - |
        as_root_here tar --extract --numeric-owner --directory "$place/root" --exclude './dev/*'
    echo "$stamp" >"$place/stamp"
}

# Runs a command in it; it ends with everything that it started when this script does.
enter() {
    # shellcheck disable=SC2016
    as_root_here unshare --mount --pid --fork --kill-child bash -euo pipefail -c '
        inside=$1 tree=$2 target=$3 data=$4
        shift 4
        mount --rbind /dev "$inside/dev"
        mount -t proc proc "$inside/proc"
        mount --rbind /sys "$inside/sys"
        mount -t tmpfs -o mode=1777 tmpfs "$inside/tmp"
        touch "$inside/etc/resolv.conf"
        mount --bind "$(realpath /etc/resolv.conf)" "$inside/etc/resolv.conf"
        mkdir -p "$inside$tree" "$inside$target"
        mount --bind "$tree" "$inside$tree"
        mount --bind "$target" "$inside$target"
        mount --bind "$data" "$inside$target/pilothouse-test-data"
        # What is not to be there: nobody can run it.
        for program in $PILOTHOUSE_HIDDEN; do mount --bind /dev/null "$inside$program"; done
        exec chroot "$inside" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
    ' bash "$place/root" "$root" "$CARGO_TARGET_DIR" "$place/data" "$@"
}

[ "$(id -u)" = 0 ] || have newuidmap || fail "this needs newuidmap where it is not run as root: apt-get install uidmap"
mkdir -p "$place/data"
exec 9>"$place/lock"
flock 9
make_root
program=$(test_program e2e)
[ $# -gt 0 ] || set -- "${anywhere[@]}"
export PILOTHOUSE_HIDDEN=
# shellcheck disable=SC2016 # the other shell's
enter sh -c '. /etc/os-release; echo "$PRETTY_NAME, $(qemu-system-x86_64 --version | head -n 1)"'
# Whoever left something of it out is told what.
echo "Looking at it without xz and mount"
hostd=$(dirname "$(dirname "$program")")/hostd
said=$(PILOTHOUSE_HIDDEN="/usr/bin/xz /usr/bin/mount" enter "$hostd" doctor --data /tmp/doctor 2>&1 9>&-) && fail "doctor misses nothing:" "$said"
for names in "install it (xz-utils)" "apt-get install mount"; do
    case $said in *"$names"*) ;; *) fail "doctor does not say \`$names\`:" "$said" ;; esac
done
enter env "RUST_TEST_THREADS=${RUST_TEST_THREADS:-2}" "$program" "$@" 9>&-
