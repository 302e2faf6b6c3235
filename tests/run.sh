#!/usr/bin/env bash
# Sets the machine up and runs everything that checks this tree: format, lints, docs, dependencies, tests of every crate,
# end to end with real microVMs, and the demo. Goes on after a failing step; exit code 0 only if every step passed.
# Usage: tests/run.sh [STEP...]     steps: see `steps` below; setup always runs
set -euo pipefail
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"
cd "$root"
steps=(format shell lints docs dependencies build fuzz units faults tests user debian13 boots demo)
failed=()
table=()
child='' child_start=''

step_format() { cargo fmt --all --check; }
step_shell() { git ls-files -z '*.sh' .ci/run demos/widgets/ci demos/widgets/bin demos/widgets/tools ':!demos/widgets/tests' | xargs -0 shellcheck -x; }
# In release too: what it makes of proc macros, build scripts and SQLite serves the build as well.
step_lints() { cargo clippy --release --locked --workspace --all-targets --quiet -- -D warnings && cargo clippy --release --locked --workspace --test boots --quiet -- -D warnings; }
step_docs() { RUSTDOCFLAGS=-Dwarnings cargo doc --release --locked --workspace --no-deps --quiet; }
step_dependencies() {
    cargo deny --locked check --hide-inclusion-graph bans licenses sources
    # Advisories come from the net: known ones fail, an unreachable database is said and not held against the tree.
    if cargo deny --locked fetch db 2>"$CARGO_TARGET_DIR/advisories.log"; then
        cargo deny --locked check --hide-inclusion-graph advisories
    else
        echo "NOT CHECKED: the advisory database could not be fetched: $(grep -m 1 -i error "$CARGO_TARGET_DIR/advisories.log")"
    fi
}
step_build() {
    cargo build --release --locked --workspace --quiet
    CARGO_TERM_QUIET=true tests/build-guest.sh "$CARGO_TARGET_DIR/release"
}
step_fuzz() { tests/fuzz.sh; }
# Tests of one crate by itself, hostd's with its failpoints, which are not in what is shipped. Unoptimized, for to optimize takes
# longer than to run them; and none that runs the program `pilothouse`, which would be built so. Property tests start from one
# seed: a tree that has passed passes again. Another one is tried by the variable, or by `cargo test`.
units() {
    export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}
    local crate unoptimized=()
    for crate in pilothouse-proto pilothouse-text hostd-core hostd pilothouse-guest tui-core pilothouse; do
        unoptimized+=(--config "profile.release.package.$crate.opt-level=0")
    done
    cargo test --release --locked --workspace --exclude tests --lib --bins --test supervisor --quiet --features hostd/failpoints \
        "${unoptimized[@]}" --no-fail-fast -- "$@"
}
step_units() { units --skip faults; }
# hostd dies at each named point. Alone, because a failpoint is of the whole process.
step_faults() { units faults; }
# The programs that are shipped: the command line, and end to end with real VMs.
step_tests() { RUST_TEST_THREADS=${RUST_TEST_THREADS:-2} cargo test --release --locked --workspace --test cli --test e2e --quiet --no-fail-fast; }
# Some of those again: to a user who is not root, and on a minimal Debian 13 with that one's QEMU and kernel.
step_user() { tests/as-user.sh; }
step_debian13() { tests/debian13.sh; }
# Alone, because it loads the machine on purpose. A dozen boots; `just soak` makes it fifty.
step_boots() { cargo test --release --locked --quiet --workspace --test boots -- --nocapture; }
step_demo() { demos/fleet.sh --headless --data "$CARGO_TARGET_DIR/pilothouse-test-data/demo"; }

# What a step started ends with it, also on Ctrl-C: a step is its own process group, recorded by its leader.
end_step() {
    [ -n "$child" ] || return 0
    if still_runs "$child" "$child_start"; then
        kill -TERM -- "-$child" 2>/dev/null || true
        end_process "$child" "$child_start" || true
    fi
    child=''
}

run_step() {
    local began=$SECONDS code=0
    printf '\n=== %s\n' "$1"
    set -m
    (set -euo pipefail; "step_$1") </dev/null &
    child=$!
    set +m
    child_start=$(process_start "$child") || child_start=gone
    wait "$child" || code=$?
    end_step
    local word=passed
    [ $code -eq 0 ] || { word="FAILED ($code)"; failed+=("$1"); }
    table+=("$(printf '%-14s %-12s %4d s' "$1" "$word" $((SECONDS - began)))")
    printf '=== %s\n' "${table[-1]}"
}

trap end_step EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
began=$SECONDS
tests/setup.sh tests
table+=("$(printf '%-14s %-12s %4d s' setup passed $((SECONDS - began)))")
[ $# -eq 0 ] || steps=("$@")
for step in "${steps[@]}"; do
    declare -F "step_$step" >/dev/null || { echo "run.sh: no step is called $step" >&2; exit 2; }
done
for step in "${steps[@]}"; do run_step "$step"; done

printf '\n'
printf '%s\n' "${table[@]}"
printf '%-27s %4d s\n' total "$SECONDS"
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
echo "All passed."
