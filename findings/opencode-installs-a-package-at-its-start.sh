#!/usr/bin/env bash
# opencode 1.18.33: its start installs a package of npm into the user's own configuration, also where no plugin is configured.
#
# What one would guess: with updates, the list of models and language servers switched off by its variables, opencode asks nobody
# but its model.
# What happens: where there is a configuration folder (~/.config/opencode with an opencode.json in it), opencode writes package.json,
# package-lock.json, .gitignore and node_modules with @opencode-ai/plugin and what that depends on there, from the
# registry of npm. In a sandbox this is a connection that looks like none of the program's, and in a home that is kept in git it is
# a change.
#
# What is run: opencode on a pseudo-terminal of its own, with an empty home but for a configuration that says nothing, for a
# minute. Expected: `installed: {"@opencode-ai/plugin":"1.18.33"}`.
# Needs: npm and its registry, jq, util-linux's script. Exit code 0 as long as opencode behaves so, 1 where it does not any more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --ignore-scripts --no-audit --no-fund --prefix "$folder" opencode-linux-x64-baseline@1.18.33 >&2
config=$folder/home/.config/opencode
mkdir -p "$config" "$folder/work"
printf '%s\n' '{ "autoupdate": false, "share": "disabled" }' >"$config/opencode.json"
cd "$folder/work"
# Ends by itself after a minute, and all of its processes with their terminal.
env -i HOME="$folder/home" PATH="$PATH" TERM=xterm-256color LANG=C.UTF-8 OPENCODE_DISABLE_AUTOUPDATE=1 OPENCODE_DISABLE_MODELS_FETCH=1 \
    OPENCODE_DISABLE_LSP_DOWNLOAD=1 \
    script -qfc "timeout --foreground -k 5 60 $folder/node_modules/opencode-linux-x64-baseline/bin/opencode" /dev/null </dev/null >/dev/null 2>&1 || true
if [ -e "$config/node_modules/@opencode-ai/plugin/package.json" ]; then
    echo "installed: $(jq -c .dependencies "$config/package.json")"
else
    echo "not installed within a minute"
    false
fi
