//! Whether a program that was just started is there to read what is typed.
//!
//! A program that sets its terminal up throws away what was typed before (codex 0.171), or takes what was typed as lines for a text
//! that nobody submitted (claude-code 2.1.332, gemini 0.61). So nothing is typed to a young program before it has its terminal in
//! raw mode, or sleeps in a read of it.

use std::{fs, time::Duration};

use crate::process::Pty;

/// Time after its start from which a program is taken to be as ready as it will be.
pub(super) const YOUNG: Duration = Duration::from_secs(30);

/// Whether the terminal's program reads it, or will see what is typed as it is: it is in raw mode, or sleeps until a line comes.
pub(super) fn reads(pty: &Pty) -> bool {
    let Ok(lines) = pty.reads_lines() else { return true };
    !lines || pty.foreground().is_ok_and(|group| fs::read_dir("/proc").is_ok_and(|all| any_reads(all, group)))
}

fn any_reads(all: fs::ReadDir, group: i32) -> bool {
    let names = all.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    pids.any(|pid| {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        group_of(&read("stat")) == Some(group) && is_read(&read("syscall"))
    })
}

/// The process group in a line of /proc/PID/stat.
fn group_of(stat: &str) -> Option<i32> {
    // The name before it may hold anything, brackets and blanks included.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(2)?.parse().ok()
}

/// Whether a line of /proc/PID/syscall is of a process that sleeps in a read of its standard input.
fn is_read(syscall: &str) -> bool {
    let mut words = syscall.split_whitespace();
    words.next().and_then(|number| number.parse().ok()) == Some(libc::SYS_read) && words.next() == Some("0x0")
}

/// Whether a program that has written this wants pastes in brackets (mode 2004), as far as this tells.
pub(super) fn wants_brackets(written: &[u8]) -> bool {
    let last = |mode: &[u8]| written.windows(mode.len()).rposition(|bytes| bytes == mode);
    last(b"\x1b[?2004h") > last(b"\x1b[?2004l")
}

/// The text as terminals paste it: lines end with a carriage return, and nothing inside ends the bracket.
pub(super) fn bracketed(text: &str) -> Vec<u8> {
    let inside: String = text.chars().filter(|&c| c == '\n' || !c.is_control() || c == '\t').collect();
    format!("\x1b[200~{}\x1b[201~", inside.replace('\n', "\r")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        assert_eq!(group_of("7 (a) b (c)) S 1 42 7 0"), Some(42));
        assert_eq!((group_of(""), group_of("7 (x) S 1 y")), (None, None));
        let read = libc::SYS_read;
        assert!(is_read(&format!("{read} 0x0 0x7ffc 0x1 0x0 0x0 0x0 0x7ff 0x7f1\n")));
        assert!(
            !is_read(&format!("{read} 0x3 0x7ffc\n"))
                && !is_read("running\n")
                && !is_read("61 0xffff\n")
                && !is_read("")
        );
    }

    #[test]
    fn brackets_are_asked_for() {
        for (written, wants) in
            [("", false), ("a\x1b[?2004hb", true), ("\x1b[?2004h\x1b[?2004l", false), ("\x1b[?2004l\x1b[?2004h", true)]
        {
            assert_eq!(wants_brackets(written.as_bytes()), wants, "{written:?}");
        }
    }

    #[test]
    fn a_paste_cannot_end_its_bracket() {
        assert_eq!(bracketed("a\n\tb\x1b[201~c"), b"\x1b[200~a\r\tb[201~c\x1b[201~");
    }
}
