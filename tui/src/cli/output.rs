//! Our own stdout: whether it is a terminal, how wide, and printing to it.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use serde::Serialize;

use super::{
    failure::Failure,
    table::{Tone, truncate},
};

/// Whether a line that is drawn over stands on stderr now; whoever writes to the terminal removes it first.
static LINE: AtomicBool = AtomicBool::new(false);

/// Whether stdout is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Columns of the terminal on stdout; nothing is fitted where it is none.
pub(crate) fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    Some(if size.ws_col == 0 { 80 } else { usize::from(size.ws_col) })
}

/// Whether to colour stdout: a terminal that can, and people who did not say no.
pub(crate) fn colour() -> bool {
    is_terminal() && wants_colour()
}

/// Whether people want colours on their terminals.
pub(crate) fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && is_smart()
}

/// Whether the terminals of this process understand control sequences.
pub(crate) fn is_smart() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Prints `text` as it is.
///
/// # Errors
/// A quiet failure where nobody reads any more, a loud one for a full disk.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes())
}

/// Prints bytes as they are, as [`print()`].
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    clear_line();
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| broken(&error))
}

/// JSON on a line of its own.
pub(crate) fn print_line(value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(value).map_err(|error| Failure::failed(error.to_string()))?;
    print(&format!("{json}\n"))
}

/// Prints a value as JSON, indented, with a line end.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::failed(format!("no JSON: {error}")))?;
    print(&(text + "\n"))
}

/// Says something beside the output, for people; a lost stderr is no failure.
pub(crate) fn note(text: &str) {
    clear_line();
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Asks on the terminal before something is lost: `does` says what is done, `question` what it costs, and `otherwise` what to
/// say after a no.
///
/// # Errors
/// After a no; and a usage error where there is no terminal to ask on.
pub(crate) fn confirm(does: &str, question: &str, otherwise: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let failure = Failure::usage(format!("{does} and there is no terminal to ask on"));
        return Err(failure.hint("say --yes if you mean it"));
    }
    write_stderr(question);
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::failed(format!("no answer: {error}")))?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") { Ok(()) } else { Err(Failure::failed(otherwise)) }
}

/// The failure of a broken stdout. A reader that went away, like `head`, is no error.
pub(crate) fn broken(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::quiet(0),
        _ => Failure::failed(format!("cannot write to stdout: {error}")),
    }
}

/// Number of columns of the terminal on stderr; 80 where that is none.
pub(crate) fn stderr_width() -> usize {
    match rustix::termios::tcgetwinsize(rustix::stdio::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => 80,
    }
}

/// Draws a line on stderr in the place of the one that is there; whatever is printed next removes it.
pub(crate) fn draw_line(line: &str) {
    let line = truncate(line, stderr_width().saturating_sub(1));
    LINE.store(true, Relaxed);
    write_stderr(&format!("\r\x1b[K{}", Tone::Dim.paint(&line, wants_colour())));
}

/// Removes the line that is drawn over, if there is one.
pub(crate) fn clear_line() {
    if LINE.swap(false, Relaxed) {
        write_stderr("\r\x1b[K");
    }
}

/// Writes to stderr without a line end, for a line that is drawn over.
pub(crate) fn write_stderr(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
