#!/usr/bin/env bash
# The main job in one command: sets the machine up, builds, bakes the demo environment, starts a hostd, gives four
# sessions of the scripted agent their tasks, each in a microVM of its own, and opens the console on them.
#
# Usage: demos/fleet.sh [--headless] [--data DIR] [--bin DIR] [--clean]
#   --headless   without a terminal: prints a transcript, proofs and a table; exit code 0 only if all of it happened
#   --data DIR   where kernel, images, repository and sessions go; default: pilothouse-demo in the XDG data folder
#   --bin DIR    has hostd, pilothouse and the guest's program, so that nothing is built
#   --clean      removes that folder, and does nothing else
# Ends everything that it started, whatever happens. What took long to make is kept for the next run.
set -euo pipefail
# shellcheck source=demos/common.sh
source "$(dirname "$0")/common.sh"
# shellcheck source=demos/headless.sh
source "$root/demos/headless.sh"

titles=("csv list" "round discount" "low stock" "widget pages")
tasks=("Give list a --csv option" "Fix the discount that loses a cent" "Say which widgets are low in stock"
    "Write a page about every widget")

prepare() {
    "$root/tests/setup.sh" demo
    build
    end_earlier
    during "importing the repository" "$root/demos/import-widgets.sh" "$data"
    start_hostd
    say "baking the environment demo (the first time fetches a kernel and a Debian)"
    pilothouse env build demo
    forget
    local i
    for i in "${!tasks[@]}"; do dispatch demo "${titles[i]}" "${tasks[i]}"; done
}

options pilothouse-demo "$@"
begin
prepare
play_or_open
