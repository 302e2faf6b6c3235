#!/usr/bin/env bash
# httpx 0.28.1: `[::1]` in NO_PROXY keeps every client from being made, whatever it was to ask.
#
# What one would guess: NO_PROXY takes addresses of IPv6 with or without brackets, as curl, Go and Python's own urllib do (urllib, and
# requests with it, finds `http://[::1]:8000/` by the form with brackets alone), and what a program does not understand is passed over.
# What happens: httpx makes of `[::1]` a pattern `all://*[::1]`, and fails to read that: `InvalidURL: Invalid port: ':1]'`, from
# httpx.Client() on. So do the libraries of OpenAI and Anthropic, litellm and aider, which say that their provider is down.
#
# What is run: httpx.Client() with four values of NO_PROXY and no network. Expected: "fails" with `[::1]` in it, else "works".
# Needs: Python 3.9 or newer with venv, PyPI. Exit code 0 as long as httpx behaves so, 1 where it does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check httpx==0.28.1 >&2
seen=
for value in localhost,127.0.0.0/8 localhost,::1 'localhost,[::1]' 'localhost,::1,[::1]'; do
    says=works
    env -u no_proxy http_proxy=http://127.0.0.1:9 NO_PROXY="$value" "$folder/venv/bin/python" -c 'import httpx; httpx.Client()' 2>/dev/null || says=fails
    echo "$value: $says"
    seen="$seen $says"
done
[ "$seen" = " works works fails fails" ]
