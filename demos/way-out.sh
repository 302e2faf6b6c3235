#!/usr/bin/env bash
# The way out of a guest, tried with real programs: Node's fetch, Java, Go, ssh, curl, apt, npm, pip and cargo, each to what is allowed
# and to what is not, without a proxy and, of those that heed one, with it. Prints a table: what came of it, and after how long.
#
# Usage: demos/way-out.sh [--data DIR] [--bin DIR] [--clean]
#   --data DIR   where kernel, images and sessions go; default: pilothouse-way-out in the XDG data folder
#   --bin DIR    has hostd, pilothouse and the guest's program, so that nothing is built
#   --clean      removes that folder, and does nothing else
# Exit code 0 only if each reached what is allowed, and was refused the rest at once and not by a timeout. No step of tests/run.sh: its
# environment takes ten minutes and more to be built where guests are emulated, and 3 GB of Debian's packages.
set -euo pipefail
# shellcheck source=demos/common.sh
source "$(dirname "$0")/common.sh"

host=host.pilothouse.internal
# Longest time of a program, in seconds: whatever takes it hangs.
patience=180
unset_proxy='unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy NODE_USE_ENV_PROXY'
servers_pid='' servers_start='' id='' failures=0
secure='' plain='' greeter='' unlisted=''

end_own() {
    [ -z "$servers_pid" ] || end_process "$servers_pid" "$servers_start"
}

# A certificate for the servers, and a package for cargo.
make_things() {
    if [ ! -e "$data/servers.pem" ]; then
        openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=$host" -addext "subjectAltName=DNS:$host" \
            -keyout "$data/servers.key" -out "$data/servers.pem" 2>/dev/null
    fi
    local tiny=$data/git/tiny.git work
    [ ! -e "$tiny" ] || return 0
    work=$(mktemp -d)
    mkdir -p "$work/src"
    printf '[package]\nname = "tiny"\nversion = "1.0.0"\n' >"$work/Cargo.toml"
    : >"$work/src/lib.rs"
    git -C "$work" init --quiet --initial-branch=main
    git -C "$work" add .
    GIT_AUTHOR_DATE='2026-01-05T09:00:00Z' GIT_COMMITTER_DATE='2026-01-05T09:00:00Z' git -C "$work" \
        -c user.name=Tiny -c user.email=tiny@tiny.invalid commit --quiet -m 'Begin'
    mkdir -p "$data/git"
    git clone --quiet --bare "$work" "$tiny"
    rm -rf "$work"
}

start_servers() {
    : >"$data/servers.ports"
    setsid python3 "$root/demos/way-out/servers.py" "$data/servers.pem" "$data/servers.key" \
        >"$data/servers.ports" 2>"$data/servers.log" 9>&- &
    servers_pid=$!
    servers_start=$(process_start "$servers_pid") || true
    local tries
    for tries in {1..100}; do
        if read -r secure plain greeter unlisted <"$data/servers.ports"; then break; fi
        sleep 0.1
    done
    [ -n "$unlisted" ] || { cat "$data/servers.log" >&2; fail "the servers did not start within ${tries}00 ms"; }
}

# inside SECONDS SCRIPT: runs it in the session; prints what it says.
inside() { pilothouse exec "$id" -- timeout "$1" bash -c "$2" 2>&1 </dev/null; }

# try NAME WAY WANTED ALLOWED REFUSED: two scripts, of which the first says WANTED, and the second fails.
try() {
    local name=$1 way=$2 wanted=$3 before='' said code verdict row=()
    [ "$way" = proxy ] || before="$unset_proxy; "
    for script in "$4" "$5"; do
        local at=${EPOCHREALTIME/[.,]/} tenths
        code=0
        said=$(inside $patience "$before$script") || code=$?
        tenths=$(((${EPOCHREALTIME/[.,]/} - at) / 100000))
        said=$(plain_text <<<"$said")
        if [ "$script" = "$4" ]; then
            verdict="reached"
            grep -qF -- "$wanted" <<<"$said" || { verdict="NOT REACHED ($code)"; trouble "$name" "$said"; }
        else
            verdict="refused ($code)"
            case $code in 0 | 124 | 137) verdict="NOT REFUSED ($code)"; trouble "$name" "$said" ;; esac
            verdict="$verdict: $(why <<<"$said")"
        fi
        row+=("$((tenths / 10)).$((tenths % 10)) s" "$verdict")
    done
    printf '%-8s %-7s %8s  %-16s %8s  %s\n' "$name" "$way" "${row[@]}"
}

plain_text() { sed -e 's/\x1b\[[0-9;?]*[A-Za-z]//g' | tr -cd '[:print:]\n'; }

# The line of a program's words that says why.
why() {
    local said line
    said=$(cat)
    line=$(grep -iE 'not allowed|ECONN|reset by peer|connection reset|no certificate|refused|403' <<<"$said" | head -n 1 | sed 's/^ *//') || true
    [ -n "$line" ] || line=$(tail -n 1 <<<"$said")
    echo "${line:0:110}"
}

trouble() {
    failures=$((failures + 1))
    printf '%s\n' "--- $1 said:" "$2" >>"$data/trouble"
}

