//! What of the builds and bases on a host's shelf nobody needs any more. Pure: what lies there and who uses it come in.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// A build that lies on the host's shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    /// Id of the build.
    pub id: String,
    /// Folder that has all files of the build.
    pub folder: PathBuf,
    /// Base image that the build's disk lies on; None: it is not known any more.
    pub base: Option<PathBuf>,
}

/// Builds and base images that nobody needs any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unneeded {
    /// Folders of the builds.
    pub builds: Vec<PathBuf>,
    /// Files of the base images.
    pub bases: Vec<PathBuf>,
}

/// Finds what nobody needs: builds that are no environment's `current` one and in whose folder nothing `used` lies (a session's
/// layer, its template), and bases below no build that stays and not used themselves.
#[must_use]
pub fn unneeded(builds: &[Shelved], bases: &[PathBuf], current: &BTreeSet<String>, used: &[PathBuf]) -> Unneeded {
    let used_in = |folder: &Path| used.iter().any(|path| path.starts_with(folder));
    let (stay, go): (Vec<_>, Vec<_>) =
        builds.iter().partition(|build| current.contains(&build.id) || used_in(&build.folder));
    let below = |base: &PathBuf| stay.iter().any(|build| build.base.as_ref() == Some(base));
    Unneeded {
        builds: go.into_iter().map(|build| build.folder.clone()).collect(),
        bases: bases.iter().filter(|base| !below(base) && !used_in(base)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(id: &str, base: &str) -> Shelved {
        Shelved { id: id.into(), folder: Path::new("/b").join(id), base: Some(base.into()) }
    }

    fn go(current: &[&str], used: &[&str]) -> (Vec<String>, Vec<String>) {
        let builds = [build("old", "/a/1.ext4"), build("older", "/a/2.ext4"), build("new", "/a/1.ext4")];
        let bases = ["/a/1.ext4", "/a/2.ext4", "/a/3.ext4"].map(PathBuf::from);
        let current = current.iter().map(ToString::to_string).collect();
        let used: Vec<_> = used.iter().map(PathBuf::from).collect();
        let unneeded = unneeded(&builds, &bases, &current, &used);
        let names = |paths: Vec<PathBuf>| paths.iter().map(|path| path.display().to_string()).collect();
        (names(unneeded.builds), names(unneeded.bases))
    }

    #[test]
    fn what_is_current_or_used_stays_with_all_below_it() {
        let all = |builds: &[&str], bases: &[&str]| {
            (builds.iter().map(ToString::to_string).collect(), bases.iter().map(ToString::to_string).collect())
        };
        assert_eq!(go(&["new"], &[]), all(&["/b/old", "/b/older"], &["/a/2.ext4", "/a/3.ext4"]));
        assert_eq!(go(&["new"], &["/b/older/disk.qcow2"]), all(&["/b/old"], &["/a/3.ext4"]));
        assert_eq!(go(&["new"], &["/b/old/template"]), all(&["/b/older"], &["/a/2.ext4", "/a/3.ext4"]));
        assert_eq!(go(&["new"], &["/a/3.ext4"]), all(&["/b/old", "/b/older"], &["/a/2.ext4"]));
        assert_eq!(go(&[], &[]), all(&["/b/old", "/b/older", "/b/new"], &["/a/1.ext4", "/a/2.ext4", "/a/3.ext4"]));
    }

    #[test]
    fn a_name_that_only_begins_alike_is_no_use() {
        assert_eq!(go(&["new"], &["/b/oldest/disk.qcow2"]).0, ["/b/old", "/b/older"]);
    }
}
