//! Base images: a Debian with packages, as one ext4 file, made by mmdebstrap and kept under the hash of its inputs.
//!
//! The file system is as big as the recipe's `size.disk` from the start (the file is sparse), so that a guest never has to
//! grow it. Recipes that differ in it alone have images of their own, of which the second is the first, copied and resized.
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
    files::{self, Stat, at},
    mirrors,
    programs::{Programs, Wanted},
    progress::Progress,
    types::EnvironmentError,
};
use crate::{process::Group, vm::VmError};

/// Format of images; raised when the same inputs would give another image.
const FORMAT: &str = "base 2";

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

/// A base image, which may have to be made yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// Hash of the image's inputs, and behind a dash its size in MiB.
    pub(super) hash: String,
    pub(super) path: PathBuf,
    suite: String,
    packages: Vec<String>,
    /// What the agent's profile wants beside Debian's packages.
    programs: Option<Wanted>,
    disk: u64,
}

impl Base {
    /// The base that a recipe asks for. git is in it wherever there is a repository to clone.
    pub(super) fn of(recipe: &Recipe, bases: &Path) -> Self {
        let packages = recipe.packages();
        let (suite, disk) = (recipe.base.debian.clone(), recipe.size.disk);
        let programs = Wanted::of(recipe);
        let more = programs.as_ref().map(|wanted| format!("{}\n", wanted.hash)).unwrap_or_default();
        let inputs = format!("{FORMAT}\n{suite}\n{}\n{more}", packages.join(" "));
        let hash = format!("{}-{}", &blake3::hash(inputs.as_bytes()).to_hex()[..16], disk >> 20);
        let path = bases.join(format!("{hash}.ext4"));
        Self { hash, path, suite, packages, programs, disk }
    }

    /// Stat of the image's file; None: the image is not made yet.
    pub(super) async fn stat(&self) -> Option<Stat> {
        files::stat(&self.path).await
    }

    /// Makes the image, unless it is there; what it takes of the agent's programs comes from `programs`.
    pub(super) async fn make(&self, programs: &Programs, progress: &Progress) -> Result<Stat, EnvironmentError> {
        if let Some(stat) = self.stat().await {
            progress.output(format!("{} is there already", self.hash));
            return Ok(stat);
        }
        let fresh = self.path.with_extension(UNFINISHED);
        files::remove(&fresh).await?;
        if !self.resized(&fresh, progress).await? {
            let made = async {
                let archive = match &self.programs {
                    Some(wanted) => Some(programs.archive(wanted, progress).await?),
                    None => None,
                };
                self.bootstrap(&fresh, archive.as_deref(), progress).await
            };
            if let Err(error) = made.await {
                files::remove(&fresh).await?;
                return Err(error);
            }
        }
        files::freeze(&fresh).await?;
        files::publish(&fresh, &self.path).await?;
        self.stat().await.ok_or_else(|| progress.failure("the image vanished"))
    }

    /// Makes the image from one with the same Debian and another size, copied and resized; false: there is none, or it could
    /// not be resized.
    async fn resized(&self, fresh: &Path, progress: &Progress) -> Result<bool, EnvironmentError> {
        let bases = self.path.parent().unwrap_or(Path::new(""));
        let Some(sibling) = sibling(&self.hash, finished(bases).await?) else { return Ok(false) };
        progress.output(format!("{} is copied, and resized", sibling.display()));
        // Nothing is mounted of it ever, so that it need not be checked first.
        let script = r#"set -e
cp --reflink=auto --sparse=always -- "$1" "$2"
chmod 0600 "$2"
if [ "$(stat -c %s "$2")" -lt "$3" ]; then truncate -s "$3" "$2"; resize2fs -f "$2"; else resize2fs -f "$2" "$4"; truncate -s "$3" "$2"; fi"#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&sibling).arg(fresh).arg(self.disk.to_string());
        command.arg(format!("{}M", self.disk >> 20)).env("LC_ALL", "C.UTF-8").env("PATH", path_with_sbin());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let (mut resizing, pipes) = Group::spawn(&mut command).map_err(at("sh"))?;
        if let Some(stderr) = pipes.stderr {
            progress.follow(stderr).await;
        }
        let status = resizing.wait().await.map_err(at("sh"))?;
        if !status.success() {
            // What is in it may not fit: then the whole way round says so.
            progress.output(format!("it could not be resized ({status}); it is made anew"));
            files::remove(fresh).await?;
        }
        Ok(status.success())
    }

