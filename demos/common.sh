# What demos/fleet.sh and demos/agent.sh share; sourced by them.
# shellcheck shell=bash
# shellcheck source=tests/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../tests/common.sh"

hostd_pid='' hostd_start=''
ids=()
declare -A slugs=()
data='' headless=no clean=no bin=$CARGO_TARGET_DIR/release built=no

# options NAME ARGUMENT...: sets data, headless, clean, bin and built. NAME is of the folder that is used where none is given.
options() {
    local script=${0##*/}
    data=${XDG_DATA_HOME:-$HOME/.local/share}/$1
    shift
    while [ $# -gt 0 ]; do
        case $1 in
            --headless) headless=yes ;;
            --data) [ $# -ge 2 ] || { echo "$script: --data needs a folder" >&2; exit 2; }; data=$2; shift ;;
            --bin) [ $# -ge 2 ] || { echo "$script: --bin needs a folder" >&2; exit 2; }; bin=$(realpath "$2") built=yes; shift ;;
            --clean) clean=yes ;;
            -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
            *) echo "$script: $1 is not an option; --help lists them" >&2; exit 2 ;;
        esac
        shift
    done
    if [ $clean$headless = nono ] && ! { [ -t 0 ] && [ -t 1 ]; }; then
        echo "$script: the console needs a terminal; --headless plays without one" >&2
        exit 2
    fi
    # Nobody else's to read: repositories, disks and logs are in it.
    (umask 077 && mkdir -p "$data")
    data=$(realpath "$data")
    export PILOTHOUSE_HOST=unix:$data/hostd.sock
}

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

# What a demo has started beside hostd; overridden by those that have.
end_own() { :; }

# Whatever happened: sessions deleted, hostd ended, no VM left.
end_all() {
    local code=$?
    trap '' INT TERM
    trap - EXIT
    set +e
    end_ticker
    if [ -n "$hostd_pid" ] && still_runs "$hostd_pid" "$hostd_start"; then
        during "ending the sessions and their microVMs" end_sessions
    fi
    rm -f "$data/hostd.process"
    end_vms
    end_own
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
    setsid "$bin/hostd" serve --stop-vms --data "$data" --listen "unix:$data/hostd.sock" >"$data/hostd.log" 2>&1 9>&- &
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

# Builds hostd, pilothouse and the guest's program, unless --bin says where they are.
build() {
    [ $built = no ] || return 0
    say "building (the first time takes some minutes)"
    during "building hostd and pilothouse" \
        cargo build --release --locked --workspace --exclude pilothouse-guest --bins --manifest-path "$root/Cargo.toml"
    during "building the guest's program" "$root/tests/build-guest.sh" "$bin"
}

# Removes what an earlier run left: its sessions, and their branches.
forget() {
    local id
    for id in $(pilothouse ls --json | jq -r '.[].id'); do pilothouse rm --yes "$id" >/dev/null; done
    git -C "$data/git/widgets.git" for-each-ref --format='delete %(refname)' refs/heads/agent |
        git -C "$data/git/widgets.git" update-ref --stdin
}

# dispatch ENVIRONMENT TITLE TASK: starts a session, whose id is added to ids.
dispatch() {
    local id
    id=$(pilothouse new --env "$1" --title "$2" "$3")
    ids+=("$id")
    slugs[$id]=$(pilothouse show --json "$id" | jq -r .slug)
    say "dispatched ${slugs[$id]}: $3"
}

# play_or_open: the part without a terminal (`play`), or the console.
play_or_open() {
    if [ $headless = yes ]; then
        play
        return 0
    fi
    say "opening the console; ? lists its keys, q leaves"
    PILOTHOUSE_ENDS_WITH_CONSOLE="This is a demo: its sessions are deleted and their microVMs end with the console." \
        pilothouse || fail "the console ended with an error"
    echo "Kept for the next run: $data ($(du -sh "$data" 2>/dev/null | cut -f 1)); $0 --clean removes it."
}

# begin: cleans up and ends where that was asked for, else takes the folder; what was started ends with the script.
begin() {
    if [ $clean = yes ]; then
        remove_all
        exit 0
    fi
    lock
    trap end_all EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# Every suspend and every wake of a session, from hostd's log: no change is too quick for that.
history() {
    local lines
    lines=$(plain <"$data/hostd.log" | grep -F "slug=\"$1\"" | grep -E 'to="(suspended|resuming)"' || true)
    grep -q 'to="suspended"' <<<"$lines" || fail "$1 was never suspended while it waited"
    say "$1 on disk and back:"
    sed -E 's/^([^ ]*T)?([0-9:]{8})[^ ]*.*to="([a-z]+)".*reason="(.*)"$/              \2  \3  \4/' <<<"$lines"
}

show_trouble() {
    echo "--- its terminal:"
    pilothouse log "$1" | tail -n 40
    echo "--- its serial console:"
    pilothouse log --serial "$1" | tail -n 40
    echo "--- hostd:"
    tail -n 40 "$data/hostd.log"
} >&2

# plain: without the escape sequences of a terminal.
plain() { sed -e 's/\x1b\[[0-9;?]*[A-Za-z]//g' -e 's/\r$//' -e 's/.*\r//'; }

# prove_story ID EVENT...: what happened to a session, when, and by whom; these must be among it.
prove_story() {
    local id=$1 story what
    shift
    story=$(pilothouse events "$id")
    say "the story of ${slugs[$id]}:"
    printf '%s\n' "            ${story//$'\n'/$'\n'            }"
    for what in "$@"; do
        grep -qE "^[^ ]+ +[a-z].* $what " <<<"$story" || fail "the story does not tell that it was $what"
    done
}

# prove_merged: all of them are merged, and the checks pass in a checkout of what they came to together.
prove_work() {
    local widgets=$data/git/widgets.git checkout merged
    merged=$(pilothouse review ls --all --json |
        jq '[.[] | select(.state == "merged" and (.session | IN($ARGS.positional[])))] | length' --args "${ids[@]}")
    [ "$merged" -eq ${#ids[@]} ] || fail "$merged of ${#ids[@]} pull requests are merged"
    say "main of the repository, with all $merged pull requests merged:"
    git -C "$widgets" log --oneline --graph main | sed 's/^/            /'
    [ -z "$(git -C "$widgets" for-each-ref refs/heads/agent)" ] || fail "branches are left of merged pull requests"
    checkout=$(mktemp -d)
    git -C "$widgets" archive main | tar -x -C "$checkout"
    "$checkout/ci" >"$checkout/output" || { cat "$checkout/output" >&2; fail "the checks of main fail"; }
    rm -rf "$checkout"
    say "its checks pass"
}

prove_nothing_left() {
    local id
    for id in "${ids[@]}"; do pilothouse rm --yes "$id" >/dev/null; done
    [ "$(pilothouse ls --json)" = "[]" ] || fail "sessions are left after they were deleted"
    # One that stands ready for a session to come is hostd's, and ends with it.
    [ -z "$(vms "$data/sessions")" ] || fail "VMs are left of deleted sessions: $(vms "$data/sessions")"
    [ -z "$(ls -A "$data/sessions")" ] || fail "files are left of deleted sessions: $(ls "$data/sessions")"
    say "all sessions deleted; no VM and no file of them is left"
}
