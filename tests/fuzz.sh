#!/usr/bin/env bash
# Builds the fuzz targets in fuzz/src/bin and lets each run for some seconds, as many at a time as there are processors. A
# crash, an input that takes ten seconds, or one that takes a GiB fails it; the input is kept, and its path printed.
# Usage: tests/fuzz.sh [SECONDS [TARGET...]]     default: 3 seconds each, all of them
# One input again: fuzz/target/x86_64-unknown-linux-gnu/debug/TARGET FILE
set -euo pipefail
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"
cd "$root/fuzz"
seconds=${1:-3}
targets=("${@:2}")
triple=x86_64-unknown-linux-gnu
built=target/$triple/debug

# As cargo-fuzz builds them, but for its sanitizer, which needs a nightly compiler: there is next to no `unsafe` to be caught.
# With --target the flags do not reach build scripts.
build() {
    local flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
    flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
    flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
    CARGO_TARGET_DIR=target RUSTFLAGS=$flags cargo build --quiet --locked --target "$triple" --bins
}

# fuzz SECONDS TARGET: what it finds beside the seeds is kept in target/corpus, for the next time.
fuzz() {
    local seconds=$1 target=$2 log=target/log/$2
    mkdir -p "target/corpus/$target" "artifacts/$target" "$scratch/$target"
    local seeds=(corpus/"$target")
    [ -d "${seeds[0]}" ] || seeds=()
    if TMPDIR=$scratch/$target "$built/$target" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="artifacts/$target/" "target/corpus/$target" "${seeds[@]}" >"$log" 2>&1; then
        printf '%-14s %s\n' "$target" "$(grep '^Done ' "$log")"
    else
        printf '%-14s FAILED\n' "$target"
        grep -v '^#' "$log" | tail -n 40
        sed -n "s|^artifact_prefix.*Test unit written to |input: $PWD/|p" "$log"
        return 1
    fi
}

build
mkdir -p target/log
scratch=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" pilothouse-fuzz-XXXXXX)
trap 'rm -rf "$scratch"' EXIT
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .rs src/bin/*.rs)
export -f fuzz
export built scratch
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -euo pipefail -c 'fuzz "$@"' fuzz "$seconds"