    async fn bootstrap(
        &self,
        image: &Path,
        programs: Option<&Path>,
        progress: &Progress,
    ) -> Result<(), EnvironmentError> {
        if !rustix::process::geteuid().is_root() && !is_on_path("newuidmap") {
            return Err(missing("newuidmap", "uidmap"));
        }
        let file = File::create_new(image).map_err(at(image))?;
        // For mmdebstrap's own user, where hostd is not root. The data folder keeps everyone else out.
        fs::set_permissions(image, PermissionsExt::from_mode(0o666)).await.map_err(at(image))?;
        let (mut bootstrap, pipes) = match Group::spawn(&mut self.command(file, programs)?) {
            Ok(spawned) => spawned,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(missing("mmdebstrap", "mmdebstrap"));
            }
            Err(error) => return Err(at("mmdebstrap")(error)),
        };
        if let Some(stderr) = pipes.stderr {
            progress.follow(stderr).await;
        }
        let status = bootstrap.wait().await.map_err(at("mmdebstrap"))?;
        if !status.success() {
            return Err(progress.failure(&format!("mmdebstrap ended with {status}")));
        }
        Ok(())
    }

    fn command(&self, image: File, programs: Option<&Path>) -> Result<Command, EnvironmentError> {
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=apt", "--format=null"]);
        if !self.packages.is_empty() {
            command.arg(format!("--include={}", self.packages.join(",")));
        }
        for left_out in ["doc", "info", "locale", "man"] {
            command.arg(format!("--dpkgopt=path-exclude=/usr/share/{left_out}/*"));
        }
        // Packages such as Java's put links there, and cannot be set up where the folders are not.
        command
            .arg("--essential-hook=for section in 1 2 3 4 5 6 7 8; do mkdir -p \"$1/usr/share/man/man$section\"; done");
        // A base that was cut off is thrown away: nothing needs to be synced on the way.
        command.arg("--dpkgopt=force-unsafe-io");
        command.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
        if let Some(archive) = programs {
            let archive = std::path::absolute(archive).map_err(at(archive))?;
            // mmdebstrap takes its words apart as a shell does.
            let quoted = archive.to_string_lossy().replace('\'', r"'\''");
            command.arg(format!("--customize-hook=tar-in '{quoted}' /"));
        }
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
        Ok(command)
    }
}

/// Paths of images that were never finished.
pub(super) async fn unfinished(bases: &Path) -> Result<Vec<PathBuf>, EnvironmentError> {
    let paths = files::names(bases).await?.into_iter().map(|name| bases.join(name));
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == UNFINISHED)).collect())
}

/// Paths of images that are whole.
pub(super) async fn finished(bases: &Path) -> Result<Vec<PathBuf>, EnvironmentError> {
    let paths = files::names(bases).await?.into_iter().map(|name| bases.join(name));
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "ext4")).collect())
}

/// Of these images one that differs from the image of this hash in its size alone. The largest that is smaller, if there is
/// one: to grow is less work than to shrink.
fn sibling(hash: &str, images: Vec<PathBuf>) -> Option<PathBuf> {
    let (content, wanted) = hash.rsplit_once('-')?;
    let wanted: u64 = wanted.parse().ok()?;
    let size = |path: &Path| {
        let (other, size) = path.file_stem()?.to_str()?.rsplit_once('-')?;
        size.parse::<u64>().ok().filter(|_| other == content)
    };
    let sized: Vec<(u64, PathBuf)> = images.into_iter().filter_map(|path| Some((size(&path)?, path))).collect();
    let smaller = sized.iter().filter(|(size, _)| *size < wanted).max();
    smaller.or_else(|| sized.iter().filter(|(size, _)| *size > wanted).min()).map(|(_, path)| path.clone())
}

/// PATH with the folders of administrators' programs, such as mke2fs, which Debian leaves out of a user's PATH.
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
        let larger = of("base={debian='bookworm',packages=['git','vim']}\nsize.disk='9GiB'");
        assert_eq!(one.replace("-8192", "-9216"), larger);
    }

    #[tokio::test]
    async fn another_size_is_made_of_what_is_there() {
        let bases = tempfile::tempdir().unwrap();
        let of = |disk: &str| {
            let text = format!("name='a'\nagent.command=['sh']\nbase.debian='bookworm'\nsize.disk='{disk}'");
            Base::of(&Recipe::parse("x", &text).unwrap(), bases.path())
        };
        let (middle, progress) = (of("2GiB"), Progress::new(String::new()));
        let run = async |program: &str, args: &[&str]| {
            let made = Command::new(program).args(args).env("PATH", path_with_sbin()).output().await.unwrap();
            assert!(made.status.success(), "{made:?}");
            String::from_utf8(made.stdout).unwrap()
        };
        run("mke2fs", &["-q", "-F", "-t", "ext4", middle.path.to_str().unwrap(), "2G"]).await;
        for (disk, size) in [("3GiB", 3 << 30), ("1GiB", 1 << 30)] {
            let other = of(disk);
            other.make(&Programs::at(bases.path().join("programs")), &progress).await.unwrap();
            let path = other.path.to_str().unwrap();
            assert_eq!(std::fs::metadata(path).unwrap().len(), size);
            run("e2fsck", &["-f", "-n", path]).await;
            let blocks = run("dumpe2fs", &["-h", path]).await;
            assert!(blocks.contains(&format!("{}\n", size / 4096)), "{blocks}");
        }
        assert!(!progress.log().contains("made anew"), "{}", progress.log());
        std::fs::write(of("8GiB").path, "garbage").unwrap();
        assert!(!of("9GiB").resized(&bases.path().join("x.new"), &progress).await.unwrap());
        assert!(!bases.path().join("x.new").exists());
    }

    #[test]
    fn the_nearest_smaller_sibling_is_grown_before_a_larger_one_is_shrunk() {
        let images = |names: &[&str]| names.iter().map(|name| Path::new("/b").join(name)).collect::<Vec<_>>();
        let find = |names: &[&str]| sibling("aa-4096", images(names)).map(|path| path.display().to_string());
        assert_eq!(find(&["aa-1024.ext4", "aa-2048.ext4", "aa-8192.ext4"]).as_deref(), Some("/b/aa-2048.ext4"));
        assert_eq!(find(&["aa-9216.ext4", "aa-8192.ext4", "bb-2048.ext4"]).as_deref(), Some("/b/aa-8192.ext4"));
        assert_eq!(find(&["bb-2048.ext4", "aa.ext4", "aa-x.ext4"]), None);
    }
}
