#!/usr/bin/env bash
# glibc 2.36 (Debian 12): a program that was started by posix_spawn ignores the signals 32 and 33.
#
# What one would guess: a new program ignores what its parent ignored, and nothing else; after signal(n, SIG_DFL) for all numbers
# it ignores nothing.
# What happens: glibc keeps 32 (SIGCANCEL) and 33 (SIGSETXID) for itself. posix_spawn sets both to ignored in the child, exec keeps
# that, and so do all children of the child; signal and sigaction refuse these numbers, so nobody takes it back. It harms nobody:
# glibc sets its own handlers before it uses them. But whoever asserts that SigIgn in /proc/self/status is zero sees 0x180000000,
# depending on how far up somebody was spawned and not forked (cargo spawns the tests that it runs; a shell forks).
#
# What is run: python3 starts grep by posix_spawn and by fork. Expected: the two signals are ignored in the first, not in the second.
# Needs: python3, grep, glibc. Exit code 0 as long as it is so, 1 where it is not any more.
set -euo pipefail
getconf GNU_LIBC_VERSION
python3 - <<'PYTHON'
import os

def ignored(start):
    """The signals that a program ignores which is started by this."""
    out, to = os.pipe()
    os.set_inheritable(to, True)
    os.waitpid(start(to), 0)
    os.close(to)
    with os.fdopen(out) as said:
        return int(said.read().split()[1], 16)

program = ["grep", "SigIgn", "/proc/self/status"]

def spawned(to):
    return os.posix_spawnp("grep", program, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, to, 1)])

def forked(to):
    pid = os.fork()
    if pid == 0:
        os.dup2(to, 1)
        os.execvp("grep", program)
    return pid

LIBC = 0b11 << 31
sets = [ignored(start) for start in (spawned, forked)]
print("ignored: %#x where it was spawned, %#x where it was forked" % tuple(sets))
own = ignored(forked) & LIBC
raise SystemExit(0 if sets[0] & LIBC == LIBC and sets[1] & LIBC == own else 1)
PYTHON
