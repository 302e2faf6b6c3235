//! Base images: a Debian with packages, made by mmdebstrap, or what a container image holds, as one ext4 file that is kept under
//! the hash of its inputs.
//!
//! The file system is as big as the recipe's `size.disk` from the start (the file is sparse), so that a guest never has to
//! grow it. Recipes that differ in it alone have images of their own, of which the second is the first, copied and resized.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use hostd_core::{Recipe, image::Defaults, recipe::System};
use tokio::process::Command;

use super::{
    base_of_debian::{self, Debian},
    base_of_image::{self, Unpacking},
    files::{self, Stat, at},
    programs::{Programs, Wanted},
    progress::Progress,
    types::EnvironmentError,
};
use crate::{
    process::Group,
    registry::{Images, Resolved},
    vm::VmError,
};

/// Extension of an image that is being made.
const UNFINISHED: &str = "new";

/// A base image, which may have to be made yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// Hash of the image's inputs, and behind a dash its size in MiB.
    pub(super) hash: String,
    pub(super) path: PathBuf,
    source: Source,
    /// What the agent's profile wants beside packages of the system.
    programs: Option<Wanted>,
    disk: u64,
}

/// What an image is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Debian(Debian),
    /// A container image, which was found for this environment, by this credential.
    Image {
        image: Box<Resolved>,
        environment: String,
        credential: Option<String>,
    },
}

impl Base {
    /// The base that a recipe asks for, of which the image is this one; None: it is a recipe for an image that nobody has looked
    /// for yet. git is in a Debian wherever there is a repository to clone.
    pub(super) fn of(recipe: &Recipe, image: Option<&Resolved>, bases: &Path) -> Option<Self> {
        let (disk, programs) = (recipe.size.disk, Wanted::of(recipe));
        let more = programs.as_ref().map(|wanted| format!("{}\n", wanted.hash)).unwrap_or_default();
        let (inputs, source) = match &recipe.base.system {
            System::Debian(suite) => {
                let debian = Debian { suite: suite.clone(), packages: recipe.packages() };
                let inputs = format!("{}\n{suite}\n{}\n{more}", base_of_debian::FORMAT, debian.packages.join(" "));
                (inputs, Source::Debian(debian))
            }
            // Which image that is, its file says, and it is asked for with that.
            System::Devcontainer { .. } => return None,
            System::Image { credential, .. } => {
                let (image, environment) = (Box::new(image?.clone()), recipe.name.clone());
                let inputs = format!("{}\n{}\n{more}", base_of_image::FORMAT, image.digest);
                (inputs, Source::Image { image, environment, credential: credential.clone() })
            }
        };
        let hash = format!("{}-{}", &blake3::hash(inputs.as_bytes()).to_hex()[..16], disk >> 20);
        let path = bases.join(format!("{hash}.ext4"));
        Some(Self { hash, path, source, programs, disk })
    }

    /// What it is, for people.
    pub(super) fn title(&self) -> String {
        match &self.source {
            Source::Debian(debian) => format!("Debian {}", debian.suite),
            Source::Image { image, .. } => image.reference.to_string(),
        }
    }

    /// What the image that it is made from says of how programs run; None: it is made from none. That is kept beside the base, and
    /// found out again where it is not there, or the image's label is not in it and wanted.
    pub(super) async fn defaults(
        &self,
        images: &Images,
        with_label: bool,
        progress: &Arc<Progress>,
    ) -> Result<Option<Defaults>, EnvironmentError> {
        let Source::Image { .. } = &self.source else { return Ok(None) };
        let kept = files::read(&self.record()).await?.and_then(|text| serde_json::from_str::<Defaults>(&text).ok());
        let kept = kept.filter(|kept| kept.metadata.is_some() || !with_label);
        match kept {
            Some(defaults) => Ok(Some(defaults)),
            None => {
                let unpacking = self.unpacking(images, None, progress).await?;
                self.keep(unpacking.defaults()).await?;
                Ok(Some(unpacking.defaults().clone()))
            }
        }
    }

