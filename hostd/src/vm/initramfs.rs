//! The guests' first root: modules in load order and `pilothouse-guest` as /init.
//!
//! Written by hostd, so no image needs our files. Kept as `initramfs/HASH.cpio` in the data folder, named by what is in
//! it; older ones stay, since suspended VMs were started with them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{VmError, cpio::Archive, file, file::failed, kernel::Kernel};

/// Mount points that /init uses before the real root is there.
const FOLDERS: &[&str] = &["dev", "modules", "newroot", "proc", "run", "sys"];
/// More is not a guest binary.
const GUEST_MAX: u64 = 256 << 20;
const MODULE_MAX: u64 = 64 << 20;

/// The archive for this kernel and guest binary; written below `folder` if it is not there.
pub(super) fn ensure(folder: &Path, kernel: &Kernel, guest: &Path) -> Result<PathBuf, VmError> {
    let archive = build(kernel, guest)?;
    let path = folder.join(name(&blake3::hash(&archive).to_hex()));
    if !path.exists() {
        fs::create_dir_all(folder).map_err(failed(folder))?;
        file::write_durably(&path, &archive).map_err(failed(&path))?;
    }
    Ok(path)
}

/// The archive with this checksum, which may come from a file that others can write; none where there is none.
pub(super) fn named(folder: &Path, hash: &str) -> Option<PathBuf> {
    let plain = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| folder.join(name(hash))).filter(|path| path.exists())
}

fn name(hash: &str) -> String {
    format!("{hash}.cpio")
}

fn build(kernel: &Kernel, guest: &Path) -> Result<Vec<u8>, VmError> {
    let mut archive = Archive::default();
    for folder in FOLDERS {
        archive.folder(folder);
    }
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        let content = file::read_bounded(module, MODULE_MAX).map_err(failed(module))?;
        archive.program(&format!("modules/{name}"), &content);
    }
    archive.program("init", &file::read_bounded(guest, GUEST_MAX).map_err(failed(guest))?);
    Ok(archive.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_named_by_its_content_and_kept() {
        let data = tempfile::tempdir().unwrap();
        let at = |name: &str| data.path().join(name);
        fs::write(at("00-a.ko"), "module").unwrap();
        fs::write(at("guest"), "one").unwrap();
        let kernel = Kernel { release: "6.1".into(), image: at("vmlinuz"), modules: vec![at("00-a.ko")] };
        let folder = at("initramfs");
        let first = ensure(&folder, &kernel, &at("guest")).unwrap();
        let written = fs::metadata(&first).unwrap().modified().unwrap();
        assert_eq!(ensure(&folder, &kernel, &at("guest")).unwrap(), first);
        assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), written);
        let hash = blake3::hash(&fs::read(&first).unwrap()).to_hex().to_string();
        assert_eq!(named(&folder, &hash), Some(first.clone()));
        for other in ["", "00", "../initramfs/00", "../guest"] {
            assert_eq!(named(&folder, other), None);
        }
        fs::write(at("guest"), "two").unwrap();
        assert_ne!(ensure(&folder, &kernel, &at("guest")).unwrap(), first);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        let text = String::from_utf8_lossy(&fs::read(&first).unwrap()).into_owned();
        assert!(text.contains("modules/00-a.ko") && text.contains("newroot") && text.contains("TRAILER!!!"));
        assert!(matches!(ensure(&folder, &kernel, &at("none")), Err(VmError::File { .. })));
    }
}
