//! A new life: clock, entropy, names.

use std::{
    fs, io,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use pilothouse_proto::guest::v1::HandshakeRequest;
use rustix::{
    ioctl,
    mount::mount_bind,
    system::sethostname,
    time::{ClockId, Timespec, clock_settime},
};

use crate::{
    boot_log::report,
    identity_file::{self, IdentityFile},
};

/// Path of the kernel's boot id; in a clone a file of its own is mounted there.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const OWN_BOOT_ID: &str = "/run/pilothouse/boot_id";
/// End of the guest's own line in /etc/hosts.
const MARK: &str = "# pilothouse";

/// Names that the machine took on last, and files that it keeps open for the next time. Most handshakes come after a resume,
/// bring a new generation alone, and stand between the agent and its work: and of whatever they do, an emulated processor has
/// translated nothing yet.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    names: Option<Names>,
    /// Whether some files of the names could not be written: that is tried again in the next life.
    unwritten: bool,
    random: Option<fs::File>,
    /// The [identity file](identity_file::PATH), open for writing.
    identity_file: Option<fs::File>,
}

/// Names that do not change in a session's life.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    session_id: String,
    slug: String,
    machine_id: String,
}

impl Adopted {
    /// Takes on clock and entropy first: whoever sees the new name may rely on both. What fails for a root file system of its
    /// own kind (read-only, no /etc) is reported and done without.
    pub(super) fn adopt(&mut self, identity: &HandshakeRequest) -> io::Result<()> {
        set_clock(identity.unix_nanos)?;
        give_entropy(random(&mut self.random)?, &identity.entropy)?;
        let names = Names {
            session_id: identity.session_id.clone(),
            slug: identity.slug.clone(),
            machine_id: identity.machine_id.clone(),
        };
        if self.unwritten || self.names.as_ref() != Some(&names) {
            self.rename(&names)?;
            self.names = Some(names);
        }
        Ok(())
    }

    /// Writes the [identity file](identity_file::PATH). Nobody reads meanwhile: programs are frozen, or none was started yet.
    pub(super) fn write_identity(&mut self, identity: &IdentityFile) {
        if let Err(error) = self.write_text(&identity.text()) {
            report(&format!("{} stays as it is: {error}", identity_file::PATH));
        }
    }

    fn rename(&mut self, names: &Names) -> io::Result<()> {
        sethostname(names.slug.as_bytes())?;
        // A session that was booted has its own; a clone or a fork has that of whoever booted.
        if self.names.as_ref().is_some_and(|before| before.session_id != names.session_id)
            && let Err(error) = renew_boot_id()
        {
            report(&format!("the boot id stays as it is: {error}"));
        }
        self.unwritten = false;
        for (file, text) in [
            ("/etc/hostname", format!("{}\n", names.slug)),
            ("/etc/machine-id", format!("{}\n", names.machine_id)),
            (identity_file::PUSH_PATH, identity_file::push_text(&names.slug)),
            ("/etc/hosts", hosts(&fs::read_to_string("/etc/hosts").unwrap_or_default(), &names.slug)),
        ] {
            if let Err(error) = write(Path::new(file), &text) {
                report(&format!("{file} stays as it is: {error}"));
                self.unwritten = true;
            }
        }
        Ok(())
    }

    fn write_text(&mut self, text: &str) -> io::Result<()> {
        let known = match self.identity_file.take() {
            None => None,
            Some(file) => Some((file.metadata()?, file)),
        };
        let (length, file) = match known {
            // It was not removed since.
            Some((now, file)) if now.nlink() > 0 => (now.len(), file),
            _ => (0, fs::File::create(identity_file::PATH)?),
        };
        file.write_all_at(text.as_bytes(), 0)?;
        if (text.len() as u64) < length {
            file.set_len(text.len() as u64)?;
        }
        self.identity_file = Some(file);
        Ok(())
    }
}

pub(super) fn set_clock(unix_nanos: i64) -> io::Result<()> {
    let (tv_sec, tv_nsec) = (unix_nanos.div_euclid(1_000_000_000), unix_nanos.rem_euclid(1_000_000_000));
    Ok(clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec })?)
}

/// The device of the kernel's random numbers, opened once.
fn random(open: &mut Option<fs::File>) -> io::Result<&fs::File> {
    match open {
        Some(file) => Ok(file),
        none => Ok(none.insert(fs::File::options().write(true).custom_flags(libc::O_CLOEXEC).open("/dev/urandom")?)),
    }
}

/// Credits the bytes and makes the CRNG use them at once.
#[allow(unsafe_code)]
fn give_entropy(random: &fs::File, bytes: &[u8]) -> io::Result<()> {
    /// Most bytes that the contract allows.
    const MAX: usize = 512;
    /// `struct rand_pool_info` with room for [`MAX`] bytes.
    #[repr(C)]
    struct Pool {
        entropy_bits: i32,
        length: i32,
        bytes: [u8; MAX],
    }
    /// `_IOW('R', 0x03, int[2])`
    const ADD: ioctl::Opcode = ioctl::opcode::write::<[i32; 2]>(b'R', 0x03);
    /// `_IO('R', 0x07)`
    const RESEED: ioctl::Opcode = ioctl::opcode::none(b'R', 0x07);

    let given = &bytes[..bytes.len().min(MAX)];
    let length = i32::try_from(given.len()).unwrap_or(0);
    let mut pool = Pool { entropy_bits: length * 8, length, bytes: [0; MAX] };
    pool.bytes[..given.len()].copy_from_slice(given);
    // SAFETY: RNDADDENTROPY reads the struct's two numbers and `length` bytes after them, which are there.
    unsafe { ioctl::ioctl(random, ioctl::Setter::<ADD, Pool>::new(pool)) }?;
    // SAFETY: RNDRESEEDCRNG takes no argument.
    unsafe { ioctl::ioctl(random, ioctl::NoArg::<RESEED>::new()) }?;
    Ok(())
}

/// Puts a boot id of its own over the kernel's, as containers have it.
fn renew_boot_id() -> io::Result<()> {
    fs::write(OWN_BOOT_ID, fs::read_to_string("/proc/sys/kernel/random/uuid")?)?;
    if fs::read_to_string(OWN_BOOT_ID)? != fs::read_to_string(BOOT_ID)? {
        mount_bind(OWN_BOOT_ID, BOOT_ID)?;
    }
    Ok(())
}

/// Writes a file only if it is to change: a write is a dirty disk.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|now| now == text) {
        return Ok(());
    }
    fs::write(path, text)
}

/// Text of /etc/hosts with the guest's own name, and with localhost where it lacks that.
fn hosts(now: &str, slug: &str) -> String {
    let mut lines: Vec<String> = now.lines().filter(|line| !line.ends_with(MARK)).map(Into::into).collect();
    let names =
        |line: &String| line.split('#').next().unwrap_or_default().split_whitespace().any(|word| word == "localhost");
    if !lines.iter().any(names) {
        lines.push(format!("127.0.0.1 localhost {MARK}"));
    }
    lines.push(format!("127.0.1.1 {slug} {MARK}"));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_gets_our_name_once() {
        let first = hosts("127.0.0.1\tlocalhost\n", "fix-parser");
        assert_eq!(first, "127.0.0.1\tlocalhost\n127.0.1.1 fix-parser # pilothouse\n");
        assert_eq!(hosts(&first, "other"), "127.0.0.1\tlocalhost\n127.0.1.1 other # pilothouse\n");
        assert_eq!(hosts("", "a"), "127.0.0.1 localhost # pilothouse\n127.0.1.1 a # pilothouse\n");
    }
}
