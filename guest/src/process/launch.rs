use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    process::Stdio,
};

use rustix::{
    fs::{CWD, Mode, OFlags, fchown, openat},
    pipe::fcntl_setpipe_size,
    process::{Gid, Uid, geteuid, ioctl_tiocsctty, setsid},
    stdio::{stderr, stdin, stdout},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::pty::{Pty, Window};
use crate::user::User;

/// Bytes that a program's stdin and stdout hold: more than one message of the link, so that program and supervisor take fewer turns.
const PIPE: usize = 256 << 10;

/// Stands for errors of the steps before exec that a program itself might have as well.
const UNPREPARED: i32 = libc::EREMOTEIO;

/// A program that is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Program, found on the PATH of `environment`, and its arguments.
    pub command: Vec<String>,
    /// All variables of the program: nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Absolute path of the directory where the program starts.
    pub directory: String,
    /// Size of the PTY that the program starts on; None: it starts on pipes.
    pub terminal: Option<Window>,
    /// User that the program runs as; None: the supervisor's own.
    pub user: Option<User>,
}

/// A program that was started.
#[derive(Debug)]
pub struct Started {
    /// The process, leader of its own session and process group.
    pub child: Child,
    /// Pid of the process.
    pub pid: u32,
    /// The supervisor's ends of the program's streams.
    pub streams: Streams,
}

/// A program's stdin, stdout and stderr.
#[derive(Debug)]
pub enum Streams {
    /// One pipe for each of them.
    Pipes(ChildStdin, ChildStdout, ChildStderr),
    /// One terminal for all of them.
    Terminal(Pty),
}

/// Why a program could not be started, as a shell would say it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LaunchError {
    /// Exit code of a shell: 127: not found; 126: not executable, or not here.
    pub code: i32,
    /// Reason in one line.
    pub message: String,
    /// Whether it is the program itself that may not be executed, or is none.
    pub not_executable: bool,
}

impl LaunchError {
    /// An error with this exit code, for another reason than that the program may not be executed.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), not_executable: false }
    }
}

/// Starts a program; `door` opens the cgroup that it goes into.
///
/// # Errors
/// [`LaunchError`] when there is no such program, folder or right, or nothing to start it with.
pub fn launch(launch: &Launch, door: Option<OwnedFd>) -> Result<Started, LaunchError> {
    let Some((program, arguments)) = launch.command.split_first() else {
        return Err(LaunchError::new(126, "no command given"));
    };
    if !Path::new(&launch.directory).is_dir() {
        return Err(LaunchError::new(126, format!("the folder {} does not exist", launch.directory)));
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&launch.environment).current_dir(&launch.directory);
    let pty = match launch.terminal {
        None => {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            None
        }
        Some(window) => {
            Some(on_terminal(&mut command, window).map_err(|e| LaunchError::new(126, format!("no terminal: {e}")))?)
        }
    };
    prepare_child(&mut command, pty.is_some(), door, launch.user.clone());
    let mut child = command.spawn().map_err(|error| why_not(&launch.directory, program, &error))?;
    let lost = || LaunchError::new(126, format!("{program}: could not be started"));
    let pid = child.id().ok_or_else(lost)?;
    let streams = match pty {
        Some(pty) => Streams::Terminal(pty),
        None => match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => {
                for pipe in [stdin.as_fd(), stdout.as_fd()] {
                    // Where the kernel gives no more, it is slower.
                    let _ = fcntl_setpipe_size(pipe, PIPE);
                }
                Streams::Pipes(stdin, stdout, stderr)
            }
            _ => return Err(lost()),
        },
    };
    Ok(Started { child, pid, streams })
}

fn on_terminal(command: &mut Command, window: Window) -> io::Result<Pty> {
    let (pty, slave) = Pty::open(window)?;
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    Ok(pty)
}

