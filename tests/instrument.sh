#!/usr/bin/env bash
# The compiler of this tree's crates for tests/fuzz.sh; cargo gives it rustc and its arguments. As cargo-fuzz compiles, but for its
# sanitizer, which needs a nightly compiler: there is next to no `unsafe` to be caught. Build scripts have no fuzzer to be linked to.
case " $* " in *" --crate-name build_script_"*) exec "$@" ;; esac
exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
