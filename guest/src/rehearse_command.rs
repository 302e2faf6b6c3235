//! `session rehearse`: runs an agent's program once so that nothing of it stays, and a later start finds its pages in memory.
//!
//! The program sees the guest's file system with a layer in memory on top, which takes whatever is written; it has a network of its own
//! without a way out, no socket of the supervisor's, and processes of its own, all of which end with it. So a session that has the guest
//! later finds no file, process or report of the rehearsal, but the pages of the files that were read, which are the same below that layer.

use std::{
    ffi::CString,
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use rustix::{
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
        mount_remount, unmount,
    },
    process::{
        Gid, Pid, Signal, Uid, WaitOptions, WaitStatus, chdir, kill_process, pivot_root,
        set_parent_process_death_signal, setsid, wait, waitpid,
    },
    stdio::stdin,
    termios::isatty,
    thread::{
        CapabilitySet, UnshareFlags, remove_capability_from_bounding_set, set_no_new_privs, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
    },
};

use crate::{
    folder::FOLDER,
    init,
    session_protocol::SOCKET,
    user::{ROOT as ROOT_USER, User},
};

/// A folder that every guest has and that nobody needs in a rehearsal: the layer is mounted there.
const SCRATCH: &str = "/run/lock";
/// Folders of the layer: the new root, and of each overlay what is written and where the kernel works.
const ROOT: &str = "/run/lock/root";
/// Most of the guest's memory that the program may write files into.
const LAYER: &str = "size=25%,mode=0755";
/// Exit code where the rehearsal could not begin.
const NOT_BEGUN: u8 = 125;

