# Shared by the scripts in tests/ and by the demos; sourced.
# Sets root (of the tree) and tools (where setup.sh keeps what it builds), and puts the tools on PATH.
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${XDG_CACHE_HOME:-$HOME/.cache}/pilothouse/tools
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:$tools/bin:/usr/sbin:/sbin
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

# The crates of this tree that have tests of their own.
# shellcheck disable=SC2034
crates=(pilothouse-proto pilothouse-text pilothouse-copy pilothouse-terminal hostd-core hostd-vm hostd-image hostd-forge hostd pilothouse-guest tui-core pilothouse)

have() { command -v "$1" >/dev/null 2>&1; }

ticker=''
# during TEXT COMMAND...: runs a command that may take a while. Where that is more than a second, says so with the time since:
# on a terminal in a line that moves and goes away, else in a line now and then; and in the end, where it took ten seconds.
# Shows the command's output only if it fails.
during() {
    local text=$1 log code=0 began=$SECONDS
    shift
    log=$(mktemp)
    tick "$text" "$log" "$$" 9>&- &
    ticker=$!
    "$@" >"$log" 2>&1 </dev/null || code=$?
    end_ticker
    [ $code -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    [ $((SECONDS - began)) -lt 10 ] || printf '%s took %d s\n' "$text" $((SECONDS - began)) >&2
    return $code
}

end_ticker() {
    [ -n "$ticker" ] || return 0
    # KILL, for it ignores TERM where the script did when it was started, as one does that cleans up.
    kill -KILL "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    ticker=''
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
}

# The moving line of `during`, for as long as the process of `during` is there.
tick() {
    local text=$1 log=$2 parent=$3 began=$SECONDS turn=0 marks='-=~=' line
    sleep 1
    while [ -e "/proc/$parent" ]; do
        if [ -t 2 ]; then
            line="${marks:turn++ % 4:1} $text, $((SECONDS - began)) s  $(tail -n 1 "$log" 2>/dev/null | tr -cd '[:print:]')"
            printf '\r%s\033[K' "${line:0:$(($(tput cols 2>/dev/null || echo 80) - 1))}" >&2
            sleep 0.2
        else
            printf '... %s, %d s  %s\n' "$text" $((SECONDS - began)) "$(tail -n 1 "$log" 2>/dev/null | tr -cd '[:print:]')" >&2
            sleep 20
        fi
    done
}

# Of the end-to-end tests those that show, on any machine and to any user, that the whole circle holds: doctor, new, suspend,
# resume, fork, diff.
# shellcheck disable=SC2034
anywhere=(doctor::goes_round_the_circle sessions::sessions_live_apart suspend::a_session_goes_on_where_it_was
    fork::a_suspended_session_is_forked diffs::a_session_shows_its_changes)

# test_program NAME: the file of a test of the crate `tests`, compiled where it is not. PILOTHOUSE_TEST_PROFILE: cargo's profile.
test_program() {
    cargo test --profile "${PILOTHOUSE_TEST_PROFILE:-release}" --locked --quiet --workspace --test "$1" --no-run \
        --manifest-path "$root/Cargo.toml" --message-format=json-render-diagnostics |
        jq --raw-output --arg name "$1" 'select(.target.name == $name) | .executable // empty'
}

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
