//! The real terminal: taken over, given back.

use std::{
    io::{self, BufWriter, IsTerminal as _, Stdout, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use crossterm::{
    cursor, event, execute, queue,
    style::Print,
    terminal::{self, BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen},
};
use pilothouse_terminal::guard::is_guarded;
use ratatui::{Frame, Terminal, backend::CrosstermBackend, layout::Rect};
use tokio::sync::Notify;

/// Bytes by which the window's title is remembered; [`TITLE_BACK`] brings it back.
const TITLE_KEPT: &str = "\x1b[22;0t";
const TITLE_BACK: &str = "\x1b[23;0t";
/// Bytes by which Shift-Enter and Enter are told apart where the terminal can (kitty's protocol); [`KEYS_BACK`] ends that.
const KEYS_APART: &str = "\x1b[>1u";
const KEYS_BACK: &str = "\x1b[<u";

/// Whether the terminal is taken over now, for the panic hook.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Told when any task has panicked: the console ends then, since the terminal is restored already.
pub(super) static PANICKED: Notify = Notify::const_new();

/// The terminal, taken over. Dropping it gives the terminal back.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    mouse: bool,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn enter() -> io::Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(io::Error::other("stdin or stdout is no terminal"));
        }
        restore_on_panic();
        take()?;
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(1 << 16, io::stdout())))
            .inspect_err(|_| give_back())?;
        Ok(Self { terminal, mouse: false })
    }

    /// Number of columns and of rows.
    pub(super) fn size(&self) -> (u16, u16) {
        self.terminal.size().map_or((80, 24), |size| (size.width, size.height))
    }

    /// Draws a frame; what is the same as in the last one is not written.
    pub(super) fn draw(&mut self, view: impl FnOnce(&mut Frame)) -> io::Result<()> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(view)?;
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        io::Write::flush(self.terminal.backend_mut())
    }

    /// Has everything written again with the next frame. Not `clear`, which asks the terminal where its cursor is and cannot
    /// hear the answer: the events' task reads the keyboard.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    /// Writes bytes that change no cell.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let out = self.terminal.backend_mut();
        out.write_all(bytes)?;
        io::Write::flush(out)
    }

    /// Gives the window a title; empty: the one that it had.
    pub(super) fn title(&mut self, title: &str) -> io::Result<()> {
        let title: String = title.chars().filter(|c| !c.is_control()).collect();
        match title.as_str() {
            // Back, and remembered again.
            "" => self.write(format!("{TITLE_BACK}{TITLE_KEPT}").as_bytes()),
            title => self.write(format!("\x1b]2;{title}\x1b\\").as_bytes()),
        }
    }

    /// Wants events of the mouse, or no longer.
    pub(super) fn mouse(&mut self, wanted: bool) -> io::Result<()> {
        if std::mem::replace(&mut self.mouse, wanted) == wanted {
            return Ok(());
        }
        if wanted {
            execute!(io::stdout(), event::EnableMouseCapture)
        } else {
            execute!(io::stdout(), event::DisableMouseCapture)
        }
    }

    /// Gives the terminal back, stops the process as Ctrl-Z does elsewhere, and takes the terminal again afterwards.
    pub(super) fn background(&mut self) -> io::Result<()> {
        give_back();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)?;
        take()?;
        if std::mem::take(&mut self.mouse) {
            self.mouse(true)?;
        }
        self.forget()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let taken = execute!(
        io::stdout(),
        Print(TITLE_KEPT),
        EnterAlternateScreen,
        Print(KEYS_APART),
        event::EnableBracketedPaste,
        event::EnableFocusChange,
        cursor::Hide
    );
    taken.inspect_err(|_| give_back())
}

/// Nobody could do anything about an error here: the terminal is gone then.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        let _ = queue!(out, event::DisableMouseCapture, event::DisableBracketedPaste, event::DisableFocusChange);
        let _ = queue!(out, EndSynchronizedUpdate);
        let _ = queue!(out, Print(KEYS_BACK), LeaveAlternateScreen, Print(TITLE_BACK), cursor::Show);
        let _ = out.flush();
        let _ = terminal::disable_raw_mode();
    }
}

/// A panic in any task, unless it is expected, gives the terminal back before it is reported, and ends the console.
fn restore_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if is_guarded() {
            return;
        }
        give_back();
        report(panic);
        PANICKED.notify_one();
    }));
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _};

    use pilothouse_terminal::guard::guarded;
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};
    use rustix::termios::{Termios, tcgetattr};

    use super::*;

    /// Set in the process that the test below starts: itself, on a terminal that it may take.
    const ON_TERMINAL: &str = "PILOTHOUSE_TEST_ON_TERMINAL";

    fn panic_on_a_terminal() {
        let screen = Screen::enter().unwrap();
        assert!(guarded(|| panic!("as the guest wants it")).is_none());
        println!("expected: taken {}", TAKEN.load(Ordering::SeqCst));
        let _ = std::panic::catch_unwind(|| panic!("as the test wants it"));
        println!("unexpected: taken {}", TAKEN.load(Ordering::SeqCst));
        // Never dropped, so the hook alone has given the terminal back.
        std::mem::forget(screen);
    }

    fn settings(modes: &Termios) -> impl PartialEq + std::fmt::Debug + use<> {
        (modes.input_modes, modes.output_modes, modes.control_modes, modes.local_modes)
    }

    #[test]
    fn a_panic_gives_the_terminal_back_unless_it_is_expected() {
        if std::env::var_os(ON_TERMINAL).is_some() {
            return panic_on_a_terminal();
        }
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let name = pair.master.tty_name().unwrap();
        let modes = || tcgetattr(File::open(&name).unwrap()).unwrap();
        let before = modes();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        let own = "console::screen::tests::a_panic_gives_the_terminal_back_unless_it_is_expected";
        command.args(["--exact", "--nocapture", own]);
        command.env(ON_TERMINAL, "1");
        command.env("RUST_BACKTRACE", "0");
        let mut output = pair.master.try_clone_reader().unwrap();
        let mut child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        // An error is how a PTY says that its other end is closed.
        let mut bytes = Vec::new();
        let _ = output.read_to_end(&mut bytes);
        assert!(child.wait().unwrap().success());
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("expected: taken true") && !text.contains("as the guest wants it"), "{text}");
        // The title's stack is of the terminal, the keyboard's of the alternate screen: given back in it.
        let taken = [TITLE_KEPT, "\x1b[?1049h", KEYS_APART, KEYS_BACK, "\x1b[?1049l", TITLE_BACK];
        let places: Vec<_> = taken.iter().map(|sequence| text.find(sequence)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {text:?}");
        let mut shown = vt100::Parser::default();
        shown.process(&bytes);
        let screen = shown.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        // What it said stands where people read it.
        assert!(screen.contents().contains("as the test wants it"), "{}", screen.contents());
        assert!(screen.contents().contains("unexpected: taken false") && !screen.contents().contains("taken true"));
        assert_eq!(settings(&modes()), settings(&before));
    }
}
