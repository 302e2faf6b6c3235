#!/usr/bin/env bash
# crossterm 0.29.0: a key that arrives in the same moment as a change of the window's size is not reported.
#
# What one would guess: `event::poll` says whether anything can be read, so a program that loops over `poll` and `read` sees
# each key at once, whatever else happens.
# What happens with the default event source (mio, which waits for edges of readiness): the wait for events wakes up for the
# terminal and for SIGWINCH together; the resize is returned, and that the terminal was readable too is forgotten. The key
# lies in the terminal until the next key makes a new edge, or for ever. With the feature `use-dev-tty`, whose source asks for
# the level of readiness (poll), every key is reported.
#
# What is run: a program of a few lines that prints the keys it reads, on a pseudo-terminal whose size is changed right before
# each key is written, with a pause of 0 to 190 microseconds between, at most 3,000 times. Expected: "default: a key was late" and "use-dev-tty: no key was late".
# Needs: cargo, python3. Exit code 0 as long as crossterm behaves so, 1 where it does not any more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export CARGO_TARGET_DIR=$folder/target

program() { # NAME FEATURES
    mkdir -p "$folder/$1/src"
    cat >"$folder/$1/Cargo.toml" <<TOML
[package]
name = "$1"
version = "0.0.0"
edition = "2021"
[dependencies]
crossterm = { version = "=0.29.0", features = [$2] }
[workspace]
TOML
    cat >"$folder/$1/src/main.rs" <<'RUST'
use crossterm::{event::{poll, read, Event, KeyCode}, terminal};
use std::{io::Write, time::Duration};

fn main() -> std::io::Result<()> {
    terminal::enable_raw_mode()?;
    let mut out = std::io::stdout();
    write!(out, "ready\n")?;
    out.flush()?;
    loop {
        // Exactly as documented: `read` follows a `poll` that said yes.
        if !poll(Duration::from_millis(50))? {
            continue;
        }
        if let Event::Key(key) = read()? {
            let KeyCode::Char(letter) = key.code else { continue };
            if letter == 'q' {
                return terminal::disable_raw_mode();
            }
            write!(out, "<{letter}>\n")?;
            out.flush()?;
        }
    }
}
RUST
    cargo build --quiet --release --manifest-path "$folder/$1/Cargo.toml"
}

cat >"$folder/drive.py" <<'PYTHON'
import fcntl, os, pty, select, struct, sys, termios, time

pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1]])
seen = b""

def shows(wanted, seconds):
    global seen
    end = time.monotonic() + seconds
    while wanted not in seen:
        left = end - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            return False
        seen += os.read(terminal, 4096)
    return True

late = None
try:
    if not shows(b"ready", 10):
        sys.exit("the program did not start")
    for turn in range(3000):
        letter = b"abcdefghij"[turn % 10 : turn % 10 + 1]
        seen = b""
        # The program sleeps in poll meanwhile; then both at once.
        time.sleep(0.002)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80 + turn % 7, 0, 0))
        pause = time.perf_counter_ns() + turn % 20 * 10_000
        while time.perf_counter_ns() < pause:
            pass
        os.write(terminal, letter)
        if not shows(b"<" + letter + b">", 2):
            late = turn
            # It was not lost: the next key brings both.
            os.write(terminal, b"z")
            both = shows(b"<" + letter + b">", 2) and shows(b"<z>", 2)
            print(f"{sys.argv[2]}: a key was late: nothing of it for 2 s; the next key brought both: {both} (turn {turn + 1})")
            break
    else:
        print(f"{sys.argv[2]}: no key was late in 3000")
finally:
    os.write(terminal, b"q")
    os.waitpid(pid, 0)
sys.exit(0 if (late is not None) == (sys.argv[2] == "default") else 1)
PYTHON

program default '"events"'
program use-dev-tty '"events", "use-dev-tty"'
code=0
for name in default use-dev-tty; do
    python3 "$folder/drive.py" "$folder/target/release/$name" "$name" || code=1
done
exit $code
