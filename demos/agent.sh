#!/usr/bin/env bash
# Real agents at work: an unmodified Codex and an unmodified Claude Code from npm, each in a microVM of its own, against a
# scripted stand-in for a model (demos/model). Each changes a repository, opens a pull request and ends its turn; its checks fail,
# which wakes it from disk; it fixes that, is reviewed with a comment on a line, answers it, and is merged. On its way its model refuses
# it once, since there were too many requests.
#
# Usage: demos/agent.sh [--headless] [--only NAME] [--agents LIST] [--data DIR] [--bin DIR] [--clean]
#   --headless   without a terminal: prints a transcript, proofs and a table; exit code 0 only if all of it happened
#   --only NAME  one of the two, codex or claude, and not the other
#   --agents LIST  plays these profiles instead, separated by commas, one after the other, without a terminal: each writes a file,
#                asks for a permission and is given it from the list, is refused once by its model, and is put to disk in the middle
#                of an answer for a minute; prints a table
#   --data DIR   where kernel, images, repository and sessions go; default: pilothouse-agent-demo in the XDG data folder
#   --bin DIR    has hostd, pilothouse and the guest's program, so that nothing is built
#   --clean      removes that folder, and does nothing else
# Exit code 69: npm or its registry is not there, so nothing was run. Ends everything that it started, whatever happens. What took
# long to make is kept for the next run. Both take five minutes, seven the first time.
set -euo pipefail
# shellcheck source=demos/common.sh
source "$(dirname "$0")/common.sh"
# shellcheck source=demos/agent/headless.sh
source "$root/demos/agent/headless.sh"
# shellcheck source=demos/agent/each.sh
source "$root/demos/agent/each.sh"

environments=(codex claude)
titles=("round discount" "csv list")
tasks=("Fix the discount that loses a cent" "Give list a --csv option")
packages=()
each=no
model_pid='' model_start='' port=''

# Whether npm answers for what the profiles name.
registry_answers() {
    local package name
    for name in "${environments[@]}"; do
        package=$(sed -n 's/^npm = \[{ package = "\([^"]*\)", version = "\([^"]*\)".*/\1@\2/p' "$root/agents/$name.toml")
        [ -z "$package" ] || packages+=("$package")
    done
    [ ${#packages[@]} -gt 0 ] || return 0
    have npm || { not_run="npm is not on this machine"; return 1; }
    for package in "${packages[@]}"; do
        timeout 60 npm view "$package" version >/dev/null 2>&1 || { not_run="npm's registry does not answer for $package"; return 1; }
    done
}

# The stand-in listens where it did before, if it can: its port stands in the recipes, so another one is another build.
start_model() {
    local before tries
    before=$(cat "$data/model.port" 2>/dev/null) || before=0
    for before in "$before" 0; do
        : >"$data/model.port"
        setsid python3 "$root/demos/model/server.py" --root /work/widgets --port "$before" --key "$data/key" >"$data/model.port" 2>"$data/model.log" 9>&- &
        model_pid=$!
        model_start=$(process_start "$model_pid") || true
        echo "$model_pid $model_start" >"$data/model.process"
        for tries in {1..100}; do
            port=$(cat "$data/model.port")
            [ -z "$port" ] || break
            still_runs "$model_pid" "$model_start" || break
            sleep 0.1
        done
        [ -z "$port" ] || break
    done
    [ -n "$port" ] || { cat "$data/model.log" >&2; fail "the stand-in for a model did not start within ${tries}00 ms"; }
    say "a scripted stand-in for a model listens on 127.0.0.1:$port"
}

# The stand-in asks for a key that no microVM has: the gateway puts it into the requests, under the names that the profiles know.
# Whatever passes there is looked at, so that it is known what answers took, and when there were too many requests.
write_credentials() {
    local host
    host=host.pilothouse.internal:$port
    cat >"$data/credentials.new" <<TOML
[[credential]]
name = "anthropic"
hosts = ["$host"]
header = "x-api-key"
path = "/v1/messages"
secret = { file = "$data/key" }

[[credential]]
name = "openai"
hosts = ["$host"]
bearer = true
path = "/v1/"
secret = { file = "$data/key" }

[[credential]]
name = "github-copilot"
hosts = ["$host"]
bearer = true
path = "/v1/"
secret = { file = "$data/key" }

[[credential]]
name = "gemini"
hosts = ["$host"]
header = "x-goog-api-key"
path = "/v1beta/"
secret = { file = "$data/key" }
TOML
    chmod 600 "$data/credentials.new"
    mv "$data/credentials.new" "$data/credentials.toml"
}

end_own() {
    [ -z "$model_pid" ] || end_process "$model_pid" "$model_start"
    rm -f "$data/model.process"
}

# A stand-in of a demo that was killed itself.
end_earlier_model() {
    local pid start
    if read -r pid start 2>/dev/null <"$data/model.process"; then end_process "$pid" "$start"; fi
}

prepare() {
    "$root/tests/setup.sh" demo
    have python3 || fail "the stand-in for a model needs Python 3.11 or newer: apt-get install python3"
    registry_answers || { echo "NOT RUN: $not_run"; exit 69; }
    build
    end_earlier
    end_earlier_model
    during "importing the repository" "$root/demos/import-widgets.sh" "$data"
    [ -s "$data/key" ] || (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$data/key")
    start_model
    write_credentials
    start_hostd
    mkdir -p "$data/recipes"
    local i name
    for name in "${environments[@]}"; do
        say "baking the environment $name (the first time fetches a kernel, a Debian and the program from npm)"
        sed "s/PORT/$port/" "$root/demos/agent/$name.toml" >"$data/recipes/$name.toml"
        [ $each = no ] || { asking "$data/recipes/$name.toml" >"$data/recipes/new" && mv "$data/recipes/new" "$data/recipes/$name.toml"; }
        pilothouse env build "$data/recipes/$name.toml"
    done
    forget
    [ $each = no ] || return 0
    for i in "${!tasks[@]}"; do dispatch "${environments[i]}" "${titles[i]}" "${tasks[i]}"; done
}

# choose LIST: the profiles to be played one after the other.
choose() {
    IFS=, read -ra environments <<<"$1"
    local name
    for name in "${environments[@]}"; do
        [ -e "$root/demos/agent/$name.toml" ] || { echo "agent.sh: $name is none of these: $(cd "$root/demos/agent" && echo *.toml)" >&2; exit 2; }
    done
    each=yes
}

# only NAME: the one that is played, and what it is asked.
only() {
    local i
    for i in "${!environments[@]}"; do
        [ "${environments[i]}" != "$1" ] || { environments=("$1") titles=("${titles[i]}") tasks=("${tasks[i]}") && return 0; }
    done
    echo "agent.sh: $1 is neither codex nor claude" >&2
    exit 2
}

arguments=()
while [ $# -gt 0 ]; do
    case $1 in
        --agents) [ $# -ge 2 ] || { echo "agent.sh: --agents needs names" >&2; exit 2; }; choose "$2"; arguments+=(--headless); shift ;;
        --only) [ $# -ge 2 ] || { echo "agent.sh: --only needs a name" >&2; exit 2; }; only "$2"; shift ;;
        *) arguments+=("$1") ;;
    esac
    shift
done
options pilothouse-agent-demo "${arguments[@]}"
begin
prepare
if [ $each = yes ]; then play_each; else play_or_open; fi
