//! Kernels in the data folder.
//!
//! `kernel/RELEASE/` holds `vmlinux` (or `vmlinuz`, see [`image`](super::image)), `modules/NN-NAME.ko` in the order in which they are to be
//! loaded, `tree` with all modules (see [`modules`](super::modules)), and `complete`, written last, which names the modules it was
//! made for. The folder is renamed into place as a whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::file::read_bounded;

/// What a guest needs beyond what is built in, by name. No network card has a driver.
pub(crate) const MODULES: &[&str] = &["virtio_mmio", "virtio_blk", "virtio_console", "overlay"];

/// File name of the kernel, uncompressed; [`VMLINUZ`] where it could not be unpacked and is as Debian has it.
pub(super) const VMLINUX: &str = "vmlinux";
pub(super) const VMLINUZ: &str = "vmlinuz";

/// A kernel that is ready for use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Release of the kernel, as `uname -r` says it in the guest.
    pub(crate) release: String,
    /// Path of the image that QEMU boots.
    pub(crate) image: PathBuf,
    /// Paths of the modules, in the order in which they are loaded.
    pub(crate) modules: Vec<PathBuf>,
}

/// The newest complete kernel below `folder` (the data folder's `kernel`). None: nothing was prepared yet.
pub(crate) fn newest(folder: &Path) -> Option<Kernel> {
    releases(folder).into_iter().find_map(|release| open(folder, release).ok())
}

/// What was booted at some time from the kernels below `folder`, newest first, whatever modules they were made for: who was
/// booted has its modules.
pub(crate) fn images(folder: &Path) -> Vec<PathBuf> {
    let both = |release: String| [VMLINUX, VMLINUZ].map(|name| folder.join(&release).join(name));
    releases(folder).into_iter().flat_map(both).filter(|image| image.exists()).collect()
}

/// Releases of the kernels below `folder`, newest first.
fn releases(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut releases: Vec<String> = names.filter(|name| is_release(name)).collect();
    releases.sort_by_cached_key(|release| std::cmp::Reverse(version_key(release)));
    releases
}

/// Opens a kernel's folder, which has to be complete and made for [`MODULES`].
pub(super) fn open(folder: &Path, release: String) -> io::Result<Kernel> {
    let folder = folder.join(&release);
    if read_bounded(&folder.join("complete"), 4096)? != marker().as_bytes() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "made for other modules"));
    }
    let mut modules = fs::read_dir(folder.join("modules"))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    modules.sort();
    let image = [VMLINUX, VMLINUZ].map(|name| folder.join(name)).into_iter().find(|path| path.exists());
    let image = image.ok_or(io::ErrorKind::NotFound)?;
    Ok(Kernel { release, image, modules })
}

/// Content of a folder's file `complete`.
pub(super) fn marker() -> String {
    format!("2 {}\n", MODULES.join(" "))
}

/// Whether a name is fit for a kernel's release: also keeps paths and options out of command lines.
pub(super) fn is_release(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_digit())
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '~'))
}

/// Key by which releases are sorted: 6.1.0-9 before 6.1.0-56 before 6.12; runs of digits count as numbers.
pub(super) fn version_key(release: &str) -> Vec<(u64, String)> {
    release
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(|part| part.parse().map_or_else(|_| (0, part.to_owned()), |number| (number, String::new())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, release: &str, marker: Option<&str>) {
        let folder = folder.join(release);
        fs::create_dir_all(folder.join("modules")).unwrap();
        for name in ["01-b.ko", "00-a.ko"] {
            fs::write(folder.join("modules").join(name), "").unwrap();
        }
        fs::write(folder.join(VMLINUZ), "").unwrap();
        if let Some(marker) = marker {
            fs::write(folder.join("complete"), marker).unwrap();
        }
    }

    #[test]
    fn finds_the_newest_complete_one() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest(&folder.path().join("none")), None);
        assert_eq!(newest(folder.path()), None);
        put(folder.path(), "6.1.0-9-cloud-amd64", Some(&marker()));
        put(folder.path(), "6.1.0-56-cloud-amd64", Some(&marker()));
        put(folder.path(), "6.12.1-cloud-amd64", None);
        put(folder.path(), "6.13.1-cloud-amd64", Some("1 other modules\n"));
        put(folder.path(), ".tmp", Some(&marker()));
        let kernel = newest(folder.path()).unwrap();
        assert_eq!(kernel.release, "6.1.0-56-cloud-amd64");
        let names: Vec<_> = kernel.modules.iter().map(|m| m.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["00-a.ko", "01-b.ko"]);
    }

    #[test]
    fn orders_versions() {
        let mut releases = ["6.12.1-1", "6.1.0-56-x", "6.1.0-9-x", "10.0", "6.12.1-10"];
        releases.sort_by_key(|r| version_key(r));
        assert_eq!(releases, ["6.1.0-9-x", "6.1.0-56-x", "6.12.1-1", "6.12.1-10", "10.0"]);
        assert!(is_release("6.1.0-56-cloud-amd64"));
        for bad in ["", "-b", "..", "6.1/x", "6.1 x", ".6"] {
            assert!(!is_release(bad), "{bad:?}");
        }
    }
}
