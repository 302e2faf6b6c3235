#!/usr/bin/env python3
"""Records what programs draw and what tmux and xterm show of it, for terminal/src/corpus.rs.

Usage: terminal/tests/record.py [--screens] [NAME...]      all of them by default
       --screens: asks tmux and xterm again, of what was recorded

Needs tmux 3.3a, xterm 379, Xvfb and the programs; for agents node and npm, which installs them into a temporary folder.

NAME.bytes is what the program wrote to a terminal of 80 columns and 24 rows. NAME.screen is what tmux shows of these bytes: after
a line with the cursor's column and row, two lines for each row: its text; then how many of its cells tmux tells of, and their runs
of style (FIRST-LAST and what differs). Of cells behind these that were only erased tmux does not tell the colour. NAME.xterm is what
xterm shows, asked for each cell by DECRQCRA: the same lines, of all cells, but without colours, which that does not tell.

Agents are recorded without an account, in a home that has nothing in it, up to where they would talk to a model.
"""
import fcntl, json, os, pty, re, select, shutil, signal, struct, subprocess, sys, tempfile, termios, time

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

HOME = "/tmp/recorded"
# Its package, its program, files of its home, variables, and what is typed. They ask their terminal questions, which tmux answers.
AGENTS = {
    "claude": ("@anthropic-ai/claude-code@2.1.197", "claude", {".claude.json": '{"hasCompletedOnboarding": true, "theme": "dark"}'},
               {"ANTHROPIC_AUTH_TOKEN": "none", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "DISABLE_AUTOUPDATER": "1",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
               [20, "Enter", 15, "/", 2, "Down", 1, "Down", 1, "Escape", 1, "h", "e", "l", "l", "o", 2]),
    "codex": ("@openai/codex@0.171.0", "codex", {}, {}, [12, "Down", 1, "Down", 1]),
    "opencode": ("opencode-ai@1.18.33", "opencode", {}, {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
                 [60, "f", "i", "x", 1, "C-p", 2, "Down", 1, "Escape", 2]),
}
# Runs in xterm: writes the file of bytes, then asks for each cell's character, and for it with its attributes.
ASKS = r"""
import json, os, re, select, sys, time, tty
tty.setraw(0)
def read(seconds):
    out = b""
    while select.select([0], [], [], seconds)[0]: out += os.read(0, 65536)
    return out
data = open(sys.argv[1], "rb").read()
while data:
    data = data[os.write(1, data[:1024]):]
    read(0)
os.write(1, b"\x18")
read(1)
def ask(question, answer, count):
    out, end = b"", time.time() + 20
    os.write(1, question)
    while len(re.findall(answer, out)) < count and time.time() < end:
        if select.select([0], [], [], 0.2)[0]: out += os.read(0, 65536)
    return re.findall(answer, out)
(row, column), = ask(b"\x1b[6n", rb"\x1b\[(\d+);(\d+)R", 1)
os.write(1, b"\x1b[?6l")
cells = []
for r in range(1, 25):
    both = []
    for extension in (23, 21):
        question = b"\x1b[%d#y" % extension + b"".join(b"\x1b[%d;1;%d;%d;%d;%d*y" % (c, r, c, r, c) for c in range(1, 81))
        got = {int(c): int(sum, 16) for c, sum in ask(question, rb"\x1bP(\d+)!~([0-9A-F]{4})\x1b", 80)}
        both.append([got[c] for c in range(1, 81)])
    cells.append(both)
json.dump([int(column) - 1, int(row) - 1, cells], open(sys.argv[2], "w"))
"""
ATTRIBUTES = [(0x80, "bold"), (0x40, "blink"), (0x08, "hidden"), (0x20, "inverse"), (0x10, "underline")]


def record_agent(name, folder):
    package, program, files, variables, typed = AGENTS[name]
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", folder, package], check=True)
    shutil.rmtree(HOME, ignore_errors=True)
    os.makedirs(f"{HOME}/work")
    subprocess.run(["git", "init", "-q", f"{HOME}/work"], check=True)
    for file, text in files.items():
        with open(f"{HOME}/{file}", "w") as out: out.write(text)
    variables = {"HOME": HOME, "PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "LANG": "C.UTF-8", **variables}
    words = " ".join(f"{name}={value}" for name, value in variables.items())
    tmux = ["tmux", "-u", "-S", f"{folder}/socket", "-f", "/dev/null"]
    start = f"stty -echo; read x; stty echo; cd {HOME}/work; exec env -i {words} {folder}/node_modules/.bin/{program}"
    subprocess.run([*tmux, "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), start], check=True)
    subprocess.run([*tmux, "set", "-g", "status", "off"], check=True)
    time.sleep(0.5)
    subprocess.run([*tmux, "pipe-pane", f"cat > {folder}/bytes"], check=True)
    for what in ["Enter", *typed]:
        time.sleep(what) if not isinstance(what, str) else subprocess.run([*tmux, "send-keys", what], check=True)
    subprocess.run([*tmux, "kill-server"], check=True)
    shutil.rmtree(HOME)
    with open(f"{folder}/bytes", "rb") as file: return file.read()


def in_xterm(file):
    """What xterm shows of the file's bytes, as it is kept."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/asks.py", "w") as script: script.write(ASKS)
        read, write = os.pipe()
        server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24"], pass_fds=[write], stderr=subprocess.DEVNULL)
        try:
            number = os.read(read, 16).decode().strip()
            subprocess.run(["xterm", "-geometry", f"{COLUMNS}x{ROWS}", "-u8", "-xrm", "XTerm*allowWindowOps: true", "-xrm",
                            "XTerm*disallowedWindowOps: 20,21", "-e", "python3", f"{folder}/asks.py", file, f"{folder}/cells"],
                           env={**os.environ, "DISPLAY": f":{number}", "LC_ALL": "C.UTF-8"}, check=True, timeout=120)
            with open(f"{folder}/cells") as answers: column, row, cells = json.load(answers)
        finally:
            server.terminate()
            server.wait()
    lines = [f"{column} {row}"]
    for characters, with_attributes in cells:
        # The second half of a wide character has none of its own.
        text = "".join(chr(c) if c else " " for c in characters if c != 0xffff)
        names = lambda bits: " ".join(name for bit, name in sorted(ATTRIBUTES, key=lambda it: it[1]) if bits & bit)
        styles = [names((both - c) & 0xffff) for c, both in zip(characters, with_attributes)]
        lines += ["|" + text.rstrip(), f"~{COLUMNS} " + runs(styles)]
    return "\n".join(lines) + "\n"


def runs(styles):
    found, first = [], 0
    for at in range(1, len(styles) + 1):
        if at == len(styles) or styles[at] != styles[first]:
            if styles[first]: found.append(f"{first}-{at - 1} {styles[first]}")
            first = at
    return ", ".join(found)


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
        out += ["|" + text.rstrip(), f"~{len(styles)} " + runs(styles)]
    return "\n".join(out)


def keep(name):
    capture, cursor = shown(f"{HERE}/{name}.bytes")
    with open(f"{HERE}/{name}.screen", "w") as file:
        file.write(f"{cursor}\n{screen(capture)}\n")
    with open(f"{HERE}/{name}.xterm", "w") as file:
        file.write(in_xterm(f"{HERE}/{name}.bytes"))
    print(name, cursor)


def main():
    names = sys.argv[1:]
    again = names[:1] == ["--screens"]
    folder = tempfile.mkdtemp()
    try:
        with open(f"{folder}/text.py", "w") as file:
            file.write(TEXT)
        for name in names[again:] or [*PROGRAMS, *AGENTS]:
            if again:
                keep(name)
                continue
            if name in AGENTS:
                with tempfile.TemporaryDirectory() as own, open(f"{HERE}/{name}.bytes", "wb") as file:
                    file.write(record_agent(name, own))
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
