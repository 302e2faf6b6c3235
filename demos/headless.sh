# The part of demos/fleet.sh that plays without a terminal; sourced by it.
# shellcheck shell=bash
# shellcheck disable=SC2154  # data, ids and slugs are fleet.sh's

# Prints every change of a session's state until all are over, and plays the person: answers the one that asks, reviews and
# merges. Fifteen minutes at most.
follow() {
    local deadline=$((SECONDS + 900)) over slug lifecycle activity attention reason id bytes before
    declare -A seen=() answered=() asked=()
    while :; do
        over=0
        while IFS=$'\x1f' read -r id slug lifecycle activity attention reason bytes; do
            if [ "${seen[$id]-}" != "$lifecycle $activity $reason" ]; then
                before=${seen[$id]-}
                seen[$id]="$lifecycle $activity $reason"
                say "$(printf '%-20s %-10s turn: %-7s %s' "$slug" "$lifecycle" "$attention" "$reason")"
                case $lifecycle,$before in
                    suspended,suspended*) ;;
                    suspended,*)
                        say "$(printf '%-20s            on disk: %d KiB, in memory: nothing' "$slug" $((bytes / 1024)))"
                        ;;
                esac
            fi
            # A session that waits or is done may be suspended meanwhile: that changes nothing for it.
            case $lifecycle/$activity in
                crashed/* | */failed) show_trouble "$id" && fail "$slug: $reason" ;;
                */done) over=$((over + 1)) ;;
                stopped/*) show_trouble "$id" && fail "$slug: $reason" ;;
                */needs-input)
                    if [ -z "${answered[$id]-}" ]; then
                        answered[$id]=yes
                        say "sending 20 to $slug"
                        pilothouse send "$id" 20
                    fi
                    ;;
            esac
        done < <(pilothouse ls --json | jq -r '.[] | [.id, .slug, .lifecycle, .activity, .attention, .reason, .suspended_bytes] | join("\u001f")')
        [ $over -lt ${#ids[@]} ] || break
        review
        [ $SECONDS -lt $deadline ] || fail "not all sessions were done within fifteen minutes"
        sleep 0.3
    done
    echo
    for id in "${ids[@]}"; do history "${slugs[$id]}"; done
}

# Looks through the review queue as a person would: asks the pages' author for a change once, approves and merges the rest.
review() {
    local pull session standing
    while IFS=$'\x1f' read -r pull session standing; do
        if [ "$standing" = approved ]; then
            say "merging $pull"
            pilothouse review merge --yes "$pull" >/dev/null
        elif [ "$session" = "${ids[3]}" ] && [ -z "${asked[$session]-}" ]; then
            asked[$session]=yes
            say "asking for a change of $pull, on a line of its index"
            pilothouse review comment "$pull" --file docs/README.md --line 1 "Say how many there are." >/dev/null
            pilothouse review request-changes "$pull" "One line of the index" >/dev/null
        elif [ "$standing" != changes-requested ]; then
            say "approving $pull"
            pilothouse review approve "$pull" "Good." >/dev/null
        fi
    done < <(pilothouse review ls --json |
        jq -r '.[] | select(.checks_state == "passed") | [.id, .session, .review] | join("\u001f")')
}

prove_isolation() {
    local id boot net
    declare -A boots=()
    for id in "${ids[@]}"; do
        boot=$(pilothouse exec "$id" -- cat /proc/sys/kernel/random/boot_id)
        net=$(pilothouse exec "$id" -- ls /sys/class/net)
        say "${slugs[$id]}: boot id $boot, network interfaces: $net"
        [ "$net" = lo ] || fail "${slugs[$id]} has a network interface beside lo"
        boots[$boot]=yes
    done
    [ ${#boots[@]} -eq ${#ids[@]} ] || fail "two sessions have the same boot id"
    id=${ids[0]}
    say "${slugs[$id]} tries to push to main:"
    if pilothouse exec "$id" -- git push --force origin HEAD:main 2>&1 | sed 's/^/            /'; then
        fail "the push to main went through"
    fi
}

# One of the agents is known to fail its checks first, and to be told so.
prove_second_try() {
    pilothouse log "${ids[1]}" | grep -q 'The checks of #.* failed' ||
        fail "${slugs[${ids[1]}]} should have failed its checks first"
    say "${slugs[${ids[1]}]} was told that its checks failed, and mended it"
}

play() {
    local id
    follow
    for id in "${ids[@]}"; do
        printf '\n── the end of what %s showed\n' "${slugs[$id]}"
        pilothouse log "$id" | plain | tail -n 8
    done
    echo
    prove_isolation
    prove_second_try
    prove_work
    prove_story "${ids[0]}" created started opened suspended checks woken resumed approved merged
    printf '\n'
    pilothouse ls
    printf '\n'
    prove_nothing_left
    say "the demo passed"
}
