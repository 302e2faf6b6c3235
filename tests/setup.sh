#!/usr/bin/env bash
# Installs what Pilothouse needs on Debian 12 or 13 and is not there yet. Says nothing where nothing is missing.
# Usage: tests/setup.sh [run|demo|tests|benches]    default: tests, which also brings the checkers; benches: their peers too;
#                                                 run: what hostd runs with, and nothing to build it
#        tests/setup.sh --packages [WHAT]         names the Debian packages of all of it, and installs nothing
# Asks before it uses sudo; without a terminal it prints the command instead and fails. As root it just does it.
set -euo pipefail
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"
rust_needed=1.89
# What is installed where there is none: the lints of another version may ask for something else.
rust_tried=1.95.0
deny_version=0.20.2

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# may_install PACKAGE...: root may; with sudo a person on a terminal is asked; else says what to run and fails.
may_install() {
    local command="apt-get update && apt-get install --no-install-recommends $*" answer
    say "missing: $*"
    [ "$(id -u)" != 0 ] || return 0
    if ! [ -t 0 ] || ! have sudo; then fail "run this as root, then start again:" "    $command"; fi
    say "to run with sudo:" && say "    $command"
    read -rp 'setup: go on? [y/N] ' answer
    case $answer in
        y | Y | yes) ;;
        *) fail "nothing was changed" ;;
    esac
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Lines of: a command or file that must exist, and the package that has it.
needs() {
    cat <<'LIST'
qemu-system-x86_64 qemu-system-x86
qemu-img           qemu-utils
mmdebstrap         mmdebstrap
mke2fs             e2fsprogs
git                git
modprobe           kmod
mount              mount
xz                 xz-utils
/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
/etc/ssl/certs/ca-certificates.crt ca-certificates
LIST
    # Environments are built in a user namespace where hostd is not root.
    [ "$(id -u)" = 0 ] || echo "newuidmap uidmap"
    [ "$1" != run ] || return 0
    cat <<'LIST'
cc                 gcc
/usr/include/stdio.h libc6-dev
jq                 jq
LIST
    [ "$1" != demo ] || return 0
    cat <<'LIST'
shellcheck         shellcheck
c++                g++
python3            python3
useradd            passwd
/bin/busybox       busybox-static
systemd-analyze    systemd
newuidmap          uidmap
LIST
    [ "$1" = benches ] || return 0
    cat <<'LIST'
ssh                openssh-client
virsh              libvirt-clients
libvirtd           libvirt-daemon
/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so libvirt-daemon-driver-qemu
LIST
}

