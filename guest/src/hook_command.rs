//! `session hook`: what an agent's program runs at its events. It is quick, prints nothing, and never fails: some programs take
//! an exit code or an output for an answer.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    process::ExitCode,
    sync::mpsc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    hooks,
    session_protocol::{HookReport, Request, ask},
};

/// Longest input that is read, in bytes: a tool's arguments may be a whole file.
const INPUT_MAX: u64 = 8 << 20;
/// Longest wait for the program to hand over the input, and for the supervisor to take the report.
const WITHIN: Duration = Duration::from_secs(3);
/// Most processes above this one that are looked at, and longest command line of one that is read, in bytes.
const ABOVE: (usize, u64) = (6, 64 << 10);

/// Tells the supervisor at `socket` what a program of this name says. `handed`: arguments after the name, of which the last is
/// the input where it is an object (Codex's `notify`); else the input comes on stdin.
pub(crate) fn run(socket: &Path, program: &str, handed: &[String]) -> ExitCode {
    let input = match handed.last() {
        Some(json) if json.starts_with('{') => Some(json.clone().into_bytes()),
        _ => from_stdin(),
    };
    if let Some(report) = input.and_then(|input| hooks::read(program, &input, asks_nobody(program), now())) {
        tell(socket, report);
    }
    ExitCode::SUCCESS
}

fn tell(socket: &Path, report: HookReport) {
    let request = Request::Hook(report);
    if request.check().is_ok() {
        // Whether it arrives is no affair of the program's.
        let _ = ask(socket, &request, Some(WITHIN));
    }
}

/// Reads stdin to its end. None: that takes too long, or there is more than is read.
fn from_stdin() -> Option<Vec<u8>> {
    let (done, input) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().take(INPUT_MAX + 1).read_to_end(&mut bytes);
        let _ = done.send(read.map(|_| bytes));
    });
    let bytes = input.recv_timeout(WITHIN).ok()?.ok()?;
    (bytes.len() as u64 <= INPUT_MAX).then_some(bytes)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Whether the program that runs this was started without a person who could answer it, as by `claude -p` or `codex exec`.
fn asks_nobody(program: &str) -> bool {
    let mut pid = u32::try_from(rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get())).unwrap_or(0);
    for _ in 0..ABOVE.0 {
        if pid <= 1 {
            return false;
        }
        let words = command_line(pid);
        if words.iter().take(2).any(|word| Path::new(word).file_name().is_some_and(|name| name == program)) {
            return is_unattended(&words);
        }
        pid = parent(pid).unwrap_or(0);
    }
    false
}

fn is_unattended(words: &[String]) -> bool {
    // What comes after two dashes is a task.
    let options = words.iter().skip(1).take_while(|word| *word != "--");
    options.clone().any(|word| word == "-p" || word == "--print" || word == "--prompt")
        || options.take(2).any(|word| word == "exec")
}

fn command_line(pid: u32) -> Vec<String> {
    let Ok(file) = fs::File::open(format!("/proc/{pid}/cmdline")) else { return vec![] };
    let mut bytes = Vec::new();
    let _ = file.take(ABOVE.1).read_to_end(&mut bytes);
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Id of a process's parent: the second field after the name, which may hold anything.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_started_without_a_person_is_known() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for line in ["claude -p hello", "claude --model x --print hello", "codex exec fix", "node gemini --prompt x"] {
            assert!(is_unattended(&words(line)), "{line}");
        }
        for line in ["claude", "claude --session-id 1 -- -p", "codex --no-daemon resume x", "codex -- exec"] {
            assert!(!is_unattended(&words(line)), "{line}");
        }
    }

    #[test]
    fn processes_above_are_found() {
        let own = std::process::id();
        assert!(parent(own).is_some_and(|pid| pid != own) && !command_line(own).is_empty());
        assert!(!asks_nobody("no such program"));
    }
}
