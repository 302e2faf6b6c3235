#!/usr/bin/env bash
# Sets the machine up and runs everything that checks this tree: format, lints, docs, dependencies, tests of every crate,
# end to end with real microVMs, and the demo. Goes on after a failing step; exit code 0 only if every step passed.
# Usage: tests/run.sh [STEP...]     steps: see `steps` below; setup always runs
set -euo pipefail
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"
cd "$root"
steps=(format shell lints guest docs dependencies build fuzz units faults tests user debian13 demo agent boots)
# What runs beside a step, one after the other: neither of the two keeps the processors busy by itself.
declare -A beside_of=([lints]="guest" [tests]="user debian13 demo agent")
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
step_guest() { CARGO_TERM_QUIET=true tests/build-guest.sh "$CARGO_TARGET_DIR/release"; }
step_build() {
    # The guest is built for itself.
    cargo build --release --locked --workspace --exclude pilothouse-guest --quiet
    step_guest
}
step_fuzz() { tests/fuzz.sh; }
# run_tests THREADS OPTION... -- OPTION...: runs test programs, that many tests at a time, and says which took the longest. Options
# of cargo's come first, then those of the programs'.
run_tests() {
    RUST_TEST_THREADS=$1 cargo test --release --locked --workspace --quiet --no-fail-fast "${@:2}" --format pretty |
        tests/slowest.sh "$1"
}
# Tests of one crate by itself, hostd's with its failpoints, which are not in what is shipped. Unoptimized, for to optimize takes
# longer than to run them; and none that runs the program `pilothouse`, which would be built so. Many at a time, for they wait
# more than they compute. Property tests start from one seed: a tree that has passed passes again. Another one is tried by the
# variable, or by `cargo test`.
units() {
    export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}
    local crate unoptimized=()
    for crate in "${crates[@]}"; do
        unoptimized+=(--config "profile.release.package.$crate.opt-level=0" --config "profile.release.package.$crate.debug=false")
    done
    run_tests "$1" --exclude tests --exclude pilothouse-fuzz --lib --bin pilothouse --test supervisor --features hostd/failpoints "${unoptimized[@]}" -- "${@:2}"
}
step_units() { units 6 --skip faults; }
# hostd dies at each named point. Alone, because a failpoint is of the whole process.
step_faults() { units 2 faults; }
# The programs that are shipped: the command line, and end to end with real VMs.
step_tests() { run_tests 2 --test cli --test e2e --; }
# Some of those again: to a user who is not root, and on a minimal Debian 13 with that one's QEMU and kernel.
step_user() { tests/as-user.sh; }
step_debian13() { tests/debian13.sh; }
# Alone, because it loads the machine on purpose. A dozen boots; `just soak` makes it fifty.
step_boots() { cargo test --release --locked --quiet --workspace --test boots -- --nocapture; }
# The stand-in for a model, and one real agent against it, from npm to its merge; the demo with two of them would take too long. Where
# npm or its registry is not there, that is said.
step_agent() {
    demos/model/test.py
    local code=0
    demos/agent.sh --headless --only codex --data "$CARGO_TARGET_DIR/pilothouse-test-data/demo" || code=$?
    # It has said why it did not run.
    [ $code -eq 69 ] || return $code
}
step_demo() { demos/fleet.sh --headless --data "$CARGO_TARGET_DIR/pilothouse-test-data/demo"; }

# What a step started ends with it, also on Ctrl-C: a step is its own process group, recorded by its leader.
end_step() {
    [ -n "$child" ] || return 0
    if still_runs "$child" "$child_start"; then
        kill -TERM -- "-$child" 2>/dev/null || true
        end_process "$child" "$child_start" || true
        # The first program of a name space takes no TERM, and unshare none while it runs.
        local tries=0
        while kill -0 -- "-$child" 2>/dev/null && [ $tries -lt 100 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
        kill -KILL -- "-$child" 2>/dev/null || true
    fi
    child=''
}

# Sets cpu to the seconds that the processors have worked for what this shell ran and waited for.
read_cpu() {
    local pid=$BASHPID stat
    stat=$(<"/proc/$pid/stat")
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    cpu=$(((${14} + ${15}) / $(getconf CLK_TCK)))
}

# row NAME WORD BEGAN CPU: a row of the table, of what began at that second with so many CPU seconds of this shell's.
row() {
    local cpu
    read_cpu
    printf '%-14s %-12s %4d s %5d s of CPU\n' "$1" "$2" $((SECONDS - $3)) $((cpu - $4)) >>"$table"
    printf '=== %s\n' "$(tail -n 1 "$table")"
}

run_step() {
    local began=$SECONDS cpu code=0
    read_cpu
    printf '\n=== %s\n' "$1"
    set -m
    (set -euo pipefail; "step_$1") </dev/null &
    child=$!
    set +m
    child_start=$(process_start "$child") || child_start=gone
    wait "$child" || code=$?
    end_step
    local word=passed
    [ $code -eq 0 ] || word="FAILED ($code)"
    row "$1" "$word" "$began" "$cpu"
}

# among WORD WORD...: whether the first is one of the others.
among() { case " ${*:2} " in *" $1 "*) ;; *) return 1 ;; esac; }

# begin_beside STEP...: what they print comes when all are over.
begin_beside() {
    [ $# -gt 0 ] || return 0
    beside_log=$(mktemp)
    (
        trap end_step EXIT
        trap 'exit 143' TERM
        for step in "$@"; do run_step "$step"; done
    ) >"$beside_log" 2>&1 &
    beside=$!
}

await_beside() {
    [ -n "$beside" ] || return 0
    wait "$beside" || true
    beside=''
    cat "$beside_log"
    rm -f "$beside_log"
}

end_all() {
    end_step
    [ -z "$beside" ] || kill -TERM "$beside" 2>/dev/null || true
    await_beside
    rm -f "$table"
}

table=$(mktemp)
beside='' beside_log=''
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
tests/setup.sh tests
row setup passed 0 0
[ $# -eq 0 ] || steps=("$@")
for step in "${steps[@]}"; do
    declare -F "step_$step" >/dev/null || { echo "run.sh: no step is called $step" >&2; exit 2; }
done
done_beside=()
for step in "${steps[@]}"; do
    ! among "$step" "${done_beside[@]}" || continue
    now_beside=()
    for other in ${beside_of[$step]-}; do
        ! among "$other" "${steps[@]}" || now_beside+=("$other")
    done
    done_beside+=("${now_beside[@]}")
    begin_beside "${now_beside[@]}"
    run_step "$step"
    await_beside
done

row total '' 0 0 >/dev/null
printf '\n'
cat "$table"
failed=$(awk '/ FAILED / { print $1 }' "$table" | paste -sd ' ')
if [ -n "$failed" ]; then
    echo "FAILED: $failed"
    exit 1
fi
echo "All passed."