missing_packages() {
    local thing package
    while read -r thing package; do
        case $thing in
            /*) [ -e "$thing" ] || echo "$package" ;;
            *) have "$thing" || echo "$package" ;;
        esac
    done < <(needs "$1")
}

# The version of a package that apt would install; nothing where there is none.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -vx '(none)' || true; }

# Nothing is ever removed. Where qemu-utils is installed from a newer release than the qemu-system-x86 on offer, the two
# exclude each other, and qemu-utils has to step back to the same version.
install_packages() {
    may_install "$@"
    # Asks for the password before something moves over the question.
    [ "$(id -u)" = 0 ] || sudo --validate
    during "refreshing apt's lists" as_root apt-get update -qq
    local arguments=(install -y -qq --no-install-recommends --no-remove "$@")
    local version
    version=$(candidate qemu-system-x86)
    if [[ " $* " = *" qemu-system-x86 "* ]] && ! apt-get --simulate "${arguments[@]}" >/dev/null 2>&1; then
        say "apt cannot install these beside the installed qemu-utils; it goes back to $version, as qemu-system-x86"
        arguments+=(--allow-downgrades "qemu-utils=$version")
    fi
    during "installing $*" as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 "${arguments[@]}"
}

setup_packages() {
    local packages
    mapfile -t packages < <(missing_packages "$1" | sort -u)
    [ ${#packages[@]} -gt 0 ] || return 0
    have apt-get || fail "this machine has no apt-get; install the equivalent of: ${packages[*]}"
    install_packages "${packages[@]}"
    mapfile -t packages < <(missing_packages "$1" | sort -u)
    [ ${#packages[@]} -eq 0 ] || fail "still missing after apt-get install: ${packages[*]}"
}

# version_at_least WANTED GIVEN
version_at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

rust_is_good() {
    have cargo && have rustc && version_at_least "$rust_needed" "$(rustc --version 2>/dev/null | cut -d ' ' -f 2)"
}

# From Debian 13 on it is a package. Before, its own installer brings it, into the home folder.
install_rustup() {
    [ -n "$(candidate rustup)" ] || as_root apt-get update -qq 2>/dev/null || true
    if [ -n "$(candidate rustup)" ]; then
        install_packages rustup
        return 0
    fi
    local answer address=https://sh.rustup.rs
    say "Rust $rust_needed or newer is missing, and apt has no rustup; its own installer is at $address"
    if [ "$(id -u)" != 0 ]; then
        [ -t 0 ] || fail "install rustup as https://rustup.rs says, then start again"
        read -rp "setup: fetch it and run it for $(id -un)? [y/N] " answer
        case $answer in
            y | Y | yes) ;;
            *) fail "nothing was changed" ;;
        esac
    fi
    have curl || install_packages curl
    local installer
    installer=$(mktemp)
    # Whole before any of it runs.
    curl --proto '=https' --tlsv1.2 --fail --silent --show-error --location --output "$installer" "$address" ||
        fail "the installer of rustup cannot be fetched from $address; what curl says stands above"
    sh "$installer" -y --quiet --no-modify-path --default-toolchain none || fail "rustup could not be installed"
    rm -f "$installer"
}

setup_rust() {
    if ! rust_is_good; then
        have rustup || install_rustup
        have rustup || fail "rustup was installed, but is not on PATH"
        say "installing Rust $rust_tried with rustup"
        rustup toolchain install "$rust_tried" --profile minimal --component clippy --component rustfmt ||
            fail "rustup could not install Rust; what it says stands above"
        rustup default "$rust_tried"
        rust_is_good || fail "the Rust on PATH ($(command -v cargo)) is older than $rust_needed; remove it or put rustup's first"
    fi
    if [ "$1" != demo ] && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
        rustup component add clippy rustfmt || fail "cargo fmt and cargo clippy are missing; install rustfmt and clippy"
    fi
}

setup_deny() {
    ! cargo deny --version >/dev/null 2>&1 || return 0
    say "building cargo-deny $deny_version into $tools (some minutes, once)"
    # Without optimisation: it runs for seconds and builds in a third of the time.
    during "building cargo-deny" env "CARGO_TARGET_DIR=$tools/build" \
        cargo install --locked --debug --root "$tools" cargo-deny@$deny_version
    rm -rf "$tools/build"
}

# A container registry for the tests: out of its package, which is not installed, for that would start a service.
setup_registry() {
    ! have docker-registry || return 0
    local folder
    folder=$(mktemp -d)
    (cd "$folder" && during "fetching docker-registry" apt-get download -qq docker-registry) ||
        fail "apt cannot fetch the package docker-registry; run apt-get update as root, then start again"
    dpkg-deb -x "$folder"/docker-registry_*.deb "$folder/tree"
    mkdir -p "$tools/bin"
    install -m 755 "$folder/tree/usr/bin/docker-registry" "$tools/bin/docker-registry"
    rm -rf "$folder"
}

only_names=no
if [ "${1-}" = --packages ]; then
    only_names=yes
    shift
fi
what=${1:-tests}
case $what in
    run | demo | tests | benches) ;;
    *) sed -n '3,5s/^# //p' "$0" >&2; exit 2 ;;
esac
if [ $only_names = yes ]; then
    needs "$what" | awk '{ print $2 }' | sort -u
    exit 0
fi
setup_packages "$what"
[ "$what" != run ] || exit 0
setup_rust "$what"
[ "$what" != demo ] || exit 0
setup_registry
setup_deny
