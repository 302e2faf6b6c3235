# The part of demos/agent.sh that plays one agent after the other, each by one change of the repository and one long answer that a
# suspend cuts; sourced by it.
# shellcheck shell=bash
# shellcheck disable=SC2154  # data, port and bin are agent.sh's

# What each is asked first and then, and what the end of the second answer has in it.
first="Write a note about the shop into NOTES.md"
second="Now count to thirty"
counted=COUNTED-TO-THE-END
# Seconds for which it stays on disk.
away=60

# A line for each change of the session's state, until CONDITION (a command) holds; answers what asks for a permission.
# observe ID SECONDS WHAT CONDITION...
observe() {
    local id=$1 deadline=$((SECONDS + $2)) what=$3 now before='' lifecycle word attention reason resident
    shift 3
    while ! "$@"; do
        IFS=$'\x1f' read -r lifecycle word attention reason resident < <(pilothouse show --json "$id" |
            jq -r '[.lifecycle, .word, .attention, .reason, .resident_bytes] | join("\u001f")')
        [ "$resident" -le "$most" ] || most=$resident
        now="$lifecycle $word"
        if [ "$now" != "$before" ]; then
            before=$now
            say "$(printf '%-20s %-10s turn: %-7s %s' "${slugs[$id]}" "$lifecycle" "$attention" "$reason")"
        fi
        case $lifecycle in crashed | stopped) show_trouble "$id" && fail "${slugs[$id]}: $reason" ;; esac
        permit "$id" "$word"
        [ $SECONDS -lt $deadline ] || { show_trouble "$id" && cat "$data/model.log" >&2 && fail "${slugs[$id]}: never $what"; }
        sleep 0.5
    done
}

# permit ID WORD: answers what asks for a permission, once: as its state says, or else as its screen does.
permit() {
    [ -z "$permitted" ] || return 0
    [ -n "${yes[$name]-}" ] || return 0
    [ "$2" = permission ] || shows "$1" "${asks[$name]}" || return 0
    say "$(printf '%-20s asks for a permission: pressing %s' "${slugs[$1]}" "${yes[$name]}")"
    permitted=yes
    local keys=() key
    for key in ${yes[$name]}; do keys+=(--key "$key"); done
    pilothouse send "$1" "${keys[@]}"
}

# shows ID PATTERN: whether its terminal has shown that. All of it is read: who stops at the first match ends the writer by
# a signal, which counts as a failure. Programs draw lines over others by carriage returns.
shows() { [ "$(pilothouse log "$1" | sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' | tr '\r' '\n' | grep -cE "$2")" -gt 0 ]; }
asked() { [ "$(grep -cE ' POST .*(responses|messages|completions|streamGenerateContent)' "$data/model.log")" -gt "$1" ]; }
noted() { pilothouse exec "$1" -- test -s NOTES.md; }
rests() { [ "$(pilothouse show --json "$1" | jq -r .activity)" != working ] || [ "$name" = shell ] || shows "$1" 'that was my task'; }
runs() { [ "$(pilothouse show --json "$1" | jq -r .lifecycle)" = running ]; }

# How each is seen to ask where it says nothing of itself, and what is pressed then.
declare -A asks=([gemini]='Apply this change' [qwen]='Apply this change')
declare -A yes=([gemini]=1 [qwen]=1)

# The seconds of a command that ends, with a tenth.
timed() {
    local from=${EPOCHREALTIME/[.,]/}
    "$@" >/dev/null
    local tenths=$(((${EPOCHREALTIME/[.,]/} - from) / 100000))
    took="$((tenths / 10)).$((tenths % 10))"
}

# play_one NAME: a row of the table.
play_one() {
    local name=$1 id permitted='' most=0 before booted start suspended resumed disk stream=- took version
    ids=()
    dispatch "$name" "$name" "$first"
    id=${ids[0]}
    observe "$id" 300 "running" runs "$id"
    booted=${EPOCHREALTIME/[.,]/}
    if [ "$name" = shell ]; then
        pilothouse send "$id" "echo The shop sells widgets. >NOTES.md"
        start=-
    else
        observe "$id" 900 "at its model" asked "$requests"
        start=$(((${EPOCHREALTIME/[.,]/} - booted) / 100000))
        start="$((start / 10)).$((start % 10))"
    fi
    observe "$id" 600 "done with its note" noted "$id"
    observe "$id" 120 "at rest" rests "$id"
    version=$(pilothouse exec "$id" -- "$name" --version 2>/dev/null | head -n 1) || version=
    [ "$name" != shell ] || version=$(pilothouse exec "$id" -- bash --version | head -n 1)
    say "${slugs[$id]} has written its note; ${version:-it says nothing of its version}"
    pilothouse diff "$id" | plain | sed 's/^/            /'
    timed pilothouse suspend "$id" && suspended=$took
    disk=$(($(pilothouse show --json "$id" | jq .suspended_bytes) >> 20))
    timed pilothouse resume "$id" && resumed=$took
    [ "$name" = shell ] || cut_stream
    rows+=("$name|${version:0:30}|$start|$((most >> 20))|$disk|$suspended|$resumed|${permitted:-no}|$stream")
    pilothouse rm --yes "$id" >/dev/null
}

# Asks for the long answer, puts the session to disk in the middle of it, and waits for its end.
cut_stream() {
    before=$(grep -c . "$data/model.log")
    requests=$(grep -cE ' POST .*(responses|messages|completions|streamGenerateContent)' "$data/model.log")
    pilothouse send "$id" "$second"
    observe "$id" 300 "at its model again" asked "$requests"
    sleep 5
    timed pilothouse suspend "$id"
    say "${slugs[$id]} was suspended in the middle of an answer, for $away s"
    sleep "$away"
    timed pilothouse resume "$id"
    local from=$SECONDS
    if (observe "$id" 400 "at the end of its answer" shows "$id" "$counted"); then
        stream="whole after $((SECONDS - from)) s, $(($(tail -n +$((before + 1)) "$data/model.log" | grep -c ' 200, ') - 1)) more requests"
    else
        stream="not whole within 400 s"
        broken+=("$name")
    fi
    say "${slugs[$id]}: $stream"
}

play_each() {
    local name requests=0 rows=() broken=() row
    for name in "${environments[@]}"; do
        requests=$(grep -cE ' POST .*(responses|messages|completions|streamGenerateContent)' "$data/model.log") || true
        play_one "$name"
    done
    printf '\n%s\n' "seconds: VM running to first request, suspend, resume; MiB: memory, on disk; asked: for a permission"
    for row in "agent|version|1st request|memory|on disk|suspend|resume|asked|answer cut for $away s" "${rows[@]}"; do
        # shellcheck disable=SC2059
        IFS='|' read -ra row <<<"$row" && printf '%-9s %-30s %11s %7s %7s %7s %7s %6s  %s\n' "${row[@]}"
    done
    [ ${#broken[@]} -eq 0 ] || fail "not whole after a suspend in the middle of it: ${broken[*]}"
    ids=()
    prove_nothing_left
    say "the demo passed"
}
