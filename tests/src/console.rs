//! A program on a pseudo-terminal, with a terminal emulator that knows what stands on its screen.

use std::{
    io::{Read, Write},
    num::NonZero,
    process::Command,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// Keys that have no character of their own.
pub mod keys {
    /// The key Enter.
    pub const ENTER: &str = "\r";
    /// The key Escape.
    pub const ESCAPE: &str = "\x1b";
    /// The key Up.
    pub const UP: &str = "\x1b[A";
    /// The key Down.
    pub const DOWN: &str = "\x1b[B";
    /// The default prefix of the console while attached: Ctrl-].
    pub const PREFIX: &str = "\x1d";
    /// The keys Ctrl-S, which send what is filled in.
    pub const SAVE: &str = "\x13";
    /// The keys Ctrl-C.
    pub const INTERRUPT: &str = "\x03";
}

/// What the program has drawn so far.
struct Seen {
    screen: vt100::Parser,
    bytes: Vec<u8>,
    ended: bool,
}

type Shared = Arc<(Mutex<Seen>, Condvar)>;

/// A wait that failed panics with the lock held; what was seen is as good as before.
fn lock(seen: &Shared) -> MutexGuard<'_, Seen> {
    seen.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running program and its screen. Dropping it ends the program.
pub struct Console {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    seen: Shared,
}

impl Console {
    /// Runs `command` on a terminal of this size.
    #[must_use]
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let pty = native_pty_system().openpty(size(columns, rows)).unwrap();
        let child = pty.slave.spawn_command(translate(command)).unwrap();
        drop(pty.slave);
        let screen = vt100::Parser::new(cells(rows), cells(columns), 0);
        let seen = Arc::new((Mutex::new(Seen { screen, bytes: Vec::new(), ended: false }), Condvar::new()));
        let mut reader = pty.master.try_clone_reader().unwrap();
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            loop {
                // An error is how a PTY says that its other end is closed.
                let count = reader.read(&mut buffer).unwrap_or(0);
                let mut seen = lock(&shared);
                seen.screen.process(&buffer[..count]);
                seen.bytes.extend_from_slice(&buffer[..count]);
                seen.ended = count == 0;
                shared.1.notify_all();
                if seen.ended {
                    return;
                }
            }
        });
        let writer = pty.master.take_writer().unwrap();
        Self { child, master: pty.master, writer, seen }
    }

    /// Types these keys.
    pub fn send(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).unwrap();
        self.writer.flush().unwrap();
    }

    /// Changes the size of the window.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        lock(&self.seen).screen.screen_mut().set_size(cells(rows), cells(columns));
        self.master.resize(size(columns, rows)).unwrap();
    }

    /// Text that stands on the screen.
    #[must_use]
    pub fn contents(&self) -> String {
        lock(&self.seen).screen.screen().contents()
    }

    /// Every byte that the program has drawn.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        lock(&self.seen).bytes.clone()
    }

    /// Number of bytes that the program has drawn.
    #[must_use]
    pub fn drawn(&self) -> usize {
        lock(&self.seen).bytes.len()
    }

    /// Waits until `byte` has been drawn after the first `from` bytes.
    pub fn wait_for_byte(&self, from: usize, byte: u8, within: Duration) {
        let end = Instant::now() + within;
        let mut seen = lock(&self.seen);
        while !seen.bytes[from..].contains(&byte) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !seen.ended, "{byte:?} was not drawn:\n{}", seen.screen.screen().contents());
            seen = self.seen.1.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the screen is the alternate one, as full-screen programs use it.
    #[must_use]
    pub fn alternate(&self) -> bool {
        lock(&self.seen).screen.screen().alternate_screen()
    }

    /// Waits until `wanted` is true of the screen. Panics with the screen after `within`.
    pub fn wait_until(&self, what: &str, within: Duration, wanted: impl Fn(&vt100::Screen) -> bool) {
        let end = Instant::now() + within;
        let mut seen = lock(&self.seen);
        while !wanted(seen.screen.screen()) {
            let left = end.saturating_duration_since(Instant::now());
            let contents = seen.screen.screen().contents();
            assert!(!left.is_zero() && !seen.ended, "waited in vain for {what} (ended: {}):\n{contents}", seen.ended);
            seen = self.seen.1.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until `text` stands on the screen.
    pub fn wait_for(&self, text: &str, within: Duration) {
        self.wait_until(&format!("{text:?}"), within, |screen| screen.contents().contains(text));
    }

    /// Waits until `text` no longer stands on the screen.
    pub fn wait_for_no(&self, text: &str, within: Duration) {
        self.wait_until(&format!("no {text:?}"), within, |screen| !screen.contents().contains(text));
    }

    /// Waits until the program has ended; returns its exit code.
    pub fn wait_for_end(&mut self, within: Duration) -> u32 {
        let end = Instant::now() + within;
        let mut seen = lock(&self.seen);
        while !seen.ended {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the program goes on:\n{}", seen.screen.screen().contents());
            seen = self.seen.1.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(seen);
        self.child.wait().unwrap().exit_code()
    }

    /// Process id of the program.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.process_id().unwrap().try_into().unwrap()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a terminal has rows and columns")
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn translate(command: &Command) -> CommandBuilder {
    let mut builder = CommandBuilder::new(command.get_program());
    builder.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => builder.env(name, value),
            None => builder.env_remove(name),
        }
    }
    builder.env("TERM", "xterm-256color");
    builder.env("COLORTERM", "truecolor");
    builder
}
