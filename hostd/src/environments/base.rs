//! Base images: a Debian with packages, as one ext4 file, made by mmdebstrap and kept under the hash of its inputs.
//!
//! The file system is as big as the recipe's `size.disk` from the start (the file is sparse), so that a guest never has to
//! grow it; recipes that differ in it do not share a base.
//!
//! Without root, mmdebstrap works in a user namespace, for which the user needs a range in /etc/subuid.

use std::{
    fs::File,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use hostd_core::Recipe;
use tokio::{fs, process::Command};

use super::{
    EnvironmentError,
    files::{self, Stat, at},
    lines::Lines,
    mirrors,
    progress::Progress,
};
use crate::{process::Group, vm::VmError};

/// Raised when the same inputs would give another image.
const FORMAT: &str = "base 1";

/// Extension of an image that is being made.
const UNFINISHED: &str = "new";

/// Runs in mmdebstrap's namespace with the new root as `$1` and the image as standard input. The image is opened by that, and
/// not by its path, because without root the namespace's user has no way to it. The bind mount hides /proc, /sys and /dev.
const MAKE_IMAGE: &str = r#"set -e
rm -rf "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb
: > "$1"/etc/machine-id
mirror="$1.image"
mkdir "$mirror"
mount --bind "$1" "$mirror"
status=0
mke2fs -q -F -t ext4 -m 1 -L root -E assume_storage_prezeroed=1,root_owner=0:0 -d "$mirror" /proc/self/fd/0 "$PILOTHOUSE_DISK" || status=$?
umount "$mirror"
rmdir "$mirror"
exit $status"#;

/// A base image, made or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) hash: String,
    pub(super) path: PathBuf,
    suite: String,
    packages: Vec<String>,
    disk: u64,
}

impl Base {
    /// The base that a recipe asks for. git is in it wherever there is a repository to clone.
    pub(super) fn of(recipe: &Recipe, bases: &Path) -> Self {
        let mut packages = recipe.base.packages.clone();
        packages.extend(recipe.repository.iter().map(|_| "git".to_owned()));
        packages.sort();
        packages.dedup();
        let (suite, disk) = (recipe.base.debian.clone(), recipe.size.disk);
        let inputs = format!("{FORMAT}\n{suite}\n{}\n{disk}\n", packages.join(" "));
        let hash = blake3::hash(inputs.as_bytes()).to_hex()[..16].to_owned();
        let path = bases.join(format!("{hash}.ext4"));
        Self { hash, path, suite, packages, disk }
    }

    /// None: not made yet.
    pub(super) async fn stat(&self) -> Option<Stat> {
        files::stat(&self.path).await
    }

    /// Makes it, unless it is there.
    pub(super) async fn make(&self, progress: &Progress) -> Result<Stat, EnvironmentError> {
        if let Some(stat) = self.stat().await {
            progress.output(format!("{} is there already", self.hash));
            return Ok(stat);
        }
        let fresh = self.path.with_extension(UNFINISHED);
        files::remove(&fresh).await?;
        let made = self.bootstrap(&fresh, progress).await;
        if let Err(error) = made {
            files::remove(&fresh).await?;
            return Err(error);
        }
        files::freeze(&fresh).await?;
        files::publish(&fresh, &self.path).await?;
        self.stat().await.ok_or_else(|| progress.failure("the image vanished"))
    }

    async fn bootstrap(&self, image: &Path, progress: &Progress) -> Result<(), EnvironmentError> {
        if !rustix::process::geteuid().is_root() && !is_on_path("newuidmap") {
            return Err(missing("newuidmap", "uidmap"));
        }
        let file = File::create_new(image).map_err(at(image))?;
        // For mmdebstrap's own user, where hostd is not root. The data folder keeps everyone else out.
        fs::set_permissions(image, PermissionsExt::from_mode(0o666)).await.map_err(at(image))?;
        let (mut bootstrap, pipes) = match Group::spawn(&mut self.command(file)) {
            Ok(spawned) => spawned,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(missing("mmdebstrap", "mmdebstrap"));
            }
            Err(error) => return Err(at("mmdebstrap")(error)),
        };
        if let Some(stderr) = pipes.stderr {
            follow(stderr, progress).await;
        }
        let status = bootstrap.wait().await.map_err(at("mmdebstrap"))?;
        if !status.success() {
            return Err(progress.failure(&format!("mmdebstrap ended with {status}")));
        }
        Ok(())
    }

    fn command(&self, image: File) -> Command {
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=apt", "--format=null"]);
        if !self.packages.is_empty() {
            command.arg(format!("--include={}", self.packages.join(",")));
        }
        for left_out in ["doc", "info", "locale", "man"] {
            command.arg(format!("--dpkgopt=path-exclude=/usr/share/{left_out}/*"));
        }
        // A base that was cut off is thrown away: nothing needs to be synced on the way.
        command.arg("--dpkgopt=force-unsafe-io");
        command.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
        // No target, since the hook takes it all.
        command.args(["--customize-hook=eval \"$PILOTHOUSE_MAKE_IMAGE\"", &self.suite, "/dev/null"]);
        command.args(mirrors::for_suite(Path::new("/"), &self.suite));
        command
            .env("PILOTHOUSE_MAKE_IMAGE", MAKE_IMAGE)
            .env("PILOTHOUSE_DISK", format!("{}M", self.disk >> 20))
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", path_with_sbin())
            // Not /tmp: that is often memory.
            .env("TMPDIR", "/var/tmp")
            .stdin(image)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

/// Images that were never finished.
pub(super) async fn unfinished(bases: &Path) -> Result<Vec<PathBuf>, EnvironmentError> {
    let paths = files::names(bases).await?.into_iter().map(|name| bases.join(name));
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == UNFINISHED)).collect())
}

/// Images that are whole.
pub(super) async fn finished(bases: &Path) -> Result<Vec<PathBuf>, EnvironmentError> {
    let paths = files::names(bases).await?.into_iter().map(|name| bases.join(name));
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "ext4")).collect())
}

/// mke2fs is an administrators' program, which Debian leaves out of a user's PATH.
fn path_with_sbin() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    path.push(":/usr/sbin:/sbin");
    path
}

fn is_on_path(program: &str) -> bool {
    std::env::split_paths(&path_with_sbin()).any(|folder| folder.join(program).is_file())
}

fn missing(program: &str, package: &'static str) -> EnvironmentError {
    VmError::Missing { program: program.into(), package }.into()
}

async fn follow(mut output: impl tokio::io::AsyncRead + Unpin, progress: &Progress) {
    use tokio::io::AsyncReadExt;
    let mut lines = Lines::default();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        lines.push(&buffer[..length], &mut |line| progress.output(line));
    }
    lines.finish(&mut |line| progress.output(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_named_by_what_is_in_it() {
        let of = |text: &str| {
            let recipe = Recipe::parse("x", &format!("name='a'\nagent.command=['sh']\n{text}")).unwrap();
            Base::of(&recipe, Path::new("/b")).hash
        };
        let one = of("base={debian='bookworm',packages=['vim','git']}");
        assert_eq!(one, of("base={debian='bookworm',packages=['git','vim']}\nsetup=['true']\nsize.vcpus=4"));
        let repository = "repository={url='http://pilothouse.internal/git/a.git',path='/a'}";
        assert_eq!(one, of(&format!("base={{debian='bookworm',packages=['vim']}}\n{repository}")));
        assert_ne!(one, of("base={debian='trixie',packages=['vim','git']}"));
        assert_ne!(one, of("base={debian='bookworm',packages=['git','vim']}\nsize.disk='9GiB'"));
    }
}
