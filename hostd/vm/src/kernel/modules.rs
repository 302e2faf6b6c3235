//! All modules of a kernel, for guests that ask for one.
//!
//! `kernel/RELEASE/tree` is a tree as modprobe wants it, with the package's modules and the lists that depmod made for them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use pilothouse_proto::link::{MODULES_MAX, is_module_name};

use super::{fetch::insmod_paths, folder::is_release};
use crate::{
    VmError,
    file::{failed, read_bounded},
    program::{MODPROBE, Search, XZ},
};

/// Name of the tree in a kernel's folder.
pub(super) const TREE: &str = "tree";
/// Longest time for modprobe to say what a module needs, and for a module to be unpacked.
const WITHIN: Duration = Duration::from_secs(20);

/// Why a guest gets no module. The text is for people.
#[derive(Debug, thiserror::Error)]
pub enum NoModule {
    /// This is no name of a module, or of a kernel.
    #[error("{0:?} names no module of a kernel")]
    Name(String),
    /// The modules of this kernel were not kept.
    #[error("the host has no more modules of kernel {0}; it fetches them with the next `pilothouse env build`")]
    Kernel(String),
    /// The kernel has no such module.
    #[error("kernel {release} has no module {name}")]
    None {
        /// Release of the kernel.
        release: String,
        /// Name or alias that was asked for.
        name: String,
    },
    /// The host could not read it.
    #[error(transparent)]
    Host(#[from] VmError),
}

/// Gives the contents of a module by name or alias, and of what it needs, in the order in which they are loaded. Empty: all of it is
/// built in. `kernels` is the data folder's `kernel`.
///
/// # Errors
/// See [`NoModule`]. Both names may be a guest's.
pub async fn needed(kernels: &Path, release: &str, name: &str) -> Result<Vec<Vec<u8>>, NoModule> {
    needed_by(&Search::default(), kernels, release, name).await
}

async fn needed_by(search: &Search, kernels: &Path, release: &str, name: &str) -> Result<Vec<Vec<u8>>, NoModule> {
    if !is_release(release) || !is_module_name(name) {
        return Err(NoModule::Name(format!("{release}/{name}")));
    }
    let tree = kernels.join(release).join(TREE);
    if !are_kept(kernels, release) {
        return Err(NoModule::Kernel(release.into()));
    }
    // What this machine's own administrator has configured is not for guests.
    let config = ["-C", "/dev/null", "-d"].map(Path::new);
    let of = [&tree, Path::new("-S"), release.as_ref(), "--show-depends".as_ref(), "--".as_ref(), name.as_ref()];
    let output = match search.run(MODPROBE, &[&config[..], &of].concat(), None, WITHIN).await {
        Err(VmError::Failed { .. }) => return Err(NoModule::None { release: release.into(), name: name.into() }),
        output => output?,
    };
    let (mut modules, mut left) = (Vec::new(), MODULES_MAX);
    for path in insmod_paths(&String::from_utf8_lossy(&output)) {
        let module = read(search, &path).await?;
        let too_large = || VmError::Kernel(format!("what {name} needs is larger than {MODULES_MAX} bytes"));
        left = left.checked_sub(module.len()).ok_or_else(too_large)?;
        modules.push(module);
    }
    Ok(modules)
}

/// Reads a module, unpacked.
async fn read(search: &Search, path: &Path) -> Result<Vec<u8>, VmError> {
    let bytes = read_file(path.into()).await?;
    if path.extension().is_none_or(|extension| extension != "xz") {
        return Ok(bytes);
    }
    let folder = tempfile::tempdir().map_err(failed(path))?;
    let copy = folder.path().join("module.xz");
    fs::write(&copy, bytes).map_err(failed(&copy))?;
    search.run(XZ, &[Path::new("--decompress"), &copy], None, WITHIN).await?;
    read_file(copy.with_extension("")).await
}

async fn read_file(path: PathBuf) -> Result<Vec<u8>, VmError> {
    let read = move || read_bounded(&path, MODULES_MAX as u64).map_err(failed(&path));
    tokio::task::spawn_blocking(read).await.map_err(|error| VmError::Kernel(error.to_string()))?
}

/// Whether all modules of a kernel are kept.
pub(crate) fn are_kept(kernels: &Path, release: &str) -> bool {
    kernels.join(release).join(TREE).is_dir()
}

/// Keeps all modules of a kernel from the tree in which modprobe has found some, whose entries may be links to elsewhere. Files are
/// linked where they can be.
pub(super) fn keep(tree: &Path, made: &Path) -> Result<(), VmError> {
    let kept = made.join(TREE);
    copy(&tree.join("lib"), &kept.join("lib")).map_err(failed(&kept))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        // Whoever builds modules has links to their sources there.
        if name == "build" || name == "source" {
            continue;
        }
        let path = fs::canonicalize(path)?;
        let to = to.join(name);
        if path.is_dir() {
            copy(&path, &to)?;
        } else if fs::hard_link(&path, &to).is_err() {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::put_script;

    /// Kernels of which one has a tree, and a modprobe that knows two modules.
    fn kernels(folder: &Path) -> Search {
        let tree = folder.join("kernel/6.1").join(TREE);
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir_all(folder.join("kernel/5.10")).unwrap();
        for name in ["stp.ko", "bridge.ko"] {
            fs::write(tree.join(name), format!("{name}'s bytes")).unwrap();
        }
        let script = "PATH=/usr/bin:/bin; echo \"$*\" >\"$0.asked\"
            case $9 in bridge) echo \"insmod $4/stp.ko\"; echo \"insmod $4/bridge.ko \";; unix) echo builtin unix;; *) exit 1;; esac";
        put_script(&folder.join("modprobe"), script);
        Search { path: Some(folder.into()) }
    }

    #[tokio::test]
    async fn gives_a_module_behind_what_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        let (search, kernel) = (kernels(folder.path()), folder.path().join("kernel"));
        let needed = |release, name| needed_by(&search, &kernel, release, name);
        assert_eq!(needed("6.1", "bridge").await.unwrap(), [&b"stp.ko's bytes"[..], b"bridge.ko's bytes"]);
        let asked = fs::read_to_string(folder.path().join("modprobe.asked")).unwrap();
        assert!(
            asked.starts_with("-C /dev/null -d ") && asked.ends_with(" -S 6.1 --show-depends -- bridge\n"),
            "{asked}"
        );
        assert!(needed("6.1", "unix").await.unwrap().is_empty());
        assert!(matches!(needed("6.1", "none").await, Err(NoModule::None { .. })));
        assert!(matches!(needed("5.10", "bridge").await, Err(NoModule::Kernel(_))));
        for (release, name) in
            [("..", "bridge"), ("6.1/..", "bridge"), ("6.1", "../bridge"), ("6.1", "-r"), ("6.1", "")]
        {
            assert!(matches!(needed(release, name).await, Err(NoModule::Name(_))), "{release} {name}");
        }
    }
}
