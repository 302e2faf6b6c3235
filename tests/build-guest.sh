#!/usr/bin/env bash
# Builds the static pilothouse-guest and puts it where hostd looks for it: beside its own binary.
# Usage: tests/build-guest.sh [FOLDER ...]   default: target/release target/debug
set -euo pipefail
cd "$(dirname "$0")/.."
triple=x86_64-unknown-linux-gnu
target=${CARGO_TARGET_DIR:-target}
# Only the guest is linked statically: with --target the flags do not reach build scripts.
CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --profile guest --target "$triple" -p pilothouse-guest
[ $# -gt 0 ] || set -- "$target/release" "$target/debug"
for folder in "$@"; do
    mkdir -p "$folder"
    # Under a name of its own: cargo puts the dynamic one, which cannot be /init, where it likes.
    install -m 755 "$target/$triple/guest/pilothouse-guest" "$folder/pilothouse-guest-static"
done
