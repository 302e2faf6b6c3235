//! The root file system, and what programs expect of it.

use std::{
    ffi::CStr,
    fs, io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use rustix::{
    ioctl,
    mount::{MountFlags, mount, mount_bind, mount_move, mount_remount},
    process::{chdir, chroot},
};

use super::{
    durable,
    error::{BootError, Doing as _},
};
use crate::{boot_log::report, folder::FOLDER, modprobe};

const NEW: &str = "/newroot";
/// Path of `session` for shells that set a PATH of their own, as login shells do.
const LINK: &str = "/usr/local/bin/session";

/// Mounts the disk, makes it the root and gives it what programs expect.
pub(super) fn enter(disk: &Path) -> Result<(), BootError> {
    let what = format!("mounting {} (ext4)", disk.display());
    mount(disk, NEW, "ext4", MountFlags::empty(), Some(durable::MOUNT)).doing(what)?;
    if let Err(error) = grow(disk) {
        report(&format!("the root file system keeps its size: {error}"));
    }
    own_binary()?;
    for folder in ["/dev", "/proc", "/sys", "/run"] {
        let target = format!("{NEW}{folder}");
        fs::create_dir_all(&target).doing(format!("making {folder} in the root file system"))?;
        mount_move(folder, &target).doing(format!("moving {folder}"))?;
    }
    chdir(NEW).doing("entering the root file system")?;
    mount_move(".", "/").doing("moving the root file system")?;
    chroot(".").doing("changing the root")?;
    chdir("/").doing("entering the new root")?;
    furnish()?;
    durable::set_up();
    Ok(())
}

/// Puts this very binary into `/run` as the `session` command: bound, because a copy would cost time and memory.
fn own_binary() -> Result<(), BootError> {
    let quiet = MountFlags::NOSUID | MountFlags::NODEV;
    fs::create_dir_all("/run").doing("making /run")?;
    mount("tmpfs", "/run", "tmpfs", quiet, Some(c"mode=0755")).doing("mounting /run")?;
    let folder = format!("{FOLDER}/bin");
    fs::create_dir_all(&folder).doing(format!("making {folder}"))?;
    let session = format!("{folder}/session");
    fs::File::create(&session).doing(format!("making {session}"))?;
    mount_bind("/init", &session).doing(format!("binding {session}"))?;
    let read_only = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(&session, read_only, c"").doing(format!("protecting {session}"))
}

/// Mounts and makes what every program may expect. Only a guest without /dev/pts is of no use; the rest is reported and done
/// without.
fn furnish() -> Result<(), BootError> {
    fs::create_dir_all("/dev/pts").doing("making /dev/pts")?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = c"gid=5,mode=0620,ptmxmode=0666";
    mount("devpts", "/dev/pts", "devpts", flags, Some(options)).doing("mounting /dev/pts")?;
    let quiet = MountFlags::NOSUID | MountFlags::NODEV;
    optional("/dev/shm", mount_in("tmpfs", "/dev/shm", quiet, c"mode=1777"));
    optional("/sys/fs/cgroup", mount_in("cgroup2", "/sys/fs/cgroup", quiet | MountFlags::NOEXEC, c""));
    let links = [("/proc/self/fd", "fd"), ("fd/0", "stdin"), ("fd/1", "stdout"), ("fd/2", "stderr")];
    for (target, name) in links {
        optional(name, symlink(target, Path::new("/dev").join(name)));
    }
    optional("/tmp", sticky("/tmp"));
    optional("/run/lock", sticky("/run/lock"));
    optional("lo", loopback());
    optional("modprobe", call_for_modules());
    optional(LINK, symlink(format!("{FOLDER}/bin/session"), LINK));
    Ok(())
}

/// Has the kernel, and programs that do as it does, call this binary for modules.
fn call_for_modules() -> io::Result<()> {
    let path = format!("{FOLDER}/bin/{}", modprobe::NAME);
    symlink("session", &path)?;
    fs::write("/proc/sys/kernel/modprobe", path)
}

fn optional(what: &str, done: io::Result<()>) {
    match done {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => report(&format!("{what}: {error}")),
        _ => {}
    }
}

fn mount_in(kind: &str, folder: &str, flags: MountFlags, options: &CStr) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    Ok(mount(kind, folder, kind, flags, Some(options))?)
}

fn sticky(folder: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o1777))
}

/// Brings `lo` up, the only interface there is.
#[allow(unsafe_code)]
pub(crate) fn loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    unsafe { ioctl::ioctl(&socket, ioctl::Setter::<{ libc::SIOCSIFFLAGS as ioctl::Opcode }, _>::new(request)) }?;
    Ok(())
}

/// Grows the file system to its disk: a session's disk may be larger than the image below it.
#[allow(unsafe_code)]
fn grow(disk: &Path) -> io::Result<()> {
    /// `_IOW('f', 16, __u64)`
    const EXT4_RESIZE: ioctl::Opcode = ioctl::opcode::write::<u64>(b'f', 16);
    /// Growing costs time, and most disks fit already; ext4 keeps some per cent of its blocks for itself.
    const WORTH_IT: u64 = 8;

    let bytes = rustix::fs::seek(fs::File::open(disk)?, rustix::fs::SeekFrom::End(0))?;
    let now = rustix::fs::statvfs(NEW)?;
    let blocks = bytes / now.f_frsize.max(1);
    if blocks.saturating_sub(now.f_blocks) <= blocks / WORTH_IT {
        return Ok(());
    }
    let root = fs::File::open(NEW)?;
    // SAFETY: EXT4_IOC_RESIZE_FS reads one u64, the new number of blocks.
    unsafe { ioctl::ioctl(&root, ioctl::Setter::<EXT4_RESIZE, u64>::new(blocks)) }?;
    Ok(())
}
