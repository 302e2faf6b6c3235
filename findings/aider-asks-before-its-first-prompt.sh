#!/usr/bin/env bash
# aider 0.86.2: with a model that it does not know it asks a question before its first prompt, and takes what is typed for the answer.
#
# What one would guess: a program that is given its model's name by a variable comes to its prompt, with a warning at most; so a task
# that is typed once it has drawn something is its task.
# What happens: it warns that the model's context window and costs are unknown, and asks "Open documentation url for more info?
# (Y)es/(N)o/(D)on't ask again". A task that is typed then is no answer, and is lost. --no-show-model-warnings goes to the prompt.
#
# What is run: aider on a pseudo-terminal in an empty repository, once as it comes and once with that option, for a minute at most.
# Expected: "as it comes: asks" and "with --no-show-model-warnings: at its prompt".
# Needs: Python 3.10 to 3.12 with venv, PyPI, git, util-linux's script. Exit code 0 as long as aider behaves so, 1 where it does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aider-chat==0.86.2 >&2
git init --quiet --initial-branch main "$folder/work"
cd "$folder/work"

# starts OPTION...: what aider has drawn when it asks or has come to its prompt.
starts() {
    : >"$folder/screen"
    env -i HOME="$folder" PATH="$PATH" TERM=xterm-256color LANG=C.UTF-8 OPENAI_API_KEY=none OPENAI_API_BASE=http://127.0.0.1:9/v1 \
        script -qfc "timeout --foreground -k 5 60 $folder/venv/bin/aider --model openai/of-nobody --no-check-update --no-analytics \
        --no-show-release-notes --no-gitignore $*" "$folder/screen" </dev/null >/dev/null 2>&1 || true
    if grep -q 'Open documentation url' "$folder/screen"; then
        echo asks
    elif grep -q 'Repo-map:' "$folder/screen"; then
        echo "at its prompt"
    else
        echo "neither"
    fi
}
first=$(starts)
second=$(starts --no-show-model-warnings)
printf 'as it comes: %s\nwith --no-show-model-warnings: %s\n' "$first" "$second"
[ "$first, $second" = "asks, at its prompt" ]
