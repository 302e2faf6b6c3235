//! What `hostd doctor` and the self-test ask of QEMU beyond [`Vmm`](crate::Vmm).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{images, record::Record, version, vmm::Qemu};
use crate::{
    VmError,
    program::{self, Program},
};

/// A program that hostd runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Path of the program.
    pub path: PathBuf,
    /// Version that the program says it has, of those that are asked; else empty.
    pub version: String,
}

/// The guests' kernel as it lies in the data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelFiles {
    /// Release of the kernel, as `uname -r` says it in the guest.
    pub release: String,
    /// Path of the image that QEMU boots.
    pub image: PathBuf,
    /// Names of the modules that guests load, in that order.
    pub modules: Vec<String>,
}

/// Confinement of a QEMU, as the host's kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Confinement {
    /// Whether system calls are filtered (seccomp mode 2).
    pub seccomp: bool,
    /// Whether no program that QEMU runs gets more rights than it has.
    pub no_new_privileges: bool,
    /// Number of QEMU's effective user.
    pub user: u32,
}

impl Qemu {
    /// Finds the QEMU that makes VMs here.
    ///
    /// # Errors
    /// [`VmError::Missing`].
    pub fn emulator(&self) -> Result<Tool, VmError> {
        let path = self.installation.program()?;
        Ok(Tool { version: self.installation.version.of(&path), path })
    }

    /// Finds the `qemu-img` that makes disks here.
    ///
    /// # Errors
    /// [`VmError::Missing`].
    pub fn image_tool(&self) -> Result<Tool, VmError> {
        let path = self.installation.search.find(program::QEMU_IMG)?;
        Ok(Tool { version: version::ask(&path).unwrap_or_default(), path })
    }

    /// Finds another program, of which `package` is Debian's package.
    ///
    /// # Errors
    /// [`VmError::Missing`].
    pub fn tool(&self, name: &'static str, package: &'static str) -> Result<Tool, VmError> {
        Ok(Tool { path: self.installation.search.find(Program { name, package })?, version: String::new() })
    }

    /// The newest kernel in the data folder; None: none was prepared yet.
    #[must_use]
    pub fn kernel_files(&self) -> Option<KernelFiles> {
        let kernel = self.installation.kernel()?;
        let name = |path: &PathBuf| Some(path.file_stem()?.to_string_lossy().split_once('-')?.1.to_owned());
        let modules = kernel.modules.iter().filter_map(name).collect();
        Some(KernelFiles { release: kernel.release, image: kernel.image, modules })
    }

    /// Whether a version is this one or a later one; one that is not known is an old one.
    #[must_use]
    pub fn is_at_least(version: &str, (major, minor): (u32, u32)) -> bool {
        version::at_least(version, (major, minor))
    }

    /// Path of the program that goes into every guest, once it is seen to be there.
    ///
    /// # Errors
    /// With what to do where it is not.
    pub fn guest_binary(&self) -> Result<&Path, VmError> {
        self.installation.check_guest_binary().map(|()| self.installation.guest_binary.as_path())
    }

    /// Path of the initramfs of the present kernel and guest binary, written if it is not there.
    ///
    /// # Errors
    /// There is no kernel, or it cannot be written.
    pub fn initramfs_file(&self) -> Result<PathBuf, VmError> {
        self.installation.initramfs(&self.installation.prepared_kernel()?)
    }

    /// Makes a root file system with nothing in it, of [`BLANK`](super::BLANK) bytes: the guest brings what it needs itself.
    ///
    /// # Errors
    /// mke2fs is missing or fails.
    pub async fn create_blank_root(&self, path: &Path) -> Result<(), VmError> {
        images::create_blank_root(&self.installation.search, path).await
    }

    /// Confinement of the VM that runs in this folder.
    ///
    /// # Errors
    /// None runs there.
    pub fn confinement(directory: &Path) -> io::Result<Confinement> {
        let record = Record::read(directory).ok_or(io::ErrorKind::NotFound)?;
        let text = fs::read_to_string(format!("/proc/{}/status", record.process.pid))?;
        if !record.process.lives() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(parse_status(&text))
    }
}

fn parse_status(text: &str) -> Confinement {
    let field = |name: &str, number: usize| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().nth(number).and_then(|word| word.parse::<u32>().ok())
    };
    Confinement {
        seccomp: field("Seccomp:", 0) == Some(2),
        no_new_privileges: field("NoNewPrivs:", 0) == Some(1),
        // Real, effective, saved, of the file system.
        user: field("Uid:", 1).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_process_status() {
        let text = "Name:\tqemu\nUid:\t1\t2\t3\t4\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let held = Confinement { seccomp: true, no_new_privileges: true, user: 2 };
        assert_eq!(parse_status(text), held);
        let free = Confinement { seccomp: false, no_new_privileges: false, user: 0 };
        assert_eq!(parse_status("Uid:\t0\t0\t0\t0\nNoNewPrivs:\t0\nSeccomp:\t0\n"), free);
    }
}