# Each row: the program, to the servers that are allowed and to names that are not.
programs() {
    local http=http://$host:$plain https=https://$host:$secure
    printf '%-8s %-7s %8s  %-16s %8s  %s\n' program way took allowed took 'not allowed'
    try node direct arrived \
        "NODE_EXTRA_CA_CERTS=/root/ca.pem node -e \"fetch('$https/arrived.txt').then(r => r.text()).then(console.log)\"" \
        "node -e \"fetch('https://denied.example/').then(r => r.text()).then(console.log)\""
    try java direct "CN=$host" \
        "keytool -printcert -sslserver $host:$secure" "keytool -printcert -sslserver denied.example:443"
    try go direct arrived.txt \
        "rclone lsf --retries 1 --low-level-retries 1 --http-url $http/ :http:" \
        "rclone lsf --retries 1 --low-level-retries 1 --http-url https://denied.example/ :http:"
    try ssh direct "remote software version way-out" \
        "ssh -v -o StrictHostKeyChecking=no -o BatchMode=yes -p $greeter x@$host true" \
        "ssh -o StrictHostKeyChecking=no -o BatchMode=yes x@denied.example true"
    try curl direct arrived \
        "curl -sS --noproxy '*' --cacert /root/ca.pem $https/arrived.txt" "curl -sS --noproxy '*' https://denied.example/"
    try curl/ip direct arrived \
        "curl -sS --noproxy '*' --cacert /root/ca.pem $https/arrived.txt" "curl -sS -g --noproxy '*' https://[2001:db8::7]/"
    try curl/80 direct arrived \
        "curl -sS --noproxy '*' $http/arrived.txt" "curl -sS --fail-with-body --noproxy '*' http://denied.example/"
    # These would be answered, were they not refused: by a port of the same server's that no entry lists.
    try unlisted direct arrived \
        "curl -sS --noproxy '*' $http/arrived.txt" "curl -sS --fail-with-body --noproxy '*' http://$host:$unlisted/arrived.txt"
    try unlisted proxy arrived \
        "curl -sS $http/arrived.txt" "curl -sS --fail-with-body http://$host:$unlisted/arrived.txt"
    # On an entry of http:// nothing else may be spoken.
    try ssh/http direct arrived \
        "curl -sS --noproxy '*' $http/arrived.txt" "ssh -o BatchMode=yes -o StrictHostKeyChecking=no -p $plain x@$host true"
    local way
    for way in direct proxy; do
        try curl $way arrived "curl -sS --cacert /root/ca.pem $https/arrived.txt" "curl -sS https://denied.example/"
        try apt $way "Reading package lists" "$(apt "$http/apt")" "$(apt http://denied.example/apt)"
        try npm $way 1.0.0 "$(npm "$http/npm")" "$(npm https://denied.example)"
        try pip $way "Saved" "$(pip "$http/simple/")" "$(pip https://denied.example/simple/)"
        try cargo $way "fetched" "$(cargo http://pilothouse.internal/git/tiny.git)" "$(cargo https://denied.example/tiny.git)"
    done
}

apt() {
    echo "mkdir -p /tmp/apt && echo 'deb [trusted=yes] $1 ./' >/tmp/apt/list && apt-get -o Dir::Etc::SourceList=/tmp/apt/list" \
        "-o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=/tmp/apt -o APT::Update::Error-Mode=any -o Acquire::Retries=0 update"
}

npm() { echo "npm view --cache \"\$(mktemp -d)\" --fetch-retries 0 --no-update-notifier --registry $1/ tiny version"; }

pip() {
    echo "cd \"\$(mktemp -d)\" && python3 -m pip download --no-cache-dir --disable-pip-version-check --retries 0" \
        "--no-deps --index-url $1 --trusted-host $host tiny"
}

cargo() {
    cat <<SCRIPT
cd "\$(mktemp -d)" && mkdir src && touch src/lib.rs && cat >Cargo.toml <<TOML
[package]
name = "x"
version = "1.0.0"
[dependencies]
tiny = { git = "$1" }
TOML
CARGO_HOME=\$PWD/home CARGO_NET_RETRY=0 cargo fetch && echo fetched
SCRIPT
}

headless=yes
options pilothouse-way-out --headless "$@"
begin
have python3 || fail "its servers need Python 3: apt-get install python3"
have openssl || fail "its servers need a certificate: apt-get install openssl"
build
end_earlier
make_things
start_servers
start_hostd
sed "s/SECURE/$secure/; s/PLAIN/$plain/; s/GREETER/$greeter/" "$root/demos/way-out/way-out.toml" >"$data/way-out.toml"
say "building the environment (the first time fetches a kernel, a Debian and the programs)"
pilothouse env build "$data/way-out.toml" >"$data/build.log" 2>&1 || { tail -n 40 "$data/build.log" >&2; fail "it was not built"; }
id=$(pilothouse new --env way-out --title "way out")
pilothouse wait "$id" --until running >/dev/null 2>&1 || true
pilothouse exec "$id" -- sh -c 'cat >/root/ca.pem' <"$data/servers.pem"
: >"$data/trouble"
say "the programs, each at most $patience s:"
programs
say "what it was refused, as its story has it:"
pilothouse allow "$id"
for wanted in "$host:$unlisted" "$host:$plain" denied.example:443 denied.example:80; do
    if ! pilothouse show --json "$id" | python3 -c "import json, sys
sys.exit(sys.argv[1] not in [it['destination'] for it in json.load(sys.stdin)['refused']])" "$wanted"; then
        trouble story "$wanted is not among what it was refused"
    fi
done
if [ $failures -gt 0 ]; then
    cat "$data/trouble" >&2
    fail "$failures of them went wrong"
fi
say "all of them reached what is allowed, and were refused the rest"
