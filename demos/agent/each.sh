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
# Programs that say nothing of themselves: what they are seen to ask, and what is pressed then.
declare -A asks=([aider]='Createnewfile?') yes=([aider]="y Enter")

# asking FILE: the recipe of an environment, in which the agent asks before it writes.
asking() {
    sed -e 's/approval_policy = "never"/approval_policy = "untrusted"/' -e 's/"defaultMode": "acceptEdits", "allow": \["Bash"\]/"defaultMode": "default"/' \
        -e 's/^suspend = .*/suspend = { after = "30m" }/' "$1"
}

tenths() { echo $(((${EPOCHREALTIME/[.,]/} - dispatched) / 100000)); }
in_seconds() { [ -z "$1" ] && echo - || echo "$(($1 / 10)).$(($1 % 10))"; }

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
            before=$now words="$words $word "
            say "$(printf '%-20s %-10s turn: %-7s %s' "${slugs[$id]}" "$lifecycle" "$attention" "$reason")"
        fi
        case $lifecycle in crashed | stopped) show_trouble "$id" && fail "${slugs[$id]}: $reason" ;; esac
        [ -n "$drawn" ] || ! draws "$id" || drawn=$(tenths)
        [ -n "$token" ] || ! shows "$id" 'Iwriteit' || token=$(tenths)
        permit "$id" "$word"
        [ $SECONDS -lt $deadline ] || { show_trouble "$id" && tail -n 40 "$data/model.log" >&2 && fail "${slugs[$id]}: never $what"; }
        sleep 0.2
    done
}

# permit ID WORD: gives the permission that is asked for, once: from the list where the agent's state says so, else as its screen does.
permit() {
    [ -z "$permitted" ] || return 0
    if [ "$2" = permission ]; then
        say "$(printf '%-20s asks for a permission: %s' "${slugs[$1]}" "$(pilothouse show --json "$1" | jq -r '.permission.text // ""')")"
        pilothouse explain "$1" | sed 's/^/            /'
        ! pilothouse answer "$1" allow || permitted="list"
    elif [ -n "${asks[$name]-}" ] && shows "$1" "${asks[$name]}"; then
        say "$(printf '%-20s asks: pressing %s' "${slugs[$1]}" "${yes[$name]}")"
        local keys=() key
        for key in ${yes[$name]}; do keys+=(--key "$key"); done
        pilothouse send "$1" "${keys[@]}"
        permitted="keys"
    fi
}

# What its terminal has shown, without blanks: programs draw over lines by carriage returns, and words by moves of the cursor.
shown() { pilothouse log "$1" | sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' | tr '\r' '\n' | tr -d ' '; }
# shows ID TEXT. All of it is read: who stops at the first match ends the writer by a signal, which counts as a failure.
shows() { [ "$(shown "$1" | grep -cF "$2")" -gt 0 ]; }
draws() { [ "$(shown "$1" | wc -m)" -gt 40 ]; }
# Requests for what the script has of a task: not for titles and the like.
count_requests() { grep -cE ' POST .*, turn [0-9]+ of ' "$data/model.log" || true; }
asked() { [ "$(count_requests)" -gt "$1" ]; }
# Each but the shell is to ask before.
noted() { { [ -n "$permitted" ] || [ "$name" = shell ]; } && pilothouse exec "$1" -- test -s NOTES.md; }
runs() { [ "$(pilothouse show --json "$1" | jq -r .lifecycle)" = running ]; }
rests() {
    case $(pilothouse show --json "$1" | jq -r .word) in
        idle | done) ;;
        *) [ "$name" = shell ] || { [ -n "${asks[$name]-}" ] && shows "$1" 'thatwasmytask'; } ;;
    esac
}

# The seconds of a command that ends, with a tenth.
timed() {
    local from=${EPOCHREALTIME/[.,]/}
    "$@" >/dev/null
    local tenths=$(((${EPOCHREALTIME/[.,]/} - from) / 100000))
    took="$((tenths / 10)).$((tenths % 10))"
}

# play_one NAME: a row of the table.
play_one() {
    local name=$1 id permitted='' most=0 before dispatched drawn='' token='' words='' suspended resumed disk stream=- took version limit=-
    ids=()
    dispatched=${EPOCHREALTIME/[.,]/}
    dispatch "$name" "$name" "$first"
    id=${ids[0]}
    observe "$id" 300 "running" runs "$id"
    if [ "$name" = shell ]; then
        pilothouse send "$id" "echo The shop sells widgets. >NOTES.md"
    else
        observe "$id" 600 "at its model" asked "$requests"
    fi
    observe "$id" 300 "done with its note" noted "$id"
    observe "$id" 300 "at rest" rests "$id"
    if [ "$name" != shell ]; then
        limit=no
        case $words in *" limited "*) limit=seen ;; esac
        ! pilothouse events "$id" | grep -qE ' went-on ' || limit="told"
    fi
    version=$(pilothouse exec "$id" -- "$name" --version 2>/dev/null | head -n 1) || version=
    [ "$name" != shell ] || version=$(pilothouse exec "$id" -- bash --version | head -n 1)
    say "${slugs[$id]} has written its note; ${version:-it says nothing of its version}"
    pilothouse diff "$id" | plain | sed 's/^/            /'
    pilothouse explain "$id" | sed 's/^/            /'
    timed pilothouse suspend "$id" && suspended=$took
    disk=$(($(pilothouse show --json "$id" | jq .suspended_bytes) >> 20))
    timed pilothouse resume "$id" && resumed=$took
    [ "$name" = shell ] || cut_stream
    printf '%s\n' "$name|${version:0:30}|$(in_seconds "$drawn")|$(in_seconds "$token")|$((most >> 20))|$disk|$suspended|$resumed|${permitted:-no}|$limit|$stream" >>"$rows"
    pilothouse rm --yes "$id" >/dev/null
    case $stream in not*) return 1 ;; esac
}

# Asks for the long answer, puts the session to disk in the middle of it, and waits for its end.
cut_stream() {
    before=$(grep -c . "$data/model.log")
    requests=$(count_requests)
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
    fi
    say "${slugs[$id]}: $stream"
}

play_each() {
    local name requests=0 rows=$data/rows broken=() row
    : >"$rows"
    for name in "${environments[@]}"; do
        requests=$(count_requests)
        # One that fails does not keep the others from being seen.
        (play_one "$name") || broken+=("$name")
        forget
    done
    printf '\n%s\n' "seconds from its dispatch to its first screen and to the first words of its model, to suspend and resume; MiB of memory, and on disk;
how it was given a permission; whether status 429 was seen, and whether it had to be told to go on; its answer, cut for $away s"
    while IFS='|' read -ra row; do
        printf '%-9s %-30s %6s %6s %6s %7s %7s %6s %10s %5s  %s\n' "${row[@]}"
    done < <(echo "agent|version|screen|words|memory|on disk|suspend|resume|permission|429|answer" && cat "$rows")
    [ ${#broken[@]} -eq 0 ] || fail "not played to the end: ${broken[*]}"
    ids=()
    prove_nothing_left
    say "the demo passed"
}