    /// File of what the image says; bases that differ in their size alone have one.
    fn record(&self) -> PathBuf {
        record(&self.path)
    }

    async fn keep(&self, defaults: &Defaults) -> Result<(), EnvironmentError> {
        let text = serde_json::to_string_pretty(defaults).unwrap_or_default();
        files::write(&self.record(), text.as_bytes()).await
    }

    /// The image's files, as they will be.
    async fn unpacking(
        &self,
        images: &Images,
        programs: Option<PathBuf>,
        progress: &Arc<Progress>,
    ) -> Result<Unpacking, EnvironmentError> {
        let Source::Image { image, environment, credential } = &self.source else {
            return Err(progress.failure("the base is no image"));
        };
        let (credential, most) = (credential.as_deref(), Unpacking::most(self.disk));
        let read = async {
            let pulled = images.pull(image, credential, environment, most, &**progress).await;
            let pulled = pulled.map_err(|error| progress.failure(&error.to_string()))?;
            for line in &pulled.config.ignored {
                progress.output(line.clone());
            }
            Unpacking::read(pulled, programs, self.disk, progress).await
        };
        let read = read.await;
        // However it went: what is never used would fill the disk else.
        if let Err(error) = images.prune(Some(image)).await {
            tracing::warn!(%error, "images that were pulled are not cleaned up");
        }
        read
    }

    /// Stat of the image's file; None: the image is not made yet.
    pub(super) async fn stat(&self) -> Option<Stat> {
        files::stat(&self.path).await
    }

    /// Makes the image, unless it is there; what it takes of the agent's programs comes from `programs`.
    pub(super) async fn make(
        &self,
        programs: &Programs,
        images: &Images,
        progress: &Arc<Progress>,
    ) -> Result<Stat, EnvironmentError> {
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
                match &self.source {
                    Source::Debian(debian) => debian.bootstrap(&fresh, self.disk, archive.as_deref(), progress).await,
                    Source::Image { .. } => {
                        let unpacking = self.unpacking(images, archive, progress).await?;
                        self.keep(unpacking.defaults()).await?;
                        unpacking.write(&fresh, self.disk, progress).await
                    }
                }
            };
            if let Err(error) = made.await {
                files::remove(&fresh).await?;
                // Of a base that there is none of, in any size.
                let bases = self.path.parent().unwrap_or(Path::new(""));
                if sibling(&self.hash, finished(bases).await?).is_none() {
                    files::remove(&self.record()).await?;
                }
                return Err(error);
            }
        }
        files::freeze(&fresh).await?;
        fail::fail_point!("base::before-publish");
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
}

/// File of what the container image says that this base is made from.
pub(super) fn record(base: &Path) -> PathBuf {
    let name = base.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let content = name.rsplit_once('-').map_or(name, |(content, _)| content);
    base.with_file_name(format!("{content}.json"))
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
pub(super) fn path_with_sbin() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    path.push(":/usr/sbin:/sbin");
    path
}

pub(super) fn is_on_path(program: &str) -> bool {
    std::env::split_paths(&path_with_sbin()).any(|folder| folder.join(program).is_file())
}

pub(super) fn missing(program: &str, package: &'static str) -> EnvironmentError {
    VmError::Missing { program: program.into(), package }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_named_by_what_is_in_it() {
        let of = |text: &str| {
            let recipe = Recipe::parse("x", &format!("name='a'\nagent.command=['sh']\n{text}")).unwrap();
            Base::of(&recipe, None, Path::new("/b")).unwrap().hash
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
            Base::of(&Recipe::parse("x", &text).unwrap(), None, bases.path()).unwrap()
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
            let images = crate::registry::tests::none();
            other.make(&Programs::at(bases.path().join("programs")), &images, &progress).await.unwrap();
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
