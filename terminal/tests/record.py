#!/usr/bin/env python3
"""Records what programs draw and what tmux shows of it, for terminal/src/corpus.rs.

Usage: terminal/tests/record.py [--screens] [NAME...]      all of them by default; needs tmux 3.3a and the programs
       --screens: asks tmux again, of what was recorded

NAME.bytes is what the program wrote to a terminal of 80 columns and 24 rows. NAME.screen is what tmux shows of these bytes: after
a line with the cursor's column and row, two lines for each row: its text; then how many of its cells tmux tells of, and their runs
of style (FIRST-LAST and what differs). Of cells behind these that were only erased tmux does not tell the colour.
"""
import fcntl, os, pty, re, select, shutil, signal, struct, subprocess, sys, tempfile, termios, time

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
ROWS, COLUMNS = 24, 80
# DEC special graphics, which tmux writes between SO and SI.
LINES = dict(zip("_`abcdefghijklmnopqrstuvwxyz{|}~", " ◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·"))

CURSES = """
import curses, time
def main(screen):
    curses.start_color(); curses.use_default_colors()
    for n in range(8): curses.init_pair(n + 1, n, -1 if n % 2 else 7 - n)
    screen.border(); screen.addstr(2, 4, "curses", curses.A_BOLD | curses.A_UNDERLINE)
    for n in range(8): screen.addstr(4 + n, 6 + n, f"pair {n}", curses.color_pair(n + 1) | (curses.A_REVERSE if n == 3 else 0))
    box = screen.subwin(8, 30, 4, 40); box.bkgd(" ", curses.color_pair(5)); box.box(); box.addstr(1, 2, "a box")
    screen.scrollok(True); screen.setscrreg(14, 20)
    screen.refresh(); box.refresh()
    for n in range(12): screen.addstr(20, 3, f"scrolled {n} "); screen.scroll(1); screen.refresh()
    screen.insstr(22, 2, "inserted "); screen.refresh(); time.sleep(60)
curses.wrapper(main)
"""
TEXT = "".join(f"{n} def line(number={n}, text='{'x' * (n % 50)}'):  # caf\u00e9 \u65e5\u672c\n    return None\n" for n in range(200))
BAR = r"""printf 'start\n\e7\e[1;23r\e8\e[1A'; for n in 1 2 3 4 5 6 7 8 9; do
printf '\e7\e[24;1H\e[42m\e[30mProgress: [ %s0%%]\e[49m\e[39m [####....]\e8' $n; printf 'Unpacking package %s ...\n' $n; seq 1 4; done; sleep 60"""

# Its command, and what is typed: a text, or a pause in seconds.
PROGRAMS = {
    "vim": (["vim", "-u", "NONE", "--cmd", "set nocp ruler hlsearch incsearch | syn on | set nu cul", "{text}.py"],
            [1, "/return\r", 0.3, "\x04\x04", 0.3, ":split\r", 0.3, "10\x19", 0.3, "iinserted \x1b", 0.3, "dd"]),
    "htop": (["htop", "--no-mouse"], [2, "t", 1, "\x1b[B\x1b[B", 1]),
    "less": (["less", "-N", "{text}.py"], [0.6, " ", 0.3, "/def\r", 0.3, "kkk", 0.3, "b", 0.3]),
    "tmux": (["tmux", "-L", "{name}", "-f", "/dev/null", "new-session", "seq 1 30; exec sh"],
             [1.2, "echo left\r", 0.4, "\x02%", 0.8, "echo right\r", 0.4, '\x02"', 0.8, "ls -d /etc/*.conf\r", 0.8]),
    "dialog": (["dialog", "--colors", "--menu", "Choose \\Zb\\Z1one\\Zn of these", "14", "50", "6", "1", "first", "2", "second", "3", "third"],
               [1, "\x1b[B", 0.4]),
    "gauge": (["sh", "-c", "for n in 10 45 80; do echo $n; sleep 0.2; done | dialog --gauge Working 8 60; sleep 60"], [2]),
    "mc": (["mc", "-a", "-d", "/etc", "/usr"], [2, "\x1b[B\x1b[B\x1b[B", 0.4, "\x1b9", 0.5]),
    "mc-lines": (["mc", "-d", "/etc", "/usr"], [2, "\x1b[B\x1b[B", 0.4]),
    "nano": (["nano", "{text}.py"], [1, "\x1b[6~", 0.3, "typed here", 0.3, "\x17def\r", 0.4]),
    "ncdu": (["ncdu", "--color", "dark", "/etc"], [1.5, "jjj", 0.3, "i", 0.4]),
    "curses": (["python3", "-c", CURSES], [2]),
    "bash": (["bash", "--norc", "-i"], [1.5, "PS1='$ '\r", 0.2, "for n in $(seq 1 30); do echo $n; done\r", 1.5,
              "echo a line that is so long that it goes on in the next row of the terminal, and then a word more", 1.5, "\x01", 0.5,
              "time ", 0.5, "\x1bf\x1bf\x0b", 0.5, "\x03", 0.5, "printf '\\033[1;38;5;208mcolour\\033[0m\\tand tab\\n'\r", 0.3]),
    "progress-bar": (["bash", "-c", BAR], [1.5]),
    "fzf-like": (["sh", "-c", r"printf '\e[?7l\e[6n\e[2J\e[H'; seq 1000 1020 | while read n; do printf '\e[7m> %s\e[0m %0100d\r\n' $n $n; done; printf '\e[3;1H\e[2L\e[44minserted\e[K\e[0m\e[10;20H\e[5@\e[4hxyz\e[4l\e[12;10H\e[3Pdeleted\e[?7h'; sleep 60"], [1]),
}