/// Prepares what happens in the child before exec: its own session, no signal ignored or blocked, its own cgroup, a controlling
/// terminal, no part in the supervisor's protection from the OOM killer, and at last its own user.
#[allow(unsafe_code)]
fn prepare_child(command: &mut Command, terminal: bool, door: Option<OwnedFd>, user: Option<User>) {
    // Who is not root stays who they are: outside of a guest, in tests.
    let user = user.filter(|user| user.uid != 0 && geteuid().is_root());
    let groups: Vec<Gid> = user.iter().flat_map(|user| &user.groups).map(|group| Gid::from_raw(*group)).collect();
    let prepare = move || {
        setsid()?;
        heed_signals()?;
        if terminal {
            ioctl_tiocsctty(stdin())?;
        }
        if let Some(door) = &door {
            rustix::io::write(door, b"0")?;
        }
        if let Ok(score) = openat(CWD, c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
            let _ = rustix::io::write(&score, b"0");
        }
        match &user {
            Some(user) => become_user(user, &groups),
            None => Ok(()),
        }
    };
    // SAFETY: between fork and exec it makes system calls alone: no allocation, no lock.
    unsafe { command.pre_exec(move || prepare().map_err(|error| of_preparing(&error))) };
}

/// Resets which signals are ignored and blocked, between fork and exec, which keeps that: a program is not to inherit it from
/// whoever started the supervisor.
#[allow(unsafe_code)]
fn heed_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: no handler is set, and nobody else runs in this process. It fails for KILL, STOP and what libc keeps for
        // itself.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is made by sigemptyset before it is used.
    let done = unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Changes to the user, between fork and exec. The program's stdin, stdout and stderr belong to the user, so that it may open
/// them again by name.
fn become_user(user: &User, groups: &[Gid]) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    for stream in [stdin(), stdout(), stderr()] {
        // On a terminal they are one and the same; its group is that of all terminals.
        fchown(stream, Some(uid), None)?;
    }
    set_thread_groups(groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}

/// An error of a step before exec, which is told by its number alone: one that a program itself might have becomes [`UNPREPARED`].
fn of_preparing(error: &io::Error) -> io::Error {
    io::Error::from_raw_os_error(match error.raw_os_error() {
        None | Some(libc::ENOENT | libc::EACCES | libc::EPERM | libc::ENOEXEC) => UNPREPARED,
        Some(other) => other,
    })
}

fn why_not(directory: &str, program: &str, error: &io::Error) -> LaunchError {
    match error.kind() {
        // Gone since it was looked at.
        io::ErrorKind::NotFound if !Path::new(directory).is_dir() => {
            LaunchError::new(126, format!("the folder {directory} does not exist"))
        }
        _ if error.raw_os_error() == Some(UNPREPARED) => LaunchError::new(
            126,
            format!("{program}: the supervisor could not give it its cgroup, its terminal or its user"),
        ),
        io::ErrorKind::NotFound => LaunchError::new(127, format!("{program}: not found")),
        io::ErrorKind::PermissionDenied => {
            LaunchError { not_executable: true, ..LaunchError::new(126, format!("{program}: permission denied")) }
        }
        _ if error.raw_os_error() == Some(libc::ENOEXEC) => {
            LaunchError { not_executable: true, ..LaunchError::new(126, format!("{program}: not a program")) }
        }
        _ => LaunchError::new(126, format!("{program}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_other_steps_are_not_said_to_be_the_programs() {
        for number in [libc::ENOENT, libc::EACCES, libc::EPERM, libc::ENOEXEC] {
            let error = io::Error::from_raw_os_error(number);
            let why = why_not("/", "claude", &of_preparing(&error));
            assert_eq!((why.code, why.not_executable), (126, false), "{why}");
            let why = why_not("/", "claude", &error);
            assert_eq!(
                (why.code == 127, why.not_executable),
                (number == libc::ENOENT, number != libc::ENOENT),
                "{why}"
            );
        }
        assert_eq!(why_not("/none", "claude", &io::Error::from_raw_os_error(libc::ENOENT)).code, 126);
        assert_eq!(of_preparing(&io::Error::from_raw_os_error(libc::ENODEV)).raw_os_error(), Some(libc::ENODEV));
    }
}
