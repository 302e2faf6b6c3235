#!/usr/bin/env bash
# Linux: what is written to a pseudo-terminal in one call of more than 2,048 bytes can be read in two pieces.
#
# What one would guess: the line discipline holds 4,096 bytes, so a write of 3,000 bytes to the master, with the slave in raw
# mode, is there as a whole, and a program that waits in read gets it in one read: a pasted text and the Enter behind it arrive
# together.
# What happens: the kernel hands a terminal's bytes on in pieces of 2,048. The reader is woken by the first piece, and whether
# its read has the second piece too depends on who runs first. The first read has 2,048 bytes or all 3,000, and nothing between.
# So where text ends is to be seen from what stands in it (bracketed paste), never from where a read ends.
#
# What is run: python3 on this kernel, at most 20,000 writes of 3,000 bytes to a reader that waits. Expected: some first reads of
# 2,048 bytes, and none of another length that is less than 3,000. With 2,000 bytes: no read is short.
# Needs: python3, Linux (seen with 6.18 here, and with Debian 12's 6.1 in a virtual machine). Exit code 0 as long as it is so, 1 where it is not any more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/pieces.py" <<'PYTHON'
import collections, os, platform, pty, time, tty

def first_reads(length, most, enough):
    """How long the first reads were of writes of this length, until `enough` of them were short."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    there, back = os.pipe(), os.pipe()
    reader = os.fork()
    if reader == 0:
        while True:
            first = len(os.read(slave, 65536))
            rest = length - first
            while rest:
                rest -= len(os.read(slave, 65536))
            os.write(back[1], first.to_bytes(4, "big"))
    seen = collections.Counter()
    try:
        for _ in range(most):
            # It sleeps in read by now.
            time.sleep(0.0002)
            if os.write(master, b"x" * length) != length:
                raise SystemExit("the write was short")
            seen[int.from_bytes(os.read(back[0], 4), "big")] += 1
            if sum(count for size, count in seen.items() if size < length) >= enough:
                break
    finally:
        os.kill(reader, 9)
        os.waitpid(reader, 0)
    return dict(seen)

long, short = first_reads(3000, 20_000, 3), first_reads(2000, 1000, 1)
print(f"Linux {platform.release()}: first reads of 3,000 bytes: {long}; of 2,000 bytes: {short}")
raise SystemExit(0 if 2048 in long and set(long) <= {2048, 3000} and set(short) == {2000} else 1)
PYTHON
python3 "$folder/pieces.py"
