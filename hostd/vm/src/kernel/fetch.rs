//! Fetching a kernel with apt, or taking a local one, and keeping what guests need of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    folder::{MODULES, VMLINUX, VMLINUZ, is_release, marker, open, version_key},
    image, modules,
};
use crate::{
    VmError,
    file::{self, failed},
    program::{APT_CACHE, APT_GET, DEPMOD, DPKG_DEB, MODPROBE, Search, XZ},
};

/// Name of Debian's package that depends on the newest kernel for VMs.
const META: &str = "linux-image-cloud-amd64";
/// Largest kernel or module that is taken, in bytes.
const IMAGE_MAX: u64 = 256 << 20;
const QUICK: Duration = Duration::from_secs(60);
const DOWNLOAD: Duration = Duration::from_secs(20 * 60);

/// Where a kernel comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Debian's package that `linux-image-cloud-amd64` depends on, from the archives that the machine's apt knows.
    Apt,
    /// A .deb, or a folder with boot/vmlinuz-RELEASE and lib/modules/RELEASE, at this path.
    Local(PathBuf),
}

/// One fetching of a kernel.
pub(crate) struct Fetch<'a> {
    /// Path of the data folder's `kernel`.
    pub(crate) folder: &'a Path,
    pub(crate) search: &'a Search,
    pub(crate) progress: &'a (dyn Fn(String) + Send + Sync),
}

