#!/usr/bin/env bash
# Passes on what test programs print, but for the tests that pass, and says at the end which ten took the longest.
# Usage: cargo test ... | tests/slowest.sh THREADS     as many as RUST_TEST_THREADS is for the tests: more than one
# Stable libtest measures no test, but tells when one ends; and it takes them by name, each as soon as an earlier one ends. So the
# times here are true to the moment in which a line is read.
set -euo pipefail
LC_ALL=C
threads=$1
taken=()
declare -A ended=()

# What a program's tests took: the first began with it, the others in turn when one had ended.
take() {
    local name began number=0
    while read -r name; do
        began=$start
        [ $number -lt "$threads" ] || began=${ends[number - threads]}
        taken+=("$((ended[$name] - began)) $name")
        number=$((number + 1))
    done < <(printf '%s\n' "${!ended[@]}" | sort)
}

while IFS= read -r line; do
    now=${EPOCHREALTIME/[.,]/}
    case $line in
        'running '*' test' | 'running '*' tests')
            start=$now ends=() ended=()
            continue
            ;;
        'test result: '*) [ ${#ends[@]} -eq 0 ] || take ;;
        'test '*' ... '*)
            name=${line#test }
            ends+=("$now")
            ended[${name%% ... *}]=$now
            case $line in *' ... ok') continue ;; esac
            ;;
        '') continue ;;
    esac
    printf '%s\n' "$line"
done
[ ${#taken[@]} -gt 0 ] || exit 0
echo "The slowest of ${#taken[@]} tests:"
printf '%s\n' "${taken[@]}" | sort --numeric-sort --reverse | while read -r microseconds name; do
    printf '%7d.%d s  %s\n' $((microseconds / 1000000)) $((microseconds / 100000 % 10)) "$name"
done | sed -n 1,10p
