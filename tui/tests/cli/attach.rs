//! `attach` and `exec -t` on a real PTY.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::Instant,
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::{
    fake::{Fake, session},
    program::{DEADLINE, until},
};

/// The program on a terminal, and what that shows.
struct OnTerminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl OnTerminal {
    fn start(fake: &Fake, arguments: &[&str]) -> Self {
        let size = PtySize { rows: 10, cols: 60, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_pilothouse"));
        command.args(arguments);
        command.env_clear();
        command.env("HOME", fake.folder.path());
        command.env("TERM", "xterm-256color");
        command.env("PILOTHOUSE_HOST", fake.address());
        let child = pair.slave.spawn_command(command).unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        let screen = vt100::Parser::new(10.try_into().unwrap(), 60.try_into().unwrap(), 0);
        let screen = Arc::new(Mutex::new(screen));
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                shown.lock().unwrap().process(&buffer[..count]);
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Self { child, master: pair.master, keys, screen }
    }

    async fn shows(&self, text: &str) {
        until(text, || self.screen.lock().unwrap().screen().contents().contains(text)).await;
    }

    fn type_in(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    fn is_raw(&self) -> bool {
        let slave = std::fs::File::open(self.master.tty_name().unwrap()).unwrap();
        let modes = rustix::termios::tcgetattr(slave).unwrap();
        !modes.local_modes.contains(rustix::termios::LocalModes::ICANON)
    }

    async fn ends(&mut self) -> u32 {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(Instant::now() < until, "it does not end");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_there_and_back_until_the_chord() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["attach", "alpha"]);
    at.shows("hello from the session").await;
    until("it is raw", || at.is_raw()).await;
    at.type_in(b"\r\nabc\x03\x1d\x1d");
    at.shows("abc").await;
    until("keys arrive", || fake.state.heard() == "\r\nabc\u{3}\u{1d}").await;
    at.type_in(b"\x1d?");
    at.shows("After Ctrl-]: d detach").await;
    at.type_in(b"\x1dd");
    assert_eq!(at.ends().await, 0);
    at.shows("[detached from alpha; it works on]").await;
    let screen = at.screen.lock().unwrap();
    let screen = screen.screen();
    assert!(!screen.alternate_screen() && !screen.bracketed_paste() && !at.is_raw());
    assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_sends_nothing() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["attach", "alpha", "--observe"]);
    at.shows("you observe, me types").await;
    at.type_in(b"abc\x1dw\x1dd");
    assert_eq!(at.ends().await, 0);
    assert_eq!(fake.state.heard(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resize_is_followed() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["attach", "alpha"]);
    at.shows("hello from the session").await;
    at.master.resize(PtySize { rows: 9, cols: 50, pixel_width: 0, pixel_height: 0 }).unwrap();
    at.shows("now 50x9").await;
    at.type_in(b"q");
    assert_eq!(at.ends().await, 0);
    at.shows("[alpha has ended: the agent ended]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_restored_when_the_host_dies_or_a_signal_comes() {
    let mut fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["attach", "alpha"]);
    let mut other = OnTerminal::start(&fake, &["attach", "alpha"]);
    at.shows("hello").await;
    other.shows("hello").await;
    let pid = rustix::process::Pid::from_raw(other.child.process_id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!((other.ends().await, other.is_raw()), (143, false));
    fake.kill().await;
    assert_eq!((at.ends().await, at.is_raw()), (5, false));
    at.shows("error: the host").await;
    assert!(!at.screen.lock().unwrap().screen().alternate_screen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_a_terminal() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["exec", "alpha", "-t", "--", "top"]);
    at.shows("xterm-256color 60x10").await;
    until("it is raw", || at.is_raw()).await;
    at.type_in(b"\x03");
    at.shows("b\"\\x03\"").await;
    at.master.resize(PtySize { rows: 9, cols: 50, pixel_width: 0, pixel_height: 0 }).unwrap();
    at.shows("now 50x9").await;
    at.type_in(b"q");
    assert_eq!((at.ends().await, at.is_raw()), (3, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_before_deleting() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["rm", "alpha"]);
    at.shows("Delete? [y/N]").await;
    at.type_in(b"\r");
    assert_eq!((at.ends().await, fake.state.sessions().len()), (1, 1));
    let mut at = OnTerminal::start(&fake, &["rm", "alpha"]);
    at.shows("Delete? [y/N]").await;
    at.type_in(b"y\r");
    assert_eq!((at.ends().await, fake.state.sessions().len()), (0, 0));
}
