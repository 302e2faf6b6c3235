//! Programs and files that hostd needs.

use serde_json::json;

use super::check::{Check, Status};
use crate::vm::{
    VmError, VmmInfo,
    qemu::{Qemu, Tool},
};

const OLDEST: (u32, u32) = (7, 2);

pub(super) fn accelerator(info: &VmmInfo) -> Check {
    let found = format!("{}: {}", info.accelerator, info.accelerator_reason);
    let check = if info.accelerator == "kvm" {
        Check::ok("accelerator", found)
    } else {
        let advice = "VMs work, many times slower; use a machine with /dev/kvm, or give this one nested virtualization";
        Check::warning("accelerator", found, advice)
    };
    check.with(json!({"name": info.accelerator, "reason": info.accelerator_reason}))
}

pub(super) fn emulator(qemu: &Qemu) -> Check {
    let check = found("qemu", qemu.emulator(), |tool| judge(&tool.version));
    match qemu.emulator() {
        Ok(tool) if check.status == Status::Ok => {
            Check { found: format!("{}; {}", check.found, templates(&tool.version)), ..check }
        }
        _ => check,
    }
}

/// How this version of QEMU is kept from changing what all clones of a template share.
fn templates(version: &str) -> &'static str {
    if Qemu::maps_read_only(version) {
        "it opens the memory of templates for reading only"
    } else {
        "it gets the memory of templates as a sealed copy, which takes that much of the host's; from 8.2 on it reads the file"
    }
}

pub(super) fn images(qemu: &Qemu) -> Check {
    found("qemu-img", qemu.image_tool(), |_| None)
}

/// What is wrong with a QEMU of this version: whether it keeps VMs from running, and what to do. None: nothing.
fn judge(version: &str) -> Option<(bool, String)> {
    let old = !Qemu::is_at_least(version, OLDEST);
    old.then(|| (true, "QEMU 7.2 is the oldest that works; install a newer one".into()))
}

/// The guests' kernel, after [`prepare`](crate::vm::Vmm::prepare); `prepared` is None where that did not run.
pub(super) fn kernel(qemu: &Qemu, prepared: Option<Result<(), VmError>>) -> Check {
    let name = "kernel";
    match (qemu.kernel_files(), prepared) {
        (Some(kernel), None | Some(Ok(()))) => {
            let found = format!("{} with {} modules, {}", kernel.release, kernel.modules.len(), kernel.image.display());
            Check::ok(name, found).with(kernel)
        }
        (_, Some(Err(error))) => Check::failed(name, error.to_string(), ""),
        (None, _) => Check::failed(name, "was not fetched", "see data folder"),
    }
}

pub(super) fn guest(qemu: &Qemu) -> Check {
    let name = "guest";
    let files = qemu.guest_binary().and_then(|binary| Ok((binary, qemu.initramfs_file()?)));
    match files {
        Ok((binary, initramfs)) => {
            let found = format!("{}, in {}", binary.display(), initramfs.display());
            Check::ok(name, found).with(json!({"binary": binary, "initramfs": initramfs}))
        }
        Err(error) => Check::failed(name, error.to_string(), ""),
    }
}

/// Checks of the programs that build environments.
pub(super) fn helpers(qemu: &Qemu) -> Vec<Check> {
    let mut needed = vec![
        ("mmdebstrap", "mmdebstrap"),
        ("mke2fs", "e2fsprogs"),
        ("mount", "mount"),
        ("git", "git"),
        ("apt-get", "apt"),
    ];
    if !rustix::process::geteuid().is_root() {
        needed.push(("newuidmap", "uidmap"));
    }
    needed.into_iter().map(|(name, package)| found(name, qemu.tool(name, package), |_| None)).collect()
}

fn found(
    name: &'static str,
    tool: Result<Tool, VmError>,
    judge: impl FnOnce(&Tool) -> Option<(bool, String)>,
) -> Check {
    let tool = match tool {
        Ok(tool) => tool,
        Err(VmError::Missing { package, .. }) => {
            return Check::failed(name, "was not found", format!("apt-get install {package}"));
        }
        Err(error) => return Check::failed(name, error.to_string(), ""),
    };
    let text = match tool.version.as_str() {
        "" => tool.path.display().to_string(),
        version => format!("{version}, {}", tool.path.display()),
    };
    let check = match judge(&tool) {
        None => Check::ok(name, text),
        Some((false, advice)) => Check::warning(name, text, advice),
        Some((true, advice)) => Check::failed(name, text, advice),
    };
    check.with(tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_install() {
        let data = tempfile::tempdir().unwrap();
        let qemu = Qemu::new(data.path(), data.path().join("none")).with_path("/nonexistent".into());
        for check in [emulator(&qemu), images(&qemu)].into_iter().chain(helpers(&qemu)) {
            assert_eq!(check.status, Status::Failed);
            assert!(check.advice.starts_with("apt-get install "), "{check:?}");
        }
        assert!(guest(&qemu).found.contains("PILOTHOUSE_GUEST"));
        assert_eq!(kernel(&qemu, None).status, Status::Failed);
    }

    #[test]
    fn knows_old_versions() {
        assert!(judge("6.2.0").unwrap().0);
        assert!(judge("").unwrap().0);
        assert_eq!(judge("7.2.22"), None);
        assert!(templates("7.2.22").contains("sealed") && templates("10.0.2").contains("reading only"));
        assert_eq!(judge("8.2.0"), None);
        assert_eq!(judge("10.0.2"), None);
    }
}
