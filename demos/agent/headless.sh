# The part of demos/agent.sh that plays without a terminal; sourced by it.
# shellcheck shell=bash
# shellcheck disable=SC2154  # data, ids and slugs are agent.sh's

# Prints every change of a session's state until all pull requests are merged, and plays the reviewer. Fifteen minutes at most.
follow() {
    local deadline=$((SECONDS + 900)) slug lifecycle attention reason id memory disk
    declare -A seen=() asked=() kept=()
    merged=0
    while [ "$merged" -lt ${#ids[@]} ]; do
        while IFS=$'\x1f' read -r id slug lifecycle attention reason memory disk; do
            kept[$id]=$lifecycle
            [ "$memory" -le "${most_memory[$id]-0}" ] || most_memory[$id]=$memory
            [ "$disk" -le "${most_disk[$id]-0}" ] || most_disk[$id]=$disk
            case $reason in *"rate limited; it ends in"*) limited[$id]=yes ;; esac
            # An age in a reason is no change.
            if [ "${seen[$id]-}" != "$lifecycle ${reason//[0-9]/}" ]; then
                seen[$id]="$lifecycle ${reason//[0-9]/}"
                say "$(printf '%-20s %-10s turn: %-7s %s' "$slug" "$lifecycle" "$attention" "$reason")"
            fi
            case $lifecycle in crashed | stopped) show_trouble "$id" && fail "$slug: $reason" ;; esac
        done < <(pilothouse ls --json | jq -r '.[] | [.id, .slug, .lifecycle, .attention, .reason, .resident_bytes, .suspended_bytes] | join("\u001f")')
        review
        if [ $SECONDS -ge $deadline ]; then
            for id in "${ids[@]}"; do show_trouble "$id"; done
            cat "$data/model.log" >&2
            fail "not all were merged within fifteen minutes"
        fi
        sleep 0.3
    done
}

# Reviews as a person would: asks each for a change once, on a line, then approves and merges. A revision is looked at when its
# checks have passed and its author is on disk, as it is when a person comes at last.
review() {
    local pull session standing
    while IFS=$'\x1f' read -r pull session standing; do
        # A pull request may be left of a run that was broken off.
        [ "${kept[$session]-}" = suspended ] || continue
        if [ "$standing" = approved ]; then
            say "merging $pull"
            pilothouse review merge --yes "$pull" >/dev/null
            merged=$((merged + 1))
        elif [ -z "${asked[$session]-}" ]; then
            asked[$session]=yes
            say "asking for a change of $pull, on a line"
            ask "$pull" "$session"
        elif [ "$standing" != changes-requested ]; then
            say "approving $pull"
            pilothouse review approve "$pull" >/dev/null
        fi
    done < <(pilothouse review ls --json |
        jq -r '.[] | select(.checks_state == "passed") | [.id, .session, .review] | join("\u001f")')
}

# ask PULL SESSION: a verdict with a comment on a line of what that session made.
ask() {
    if [[ ${slugs[$2]} = round-discount-* ]]; then
        pilothouse review comment "$1" --file lib/price.awk --line 4 "Why is half a cent added? Say so in the code." >/dev/null
    else
        pilothouse review comment "$1" --file lib/csv.awk --line 3 "A name may have a comma in it: quote names." >/dev/null
    fi
    pilothouse review request-changes "$1" "One line" >/dev/null
}