#[derive(Debug, Args)]
pub(crate) struct Rehearse {
    /// User that the program runs as.
    #[arg(long)]
    user: String,
    /// Folder that the program starts in.
    #[arg(long)]
    directory: PathBuf,
    /// Program and arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the program until it ends, or this process is told to end; nothing of it is left then.
///
/// # Errors
/// The exit code and what is to be said, where the rehearsal could not begin.
pub(crate) fn run(rehearse: &Rehearse) -> Result<u8, (u8, String)> {
    let begin = || -> io::Result<(User, Option<Pid>)> {
        let user = User::find(&rehearse.user)?;
        hold_signals()?;
        apart()?;
        enter()?;
        Ok((user, init::fork()?))
    };
    let not_begun = |error: io::Error| (NOT_BEGUN, format!("the rehearsal could not begin: {error}"));
    match begin().map_err(not_begun)? {
        (user, None) => inside(rehearse, &user).map_err(not_begun),
        (_, Some(first)) => until_ended(first).map_err(|error| (NOT_BEGUN, format!("the rehearsal was lost: {error}"))),
    }
}

/// Gives this process its own mounts, network and System V IPC, and its children processes of their own.
#[allow(unsafe_code)]
fn apart() -> io::Result<()> {
    let flags = UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWPID;
    // SAFETY: no file descriptor table is unshared, and this process has one thread.
    unsafe { unshare_unsafe(flags) }?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// Makes a copy of the file system the root that takes what is written into memory, without the supervisor's socket.
fn enter() -> io::Result<()> {
    let quiet = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", SCRATCH, "tmpfs", quiet, Some(CString::new(LAYER)?.as_c_str()))?;
    fs::create_dir(ROOT)?;
    overlay("/", "root", Path::new(ROOT))?;
    let within = |path: &str| PathBuf::from(format!("{ROOT}{path}"));
    overlay("/run", "run", &within("/run"))?;
    // The socket is that of the session to come.
    remove_if_there(&within(SOCKET))?;
    let session = format!("{}/bin/session", FOLDER);
    mount_bind(&session, within(&session))?;
    mount_bind_recursive("/dev", within("/dev"))?;
    mount("tmpfs", within("/dev/shm"), "tmpfs", quiet, Some(c"mode=1777"))?;
    mount_bind("/sys", within("/sys"))?;
    read_only(&within("/sys"))?;
    chdir(ROOT)?;
    // The old root comes to lie on the new one, and goes.
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(chdir("/")?)
}

/// Mounts at `target` what `lower` has, with a layer of this name on top.
fn overlay(lower: &str, name: &str, target: &Path) -> io::Result<()> {
    let (upper, work) = (format!("{SCRATCH}/{name}.upper"), format!("{SCRATCH}/{name}.work"));
    for folder in [&upper, &work] {
        fs::create_dir(folder)?;
    }
    let options = CString::new(format!("lowerdir={lower},upperdir={upper},workdir={work}"))?;
    Ok(mount("overlay", target, "overlay", MountFlags::empty(), Some(options.as_c_str()))?)
}

/// Lets nobody write to what is mounted there.
fn read_only(mounted: &Path) -> io::Result<()> {
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount_remount(mounted, flags, "")?)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The first of the new processes: starts the program and reaps until it ends. All others end with this one.
fn inside(rehearse: &Rehearse, user: &User) -> io::Result<u8> {
    // Where whoever waits for it is killed, nobody else would end it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    mount("proc", "/proc", "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)?;
    // What the kernel is set to outlasts a rehearsal.
    mount_bind("/proc/sys", "/proc/sys")?;
    read_only(Path::new("/proc/sys"))?;
    init::loopback()?;
    let mut command = Command::new(&rehearse.command[0]);
    command.args(&rehearse.command[1..]).current_dir(&rehearse.directory).envs(variables(user));
    let user = user.clone();
    // SAFETY: this process has one thread, so what runs between fork and exec may do anything.
    #[allow(unsafe_code)]
    let command = unsafe { command.pre_exec(move || become_user(&user)) };
    let program = Pid::from_child(&command.spawn()?);
    reap(program)
}

/// Waits for this child, and for any other that comes to be one's own; returns the exit code, as a shell has it.
fn reap(child: Pid) -> io::Result<u8> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => return Ok(code(status)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Variables of the user, where nobody has given them others than this process's own user has.
fn variables(user: &User) -> Vec<(&'static str, String)> {
    let root = User::find(ROOT_USER).ok();
    let of = |user: &User| {
        [
            ("HOME", user.home.clone()),
            ("SHELL", user.shell.clone()),
            ("USER", user.name.clone()),
            ("LOGNAME", user.name.clone()),
        ]
    };
    let usual = root.as_ref().map(of);
    let is_usual = |at: usize, name: &str| {
        usual.as_ref().is_none_or(|usual| std::env::var(name).is_ok_and(|value| value == usual[at].1))
    };
    of(user).into_iter().enumerate().filter(|(at, (name, _))| is_usual(*at, name)).map(|(_, one)| one).collect()
}

/// Takes the terminal that this process was started on, and changes to the user, whom nothing makes mightier: neither sudo nor being root.
fn become_user(user: &User) -> io::Result<()> {
    setsid()?;
    take_terminal()?;
    release_signals()?;
    let groups: Vec<Gid> = user.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    // On a terminal all three streams are one.
    rustix::fs::fchown(stdin(), Some(uid), None)?;
    for capability in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(capability) {
            // The kernel is older than it.
            Err(Errno::INVAL) => {}
            done => done?,
        }
    }
    set_no_new_privs(true)?;
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}

/// Makes the terminal, which another process leads a session on, this session's.
#[allow(unsafe_code)]
fn take_terminal() -> io::Result<()> {
    /// What tells the kernel to take it from that process, as root may.
    const STEAL: libc::c_int = 1;
    if !isatty(stdin()) {
        return Ok(());
    }
    // SAFETY: TIOCSCTTY takes a number.
    match unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, STEAL) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Signals that end a rehearsal, and the one that says that a child has ended.
fn awaited() -> libc::sigset_t {
    // SAFETY: sigemptyset makes the set before it is used.
    #[allow(unsafe_code)]
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGCHLD] {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// Keeps the signals of [`awaited`] until they are asked for.
fn hold_signals() -> io::Result<()> {
    change_signals(libc::SIG_BLOCK)
}

fn release_signals() -> io::Result<()> {
    change_signals(libc::SIG_UNBLOCK)
}

#[allow(unsafe_code)]
fn change_signals(how: libc::c_int) -> io::Result<()> {
    let set = awaited();
    // SAFETY: the set is made, and the old one is not asked for.
    match unsafe { libc::sigprocmask(how, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits until the first process of the rehearsal has ended, which is when all have; a signal that ends this process ends them.
#[allow(unsafe_code)]
fn until_ended(first: Pid) -> io::Result<u8> {
    let set = awaited();
    loop {
        // SAFETY: the set is made, and nothing more is asked of the signal.
        let signal = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
        if signal == -1 {
            // It was interrupted: whoever waits for the child instead hears no signal any more.
            continue;
        }
        if signal == libc::SIGTERM || signal == libc::SIGHUP || signal == libc::SIGINT {
            // It may have ended just now.
            let _ = kill_process(first, Signal::KILL);
        }
        if let Some((_, status)) =
            waitpid(Some(first), if signal == libc::SIGCHLD { WaitOptions::NOHANG } else { WaitOptions::empty() })?
        {
            return Ok(code(status));
        }
    }
}
