//! The program on a real PTY.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::Instant,
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use tests::paths;

use crate::{
    fake::Fake,
    program::{DEADLINE, until},
};

/// The program on a terminal, and what that shows.
pub(crate) struct OnTerminal {
    pub(crate) child: Box<dyn Child + Send + Sync>,
    pub(crate) master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    pub(crate) screen: Arc<Mutex<vt100::Parser>>,
    /// All that was written to it.
    written: Arc<Mutex<Vec<u8>>>,
    /// How the terminal was set before.
    pub(crate) before: rustix::termios::Termios,
}

impl OnTerminal {
    pub(crate) fn start(fake: &Fake, arguments: &[&str]) -> Self {
        Self::start_with(fake, arguments, &[])
    }

    /// With more in its environment.
    pub(crate) fn start_with(fake: &Fake, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = CommandBuilder::new(paths::program("pilothouse"));
        command.args(arguments);
        Self::run(fake, command, variables)
    }

    /// A shell with job control, in which `$pilothouse` is the program.
    pub(crate) fn shell(fake: &Fake, script: &str) -> Self {
        let mut command = CommandBuilder::new("bash");
        let program = paths::program("pilothouse");
        command.args(["-c", &format!("set -m; pilothouse={}; {script}", program.display())]);
        Self::run(fake, command, &[])
    }

    fn run(fake: &Fake, mut command: CommandBuilder, variables: &[(&str, &str)]) -> Self {
        let size = PtySize { rows: 10, cols: 60, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", fake.folder.path());
        command.env("TERM", "xterm-256color");
        command.env("PILOTHOUSE_HOST", fake.address());
        variables.iter().for_each(|(name, value)| command.env(name, value));
        let name = pair.master.tty_name().unwrap();
        let before = rustix::termios::tcgetattr(std::fs::File::open(name).unwrap()).unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        let screen = vt100::Parser::new(10.try_into().unwrap(), 60.try_into().unwrap(), 0);
        let screen = Arc::new(Mutex::new(screen));
        let (shown, written) = (screen.clone(), Arc::new(Mutex::new(Vec::new())));
        let heard = written.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                shown.lock().unwrap().process(&buffer[..count]);
                heard.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Self { child, master: pair.master, keys, screen, written, before }
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let cells = |number: u16| number.try_into().unwrap();
        self.screen.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
        self.master.resize(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    pub(crate) async fn shows(&self, text: &str) {
        until(text, || self.screen.lock().unwrap().screen().contents().contains(text)).await;
    }

    /// How often this was written.
    pub(crate) fn said(&self, text: &str) -> usize {
        self.written.lock().unwrap().windows(text.len()).filter(|part| *part == text.as_bytes()).count()
    }

    pub(crate) fn type_in(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    pub(crate) fn is_raw(&self) -> bool {
        !self.modes().local_modes.contains(rustix::termios::LocalModes::ICANON)
    }

    /// How the terminal is set.
    pub(crate) fn modes(&self) -> rustix::termios::Termios {
        let slave = std::fs::File::open(self.master.tty_name().unwrap()).unwrap();
        rustix::termios::tcgetattr(slave).unwrap()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.process_id().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) async fn ends(&mut self) -> u32 {
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