# What runs is what npm has: the version that the profile names, as the program says itself.
prove_programs() {
    local i said version
    for i in "${!ids[@]}"; do
        version=${packages[i]##*@}
        said=$(pilothouse exec "${ids[i]}" -- "${environments[i]}" --version)
        say "${slugs[${ids[i]}]}: $said, of ${packages[i]}"
        [[ "$said" = *"${version%%-*}"* ]] || fail "that is not ${packages[i]}"
    done
}

# Nobody ran `session wait`: each was told by what was typed, and fixed it.
prove_told() {
    local id
    for id in "${ids[@]}"; do
        [ "$(pilothouse events "$id" | grep -cE ' pushed ')" -ge 2 ] || fail "${slugs[$id]} should have pushed a fix and an answer"
        say "${slugs[$id]} was suspended $(pilothouse events "$id" | grep -cE ' suspended ') times, and told by what was typed"
    done
    if grep -q 'session wait' "$data/model.log"; then fail "an agent was made to wait by command"; fi
    if grep -q 'not as expected' "$data/model.log"; then fail "a tool call went wrong: $(grep 'not as expected' "$data/model.log")"; fi
}

# Each was refused once, since there were too many requests: that was seen, and none needed a person for it. A program that gives up
# is told when the limit is over; others ask again by themselves.
prove_limits() {
    local id how
    for id in "${ids[@]}"; do
        [ -n "${limited[$id]-}" ] || fail "${slugs[$id]} was never seen to be rate limited"
        how="its program asked again by itself"
        if pilothouse events "$id" | grep -qE ' went-on '; then how="it was told when that was over"; fi
        say "${slugs[$id]} was rate limited, and went on: $how"
    done
}

# What said what of each agent, in the end. Each has told of itself, by OSC 7501 and by hooks.
prove_sources() {
    local id said
    for id in "${ids[@]}"; do
        said=$(pilothouse explain "$id")
        say "why ${slugs[$id]} stands as it does:"
        printf '%s\n' "            ${said//$'\n'/$'\n'            }"
        for source in osc-7501 hook; do
            grep -qE "[* ] $source: " <<<"$said" || fail "${slugs[$id]} says nothing by $source"
        done
    done
}

# The key that the requests arrived with is in no microVM's memory or disk, in no log, and in nothing else that hostd has.
prove_key_is_kept() {
    local key found
    key=$(<"$data/key")
    if grep -q ': 401,' "$data/model.log"; then fail "a request came without its key: $(grep -m 1 ': 401,' "$data/model.log")"; fi
    found=$(grep -rlF --exclude=key -- "$key" "$data" || true)
    [ -z "$found" ] || fail "the key of the model is in $found"
    say "all requests brought the model's key, and it is in no file of a microVM or of hostd"
}

# Figures of each agent, of this run on this machine: seconds from its dispatch to its first request at the stand-in and to its merge,
# the most memory that its microVM had, what it took on disk while it was suspended, and how long its first wake took.
table() {
    local i id row='%-8s %-46s %12s %10s %9s %9s %7s\n'
    # shellcheck disable=SC2059
    printf "\n$row" agent program "1st request" merged memory "on disk" wake
    for i in "${!ids[@]}"; do
        id=${ids[i]}
        # shellcheck disable=SC2059
        printf "$row" "${environments[i]}" "${packages[i]}" "$(first_request "$id" "${environments[i]}") s" \
            "$(seconds "$id" created merged) s" "$((${most_memory[$id]} >> 20)) MiB" "$((${most_disk[$id]} >> 20)) MiB" \
            "$(seconds "$id" woken resumed) s"
    done
    printf '\n'
}

# seconds ID FROM TO: between the first events of these names.
seconds() {
    pilothouse events --json "$1" | jq -rs --arg from "$2" --arg to "$3" 'flatten |
        def at($what): map(select(.what == $what))[0].at | sub("\\.[0-9]+Z$"; "Z") | fromdateiso8601;
        at($to) - at($from)'
}

# first_request ID PROGRAM: from its dispatch to the first request of that program at the stand-in.
first_request() {
    local at began
    at=$(date -d "$(grep -m 1 " $2" "$data/model.log" | cut -d ' ' -f 1)" +%s)
    began=$(date -d "$(pilothouse show --json "$1" | jq -r .created_at)" +%s)
    echo $((at - began))
}

play() {
    local id merged
    declare -A most_memory=() most_disk=() limited=()
    follow
    prove_told
    prove_limits
    prove_sources
    prove_key_is_kept
    prove_work
    for id in "${ids[@]}"; do
        prove_story "$id" created started opened suspended checks woken resumed pushed approved merged
    done
    prove_programs
    table
    pilothouse ls
    printf '\n'
    prove_nothing_left
    say "the demo passed"
}
