# Shared by tests/run.sh, tests/setup.sh and demos/fleet.sh; sourced.
# Sets root (of the tree) and tools (where setup.sh keeps what it builds), and puts the tools on PATH.
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${XDG_CACHE_HOME:-$HOME/.cache}/pilothouse/tools
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:$tools/bin:/usr/sbin:/sbin
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

have() { command -v "$1" >/dev/null 2>&1; }

# process_start PID: when it started, in clock ticks since boot; with the pid it names a process for good.
process_start() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The name in the second field may contain anything, so cut after its last bracket.
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    [ "$1" != Z ] && echo "${20}"
}

# still_runs PID START: whether that very process runs.
still_runs() { [ "$(process_start "$1")" = "$2" ]; }

# end_process PID START: TERM, then after ten seconds KILL; waits until it is gone. Another process with the pid is spared.
end_process() {
    local tries=0
    while still_runs "$1" "$2"; do
        case $tries in
            0) kill -TERM "$1" 2>/dev/null ;;
            100) kill -KILL "$1" 2>/dev/null ;;
            200) return 1 ;;
        esac
        tries=$((tries + 1))
        sleep 0.1
    done
}

# users_of FOLDER: pids of processes that have a file in it open.
users_of() {
    find /proc/[0-9]*/fd -maxdepth 1 -lname "$(realpath "$1")/*" 2>/dev/null | cut -d / -f 3 | sort -un
}
