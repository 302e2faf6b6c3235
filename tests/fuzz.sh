#!/usr/bin/env bash
# Builds the fuzz targets in fuzz/src/bin and lets each run for some seconds, as many at a time as there are processors. A
# crash, an input that takes ten seconds, or one that takes a GiB fails it; the input is kept, and its path printed.
# Usage: tests/fuzz.sh [SECONDS [TARGET...]]     default: 3 seconds each, all of them
# Without SECONDS it starts from one seed, as property tests do, so that a tree that has passed passes again; else from another
# each time.
# One input again: target/release/examples/TARGET FILE
set -euo pipefail
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"
cd "$root/fuzz"
seconds=${1:-3}
# libFuzzer takes 0 as "any".
[ $# -gt 0 ] && seed=0 || seed=1
targets=("${@:2}")
built=$CARGO_TARGET_DIR/release/examples
kept=$CARGO_TARGET_DIR/fuzz

# This tree's crates are compiled for it, with coverage counters and debug assertions; what they depend on is what is tested and
# shipped, and compiled once. Of hostd it is compilation that takes the time, of the others their running, too.
build() {
    local crate options=()
    for crate in "${crates[@]}"; do
        options+=(--config "profile.release.package.$crate.debug-assertions=true"
            --config "profile.release.package.$crate.debug=false" --config "profile.release.package.$crate.opt-level=1")
    done
    options+=(--config profile.release.package.hostd.opt-level=0)
    for target in "${targets[@]}"; do options+=(--example "$target"); done
    # From the tree's root, where cargo knows all packages by name.
    (cd "$root" && RUSTC_WORKSPACE_WRAPPER=tests/instrument.sh cargo build --quiet --release --locked --workspace \
        --features pilothouse-fuzz/targets "${options[@]}")
}

# fuzz SECONDS TARGET: what it finds beside the seeds is kept in target/fuzz, for the next time.
fuzz() {
    local seconds=$1 target=$2 log=$kept/log/$2
    mkdir -p "$kept/corpus/$target" "artifacts/$target" "$scratch/$target"
    local seeds=(corpus/"$target")
    [ -d "${seeds[0]}" ] || seeds=()
    if TMPDIR=$scratch/$target "$built/$target" -seed="$seed" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="artifacts/$target/" "$kept/corpus/$target" "${seeds[@]}" >"$log" 2>&1; then
        printf '%-14s %s\n' "$target" "$(grep '^Done ' "$log")"
    else
        printf '%-14s FAILED\n' "$target"
        grep -v '^#' "$log" | tail -n 40
        sed -n "s|^artifact_prefix.*Test unit written to |input: $PWD/|p" "$log"
        return 1
    fi
}

[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .rs src/bin/*.rs)
build
mkdir -p "$kept/log"
scratch=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" pilothouse-fuzz-XXXXXX)
trap 'rm -rf "$scratch"' EXIT
export -f fuzz
export built kept scratch seed
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -euo pipefail -c 'fuzz "$@"' fuzz "$seconds"