impl Fetch<'_> {
    /// Fetches, unpacks and puts into place. Nothing but whole kernels is left in the folder, whatever happens.
    pub(crate) async fn run(&self, source: &Source) -> Result<(), VmError> {
        fs::create_dir_all(self.folder).map_err(failed(self.folder))?;
        let work = tempfile::Builder::new().prefix(".tmp-").tempdir_in(self.folder).map_err(failed(self.folder))?;
        let root = match source {
            Source::Local(path) if path.is_dir() => path.clone(),
            Source::Local(path) => self.unpack(path, &work).await?,
            Source::Apt => self.unpack(&self.download(&work).await?, &work).await?,
        };
        let release = release_of(&root)?;
        (self.progress)(format!("preparing kernel {release}"));
        let made = self.gather(&root, &release, &work).await?;
        self.put_into_place(&made, &release)
    }

    async fn download(&self, work: &TempDir) -> Result<PathBuf, VmError> {
        let depends = self.search.run(APT_CACHE, &["depends", META], None, QUICK).await;
        let depends = match depends {
            Err(VmError::Failed { .. }) => Vec::new(),
            other => other?,
        };
        let package = kernel_package(&String::from_utf8_lossy(&depends)).ok_or_else(|| {
            VmError::Kernel(format!(
                "apt does not know the package {META}; run `apt-get update` (on a system that is not Debian, name a \
                 .deb or a folder with PILOTHOUSE_KERNEL) and try again"
            ))
        })?;
        (self.progress)(format!("fetching {package} (about 60 MB)"));
        let folder = work.path().join("download");
        fs::create_dir(&folder).map_err(failed(&folder))?;
        let fetched = self.search.run(APT_GET, &["-q", "download", &package], Some(&folder), DOWNLOAD).await;
        if let Err(VmError::Failed { output, .. }) = fetched {
            let help = "run `apt-get update` and try again";
            return Err(VmError::Kernel(format!("{package} could not be fetched; {help}: {output}")));
        }
        fetched?;
        let missing = || VmError::Kernel(format!("apt-get download left no .deb of {package}"));
        entries(&folder)?.into_iter().find(|p| p.extension().is_some_and(|e| e == "deb")).ok_or_else(missing)
    }

    async fn unpack(&self, deb: &Path, work: &TempDir) -> Result<PathBuf, VmError> {
        (self.progress)(format!("unpacking {}", deb.file_name().unwrap_or_default().display()));
        let root = work.path().join("root");
        let arguments = [Path::new("-x"), deb, &root];
        match self.search.run(DPKG_DEB, &arguments, None, 5 * QUICK).await {
            Err(VmError::Failed { output, .. }) => {
                Err(VmError::Kernel(format!("{} could not be unpacked: {output}", deb.display())))
            }
            other => other.map(|_| root),
        }
    }

    /// Makes the kernel's folder inside `work`; returns its path.
    async fn gather(&self, root: &Path, release: &str, work: &TempDir) -> Result<PathBuf, VmError> {
        let tree = self.with_dependencies(root, release, work).await?;
        let made = work.path().join("made");
        let modules = made.join("modules");
        fs::create_dir_all(&modules).map_err(failed(&modules))?;
        let image = root.join("boot").join(format!("vmlinuz-{release}"));
        let packed = file::read_bounded(&image, IMAGE_MAX).map_err(failed(&image))?;
        let unpacked = tokio::task::spawn_blocking(move || match image::unpack(&packed) {
            Some(kernel) => (VMLINUX, kernel),
            None => (VMLINUZ, packed),
        });
        let (name, bytes) = unpacked.await.map_err(|error| VmError::Kernel(error.to_string()))?;
        file::write_durably(&made.join(name), &bytes).map_err(failed(&made))?;
        for (number, module) in self.load_order(&tree, release).await?.iter().enumerate() {
            self.copy_module(module, number, &modules).await?;
        }
        modules::keep(&tree, &made)?;
        let complete = made.join("complete");
        file::write_durably(&complete, marker().as_bytes()).map_err(failed(&complete))?;
        Ok(made)
    }

    /// Makes a tree in which modprobe finds its lists: packages come without them, and a folder of others is not hostd's to
    /// change.
    async fn with_dependencies(&self, root: &Path, release: &str, work: &TempDir) -> Result<PathBuf, VmError> {
        let theirs = [root.join("lib/modules").join(release), root.join("usr/lib/modules").join(release)]
            .into_iter()
            .find(|folder| folder.is_dir())
            .ok_or_else(|| VmError::Kernel(format!("{} has no lib/modules/{release}", root.display())))?;
        let tree = work.path().join("tree");
        let ours = tree.join("lib/modules").join(release);
        fs::create_dir_all(&ours).map_err(failed(&ours))?;
        for entry in entries(&theirs)? {
            let link = ours.join(entry.file_name().unwrap_or_default());
            let is_list = link.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"modules."));
            if !is_list || link.ends_with("modules.builtin") || link.ends_with("modules.order") {
                let entry = std::path::absolute(&entry).map_err(failed(&entry))?;
                std::os::unix::fs::symlink(entry, &link).map_err(failed(&link))?;
            }
        }
        let arguments = [Path::new("-b"), &tree, Path::new(release)];
        self.search.run(DEPMOD, &arguments, None, 2 * QUICK).await?;
        Ok(tree)
    }

    /// Files of [`MODULES`] and of what they need, each once, in the order in which modprobe would load them.
    async fn load_order(&self, tree: &Path, release: &str) -> Result<Vec<PathBuf>, VmError> {
        let mut order: Vec<PathBuf> = Vec::new();
        for module in MODULES {
            let arguments =
                [Path::new("-d"), tree, Path::new("-S"), release.as_ref(), "--show-depends".as_ref(), module.as_ref()];
            let output = self.search.run(MODPROBE, &arguments, None, QUICK).await?;
            for path in insmod_paths(&String::from_utf8_lossy(&output)) {
                if !order.contains(&path) {
                    order.push(path);
                }
            }
        }
        Ok(order)
    }

    /// Copies a module; a compressed one is unpacked, since the guest loads plain ones.
    async fn copy_module(&self, module: &Path, number: usize, folder: &Path) -> Result<(), VmError> {
        let name = module.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let copy = folder.join(format!("{number:02}-{name}"));
        let bytes = file::read_bounded(module, IMAGE_MAX).map_err(failed(module))?;
        file::write_durably(&copy, &bytes).map_err(failed(&copy))?;
        if name.ends_with(".ko.xz") {
            self.search.run(XZ, &[Path::new("--decompress"), &copy], None, QUICK).await?;
        } else if !name.ends_with(".ko") {
            return Err(VmError::Kernel(format!("module {name} is compressed in a way that is not understood")));
        }
        Ok(())
    }

    /// Renames the kernel's folder into place. One that another hostd finished meanwhile is as good, and gets the tree of all modules
    /// where it has none; one made for other modules is replaced.
    fn put_into_place(&self, made: &Path, release: &str) -> Result<(), VmError> {
        let place = self.folder.join(release);
        if open(self.folder, release.to_owned()).is_ok() {
            // The rest stays: what was booted from it is resumed with it.
            let kept = place.join(modules::TREE);
            return if kept.exists() {
                Ok(())
            } else {
                fs::rename(made.join(modules::TREE), &kept).map_err(failed(&kept))
            };
        }
        let aside = made.with_file_name("aside");
        match fs::rename(&place, aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&place)(error)),
            _ => {}
        }
        fs::rename(made, &place).map_err(failed(&place))
    }
}

/// Name of the package in `  Depends: linux-image-6.1.0-56-cloud-amd64`.
fn kernel_package(depends: &str) -> Option<String> {
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends:"))
        .map(str::trim)
        .find(|package| package.strip_prefix("linux-image-").is_some_and(is_release))
        .map(str::to_owned)
}

/// Paths in lines such as `insmod /path/x.ko `; `builtin ext4` has none.
pub(super) fn insmod_paths(output: &str) -> Vec<PathBuf> {
    output.lines().filter_map(|line| line.strip_prefix("insmod ")).map(|path| PathBuf::from(path.trim())).collect()
}

/// The release of the kernel in a tree with boot/vmlinuz-RELEASE.
fn release_of(root: &Path) -> Result<String, VmError> {
    let boot = root.join("boot");
    let none = || VmError::Kernel(format!("{} has no vmlinuz-RELEASE", boot.display()));
    let names = entries(&boot).map_err(|_| none())?;
    names
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.strip_prefix("vmlinuz-"))
        .filter(|release| is_release(release))
        .max_by_key(|release| version_key(release))
        .map(str::to_owned)
        .ok_or_else(none)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, VmError> {
    let list = || fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>();
    list().map_err(failed(folder))
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
