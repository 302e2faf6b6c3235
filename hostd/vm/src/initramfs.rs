//! The guests' first root: modules in load order and `pilothouse-guest` as /init.
//!
//! Written by hostd, so no image needs our files. Kept as `initramfs/HASH.cpio` in the data folder, named by what is in
//! it; older ones stay, since suspended VMs were started with them.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{VmError, cpio::Archive, file, file::failed, kernel::Kernel};

/// Mount points that /init uses before the real root is there.
const FOLDERS: &[&str] = &["dev", "modules", "newroot", "proc", "run", "sys"];
/// Largest guest binary that is taken, in bytes; [`MODULE_MAX`] is that of a module.
const GUEST_MAX: u64 = 256 << 20;
const MODULE_MAX: u64 = 64 << 20;

/// Bytes of a page, and how many of the last one an archive has.
const PAGE: usize = 4096;
const IN_LAST_PAGE: usize = 4;

/// The last archive, and the files that it was made of as they were.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Option<(Vec<Stamp>, PathBuf)>>);

/// State of a file: path, length, inode, time of the last change in nanoseconds.
type Stamp = (PathBuf, u64, u64, i64);

impl Cache {
    /// Path of the archive for this kernel and guest binary; made below `folder` where they have changed or it is not there.
    /// Reads and writes many MiB then.
    pub(super) fn ensure(&self, folder: &Path, kernel: &Kernel, guest: &Path) -> Result<PathBuf, VmError> {
        let files = kernel.modules.iter().map(PathBuf::as_path).chain([guest]);
        // Before they are read: what changes meanwhile is noticed by the next.
        let stamps = files.map(stamp).collect::<Result<Vec<_>, _>>()?;
        // Held meanwhile: whoever comes wants the same.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, archive)) = &*last
            && *of == stamps
            && archive.exists()
        {
            return Ok(archive.clone());
        }
        let archive = ensure(folder, kernel, guest)?;
        *last = Some((stamps, archive.clone()));
        Ok(archive)
    }
}

fn stamp(path: &Path) -> Result<Stamp, VmError> {
    let stat = fs::metadata(path).map_err(failed(path))?;
    let changed = stat.mtime().wrapping_mul(1_000_000_000).wrapping_add(stat.mtime_nsec());
    Ok((path.to_owned(), stat.len(), stat.ino(), changed))
}

fn ensure(folder: &Path, kernel: &Kernel, guest: &Path) -> Result<PathBuf, VmError> {
    let archive = build(kernel, guest)?;
    let path = folder.join(name(&blake3::hash(&archive).to_hex()));
    if !path.exists() {
        fs::create_dir_all(folder).map_err(failed(folder))?;
        file::write_durably(&path, &archive).map_err(failed(&path))?;
    }
    Ok(path)
}

/// Path of the archive with this checksum, which may come from a file that others can write; None where there is none.
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
    let mut archive = archive.finish();
    spare_the_last_page(&mut archive);
    Ok(archive)
}

/// Leaves all but a few bytes of the archive's last page free. QEMU 10 puts an initial ramdisk at the very end of a microvm's memory,
/// where its firmware keeps the ACPI tables: one that fills the last 700 bytes or so of its last page is written over them, and the
/// kernel finds no device. Zeros behind an archive are skipped by the kernel.
fn spare_the_last_page(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(PAGE) + IN_LAST_PAGE, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_of_an_archive_is_nearly_empty() {
        for length in [0, 1, PAGE - 1, PAGE, 3464, 2 * PAGE + 1] {
            let mut archive = vec![1; length];
            spare_the_last_page(&mut archive);
            assert_eq!(archive.len() % PAGE, IN_LAST_PAGE);
            assert!(archive[..length].iter().all(|byte| *byte == 1) && archive[length..].iter().all(|byte| *byte == 0));
        }
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("guest"), "one").unwrap();
        let kernel = Kernel { release: "6.1".into(), image: data.path().join("vmlinuz"), modules: vec![] };
        let made = ensure(data.path(), &kernel, &data.path().join("guest")).unwrap();
        assert_eq!(fs::metadata(made).unwrap().len() % PAGE as u64, IN_LAST_PAGE as u64);
    }

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

    #[test]
    fn is_read_again_only_where_something_has_changed() {
        let data = tempfile::tempdir().unwrap();
        let guest = data.path().join("guest");
        fs::write(&guest, "one").unwrap();
        let kernel = Kernel { release: "6.1".into(), image: data.path().join("vmlinuz"), modules: vec![] };
        let (cache, folder) = (Cache::default(), data.path().join("initramfs"));
        let of = || cache.ensure(&folder, &kernel, &guest).unwrap();
        let first = of();
        let time = fs::metadata(&guest).unwrap().modified().unwrap();
        // Nothing tells it from what it was but its bytes, which nobody reads.
        fs::write(&guest, "two").unwrap();
        fs::File::options().write(true).open(&guest).unwrap().set_modified(time).unwrap();
        assert_eq!(of(), first);
        fs::remove_file(&first).unwrap();
        let second = of();
        assert_ne!(second, first);
        fs::write(&guest, "three").unwrap();
        assert_ne!(of(), second);
        fs::remove_file(&guest).unwrap();
        assert!(matches!(cache.ensure(&folder, &kernel, &guest), Err(VmError::File { .. })));
    }
}
