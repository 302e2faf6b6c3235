#!/usr/bin/env bash
# The main job in one command: sets the machine up, builds, bakes the demo environment, starts a hostd, gives four
# sessions of the scripted agent their tasks, each in a microVM of its own, and opens the console on them.
#
# Usage: demos/fleet.sh [--headless] [--data DIR] [--clean]
#   --headless   without a terminal: prints a transcript, proofs and a table; exit code 0 only if all of it happened
#   --data DIR   where kernel, images, repository and sessions go; default: pilothouse-demo in the XDG data folder
#   --clean      removes that folder, and does nothing else
# Ends everything that it started, whatever happens. What took long to make is kept for the next run.
set -euo pipefail
# shellcheck source=tests/common.sh
source "$(dirname "$0")/../tests/common.sh"

data=${XDG_DATA_HOME:-$HOME/.local/share}/pilothouse-demo
headless=no
clean=no
while [ $# -gt 0 ]; do
    case $1 in
        --headless) headless=yes ;;
        --data) [ $# -ge 2 ] || { echo "fleet.sh: --data needs a folder" >&2; exit 2; }; data=$2; shift ;;
        --clean) clean=yes ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
        *) echo "fleet.sh: $1 is not an option; --help lists them" >&2; exit 2 ;;
    esac
    shift
done
if [ $clean$headless = nono ] && ! { [ -t 0 ] && [ -t 1 ]; }; then
    echo "fleet.sh: the console needs a terminal; --headless plays without one" >&2
    exit 2
fi
# Nobody else's to read: repositories, disks and logs are in it.
(umask 077 && mkdir -p "$data")
data=$(realpath "$data")
bin=$CARGO_TARGET_DIR/release
export PILOTHOUSE_HOST=unix:$data/hostd.sock
hostd_pid='' hostd_start=''
titles=("csv list" "round discount" "low stock" "widget pages")
tasks=("Give list a --csv option" "Fix the discount that loses a cent" "Say which widgets are low in stock"
    "Write a page about every widget")
ids=()
declare -A slugs=()

began=${EPOCHREALTIME/[.,]/}
# Seconds since the start, with a tenth.
now() {
    local tenths=$(((${EPOCHREALTIME/[.,]/} - began) / 100000))
    printf '%4d.%d s' $((tenths / 10)) $((tenths % 10))
}
say() { printf '%s  %s\n' "$(now)" "$*"; }
fail() {
    say "FAILED: $*" >&2
    exit 1
}
pilothouse() { "$bin/pilothouse" "$@"; }

# One demo a folder: the lock is let go when this script ends, however it ends.
lock() {
    # One that an older demo made may be open to others, and hostd would refuse it; what is not a demo's stays as it is.
    if [ -e "$data/.pilothouse-demo" ] || [ -z "$(ls -A "$data")" ]; then chmod 700 "$data"; fi
    exec 9>"$data/demo.lock"
    flock --nonblock 9 || fail "another demo runs in $data; quit it first, or use --data"
    touch "$data/.pilothouse-demo"
}

remove_all() {
    [ -e "$data/.pilothouse-demo" ] || { rmdir "$data" 2>/dev/null || fail "$data was not made by this demo"; return 0; }
    lock
    end_vms
    rm -rf "$data"
    echo "$data is gone."
}

# vms [FOLDER]: processes of VMs that have files open in it, as pids; default: the data folder.
vms() {
    local pid
    for pid in $(users_of "${1:-$data}"); do
        case $(readlink "/proc/$pid/exe") in */qemu-system-*) echo "$pid" ;; esac
    done
}

end_vms() {
    local pid
    for pid in $(vms); do end_process "$pid" "$(process_start "$pid")"; done
}

end_sessions() {
    local id
    for id in $(pilothouse ls --json 2>/dev/null | jq -r '.[].id'); do
        timeout 30 "$bin/pilothouse" rm --yes "$id"
    done
    end_process "$hostd_pid" "$hostd_start"
}

# Whatever happened: sessions deleted, hostd ended, no VM left.
end_all() {
    local code=$? id
    trap '' INT TERM
    trap - EXIT
    set +e
    end_ticker
    if [ -n "$hostd_pid" ] && still_runs "$hostd_pid" "$hostd_start"; then
        during "ending the sessions and their microVMs" end_sessions
    fi
    rm -f "$data/hostd.process"
    end_vms
    exit $code
}

# A hostd of a demo that was killed itself.
end_earlier() {
    local pid start
    if read -r pid start 2>/dev/null <"$data/hostd.process"; then end_process "$pid" "$start"; fi
    end_vms
}

start_hostd() {
    say "starting hostd on $data"
    setsid "$bin/hostd" serve --data "$data" --listen "unix:$data/hostd.sock" >"$data/hostd.log" 2>&1 9>&- &
    hostd_pid=$!
    hostd_start=$(process_start "$hostd_pid") || true
    echo "$hostd_pid $hostd_start" >"$data/hostd.process"
    local tries
    for tries in {1..100}; do
        if pilothouse host ls >/dev/null 2>&1; then return 0; fi
        still_runs "$hostd_pid" "$hostd_start" || break
        sleep 0.1
    done
    cat "$data/hostd.log" >&2
    fail "hostd did not come up within ${tries}00 ms"
}

dispatch() {
    # What an earlier run left: its sessions, and their branches.
    local id i
    for id in $(pilothouse ls --json | jq -r '.[].id'); do pilothouse rm --yes "$id" >/dev/null; done
    git -C "$data/git/widgets.git" for-each-ref --format='delete %(refname)' refs/heads/agent |
        git -C "$data/git/widgets.git" update-ref --stdin
    for i in "${!tasks[@]}"; do
        id=$(pilothouse new --env demo --title "${titles[i]}" "${tasks[i]}")
        ids+=("$id")
        slugs[$id]=$(pilothouse show --json "$id" | jq -r .slug)
        say "dispatched ${slugs[$id]}: ${tasks[i]}"
    done
}

prepare() {
    "$root/tests/setup.sh" demo
    say "building (the first time takes some minutes)"
    during "building hostd and pilothouse" \
        cargo build --release --locked --workspace --exclude pilothouse-guest --bins --manifest-path "$root/Cargo.toml"
    during "building the guest's program" "$root/tests/build-guest.sh" "$bin"
    end_earlier
    during "importing the repository" "$root/demos/import-widgets.sh" "$data"
    start_hostd
    say "baking the environment demo (the first time fetches a kernel and a Debian)"
    pilothouse env build demo
    dispatch
}

# shellcheck source=demos/headless.sh
source "$root/demos/headless.sh"

if [ $clean = yes ]; then
    remove_all
    exit 0
fi
lock
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
prepare
if [ $headless = yes ]; then
    play
else
    say "opening the console; ? lists its keys, q leaves"
    PILOTHOUSE_ENDS_WITH_CONSOLE="This is a demo: its sessions are deleted and their microVMs end with the console." \
        pilothouse || fail "the console ended with an error"
    echo "Kept for the next run: $data ($(du -sh "$data" 2>/dev/null | cut -f 1)); demos/fleet.sh --clean removes it."
fi