def record(command, typed):
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", LANG="C.UTF-8", LC_ALL="C.UTF-8", COLUMNS="80", LINES="24", PS1="$ ")
        os.environ.pop("TMUX", None)
        time.sleep(0.1)
        os.execvp(command[0], command)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    out = b""

    def read(seconds):
        nonlocal out
        end = time.time() + seconds
        while time.time() < end:
            if select.select([fd], [], [], 0.05)[0]:
                try:
                    out += os.read(fd, 65536)
                except OSError:
                    return

    for what in typed:
        if isinstance(what, str):
            os.write(fd, what.encode())
        else:
            read(what)
    read(0.8)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return out


def shown(file):
    """What tmux shows of the file's bytes: its capture, and the cursor."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/conf", "w") as conf:
            conf.write("set -g status off\nset -g remain-on-exit on\nset -g default-terminal xterm-256color\n")
        tmux = ["tmux", "-u", "-S", f"{folder}/s", "-f", f"{folder}/conf"]
        subprocess.run([*tmux, "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), f"stty raw -echo; cat '{file}'; exec sleep 60"], check=True)
        time.sleep(2)
        ask = lambda *words: subprocess.run([*tmux, *words], check=True, capture_output=True).stdout.decode()
        capture, cursor = ask("capture-pane", "-e", "-p", "-N"), ask("display-message", "-p", "#{cursor_x} #{cursor_y}")
        subprocess.run([*tmux, "kill-server"], check=True)
    return capture, cursor.strip()


def color(codes):
    kind = codes.pop(0)
    return str(codes.pop(0)) if kind == 5 else "#%02x%02x%02x" % tuple(codes.pop(0) for _ in range(3))


def apply(style, text):
    codes = [int(part or 0) for part in text.replace(":", ";").split(";")]
    names = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse"}
    while codes:
        code = codes.pop(0)
        if code == 0: style.clear()
        elif code in names: style[names[code]] = True
        elif code == 21: style["underline"] = True
        elif code in (38, 48): style["fg" if code == 38 else "bg"] = color(codes)
        elif code == 58: color(codes)
        elif 30 <= code <= 37: style["fg"] = str(code - 30)
        elif 40 <= code <= 47: style["bg"] = str(code - 40)
        elif 90 <= code <= 97: style["fg"] = str(code - 82)
        elif 100 <= code <= 107: style["bg"] = str(code - 92)
        elif code in (39, 49): style.pop("fg" if code == 39 else "bg", None)


def width(c):
    import unicodedata
    return 0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1


def screen(capture):
    style, lines, out = {}, False, []
    for row in capture.split("\n")[:ROWS]:
        text, styles = "", []
        for part in re.findall(r"\x1b\[[0-9;:]*m|\x1b\][^\x1b\x07]*(?:\x1b\\|\x07)|.", row, re.S):
            if part.startswith("\x1b["): apply(style, part[2:-1])
            elif part.startswith("\x1b]"): pass
            elif part in "\x0e\x0f": lines = part == "\x0e"
            else:
                part = LINES.get(part, part) if lines else part
                text += part
                styles += [" ".join(k if v is True else f"{k}={v}" for k, v in sorted(style.items()))] * width(part)
        runs, first = [], 0
        for at in range(1, len(styles) + 1):
            if at == len(styles) or styles[at] != styles[first]:
                if styles[first]: runs.append(f"{first}-{at - 1} {styles[first]}")
                first = at
        out += ["|" + text.rstrip(), f"~{len(styles)} " + ", ".join(runs)]
    return "\n".join(out)


def keep(name):
    capture, cursor = shown(f"{HERE}/{name}.bytes")
    with open(f"{HERE}/{name}.screen", "w") as file:
        file.write(f"{cursor}\n{screen(capture)}\n")
    print(name, cursor)


def main():
    names = sys.argv[1:]
    again = names[:1] == ["--screens"]
    folder = tempfile.mkdtemp()
    try:
        with open(f"{folder}/text.py", "w") as file:
            file.write(TEXT)
        for name in names[again:] or PROGRAMS:
            if again:
                keep(name)
                continue
            command, typed = PROGRAMS[name]
            command = [word.replace("{text}", f"{folder}/text").replace("{name}", f"record-{os.getpid()}") for word in command]
            out = record(command, typed)
            if name == "tmux": subprocess.run(["tmux", "-L", f"record-{os.getpid()}", "kill-server"])
            with open(f"{HERE}/{name}.bytes", "wb") as file:
                file.write(out)
            keep(name)
    finally:
        shutil.rmtree(folder)


main()
