#!/usr/bin/env bash
# Linux 6.18.44: a splice(2) from a socket into a pipe keeps the pipe to itself while it waits for the socket.
#
# What one would guess: splice that finds nothing to move waits as read(2) does, and whoever reads the other end of the pipe takes
# what is in it meanwhile; a read with O_NONBLOCK never waits at all.
# What happens: splice takes the pipe's lock before it waits for the socket. Bytes that were in the pipe before are there, poll(2)
# says so, and a read of them, with O_NONBLOCK too, waits until the socket has brought something. Rust's std::io::copy uses splice
# between a socket and a pipe, so a program that only passes bytes on can hold up an event loop that reads from it: our `hostd dial`
# did so to sshd, which then passed nothing on in the other direction either, for which both ends waited. Read and write instead.
#
# What is run: a pipe with 5 bytes in it, a thread that splices an empty socket into it, another that reads the pipe with O_NONBLOCK,
# and after one second a byte for the socket. Seen: "poll says: readable; the read that must not wait came back after 1.0 s, right
# after the socket had a byte".
# Needs: python3 from 3.10 on (3.11.2-6+deb12u6 of Debian 12 here; it only makes the calls). Exit code 0 as long as Linux behaves so,
# 1 where it does not any more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/splice.py" <<'PYTHON'
import os
import select
import socket
import sys
import threading
import time

print("kernel", os.uname().release)
near, far = socket.socketpair()
reader, writer = os.pipe()
os.write(writer, b"hello")
os.set_blocking(reader, False)
threading.Thread(target=lambda: os.splice(near.fileno(), writer, 65536), daemon=True).start()
# Until the thread waits in splice: the state of all threads but this one.
own = threading.get_native_id()
until = time.monotonic() + 10
while time.monotonic() < until:
    others = [task for task in os.listdir("/proc/self/task") if int(task) != own]
    calls = [open(f"/proc/self/task/{task}/stat").read().rsplit(")", 1)[1].split()[0] for task in others]
    if calls == ["S"]:
        break
    time.sleep(0.05)
readable = bool(select.select([reader], [], [], 0)[0])
came = []
reading = threading.Thread(target=lambda: came.append((os.read(reader, 5), time.monotonic())), daemon=True)
began = time.monotonic()
reading.start()
reading.join(1.0)
waits = reading.is_alive()
far.send(b"!")
reading.join(10.0)
if not came:
    sys.exit("the read did not come back at all")
(bytes_read, when), = came
print(f"poll says: {'readable' if readable else 'empty'}; the read that must not wait came back after {when - began:.1f} s,",
      "right after the socket had a byte" if waits else "at once")
sys.exit(0 if readable and waits and bytes_read == b"hello" else 1)
PYTHON
python3 "$folder/splice.py"
