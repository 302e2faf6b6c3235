# The part of demos/fleet.sh that plays without a terminal; sourced by it.
# shellcheck shell=bash
# shellcheck disable=SC2154  # data, ids and slugs are fleet.sh's

# Prints every change of a session's state until all are over; answers the one that asks. Ten minutes at most.
follow() {
    local deadline=$((SECONDS + 600)) over slug lifecycle activity attention reason id
    declare -A seen=() answered=()
    while :; do
        over=0
        while IFS=$'\x1f' read -r id slug lifecycle activity attention reason; do
            if [ "${seen[$id]-}" != "$lifecycle $activity $reason" ]; then
                seen[$id]="$lifecycle $activity $reason"
                say "$(printf '%-20s %-9s turn: %-7s %s' "$slug" "$lifecycle" "$attention" "$reason")"
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
        done < <(pilothouse ls --json | jq -r '.[] | [.id, .slug, .lifecycle, .activity, .attention, .reason] | join("\u001f")')
        [ $over -lt ${#ids[@]} ] || return 0
        [ $SECONDS -lt $deadline ] || fail "not all sessions were done within ten minutes"
        sleep 0.3
    done
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
    if pilothouse exec "$id" -- git push origin HEAD:main 2>&1 | sed 's/^/            /'; then
        fail "the push to main went through"
    fi
}

# One of the agents is known to fail its checks first, and to see it.
prove_second_try() {
    pilothouse log "${ids[1]}" | grep -q 'ci: failed' || fail "${slugs[${ids[1]}]} should have failed its checks first"
    say "${slugs[${ids[1]}]} saw its checks fail before they passed"
}

# Each branch has a commit on top of main, and its checks pass in a checkout of their own.
prove_work() {
    local id branch checkout
    for id in "${ids[@]}"; do
        branch=agent/${slugs[$id]}/work
        git -C "$data/git/widgets.git" rev-parse --quiet --verify "$branch" >/dev/null || fail "$branch was not pushed"
        [ "$(git -C "$data/git/widgets.git" rev-list --count "main..$branch")" -gt 0 ] || fail "$branch has no commit"
        checkout=$(mktemp -d)
        git -C "$data/git/widgets.git" archive "$branch" | tar -x -C "$checkout"
        "$checkout/ci" >"$checkout/output" || { cat "$checkout/output" >&2; fail "the checks of $branch fail"; }
        rm -rf "$checkout"
        say "$(git -C "$data/git/widgets.git" log -1 --format="%h on $branch: %s" "$branch")"
        say "    $(git -C "$data/git/widgets.git" diff --shortstat "main...$branch"); its checks pass"
    done
}

prove_nothing_left() {
    local id
    for id in "${ids[@]}"; do pilothouse rm --yes "$id" >/dev/null; done
    [ "$(pilothouse ls --json)" = "[]" ] || fail "sessions are left after they were deleted"
    [ -z "$(vms)" ] || fail "VMs are left after their sessions were deleted: $(vms)"
    [ -z "$(ls -A "$data/sessions")" ] || fail "files are left of deleted sessions: $(ls "$data/sessions")"
    say "all sessions deleted; no VM and no file of them is left"
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
    printf '\n'
    pilothouse ls
    printf '\n'
    prove_nothing_left
    say "the demo passed"
}
