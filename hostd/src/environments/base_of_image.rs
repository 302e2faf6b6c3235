//! From the layers of a container image to a base.
//!
//! The layers are put on each other as data, and written into a file system that mke2fs has made: see [`hostd_image`]. So it takes
//! no right and no user namespace, and nothing of the image becomes a file of the host.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hostd_core::image::{Config, Defaults};
use hostd_image::{Bounds, Image, ImageError, Tree, Watch};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    base::{missing, path_with_sbin},
    files::at,
    lines::Line,
    progress::Progress,
    types::EnvironmentError,
};
use crate::{
    process::Group,
    registry::{self, Pulled},
};

/// Format of bases of images; raised when the same image would give another base.
pub(super) const FORMAT: &str = "image 1";

/// Time between two lines that say how far it has come.
const TELL: Duration = Duration::from_millis(500);
/// Folders that every guest has, with their permissions.
const FOLDERS: [(&str, u16); 9] = [
    ("/dev", 0o755),
    ("/proc", 0o555),
    ("/sys", 0o555),
    ("/run", 0o755),
    ("/tmp", 0o1777),
    ("/var/tmp", 0o1777),
    ("/root", 0o700),
    ("/etc", 0o755),
    ("/usr/local/bin", 0o755),
];
/// Where programs for GNU's C library look for it.
const GLIBC: &str =
    if cfg!(target_arch = "aarch64") { "/lib/ld-linux-aarch64.so.1" } else { "/lib64/ld-linux-x86-64.so.2" };
/// Users and groups of an image that has none.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n";
const GROUP: &str = "root:x:0:\n";

/// An image's files, as they will be in the base.
pub(super) struct Unpacking {
    layers: Vec<PathBuf>,
    programs: Option<PathBuf>,
    bounds: Bounds,
    tree: Tree,
    defaults: Defaults,
    /// What of the image's user is not heeded, for people.
    note: Option<String>,
    /// Bytes of all layers.
    bytes: u64,
}

impl Unpacking {
    /// Reads what is in the layers, and in a tar of programs that go on top.
    pub(super) async fn read(
        pulled: Pulled,
        programs: Option<PathBuf>,
        disk: u64,
        progress: &Arc<Progress>,
    ) -> Result<Self, EnvironmentError> {
        let Pulled { config, layers } = pulled;
        let bytes = layers.iter().chain(&programs).filter_map(|path| path.metadata().ok()).map(|is| is.len()).sum();
        let bounds = Bounds::for_disk(disk);
        progress.output(format!("reads {}", counted(layers.len(), "layer")));
        let read = blocking(progress, bytes, move |watch| {
            let image = image(&layers, programs.as_ref(), bounds, watch);
            let mut tree = image.tree()?;
            let (defaults, note) = furnish(&image, &mut tree, &config, programs.is_some())?;
            Ok(Self { layers, programs, bounds, tree, defaults, note, bytes })
        });
        let read = read.await?;
        read.note.iter().for_each(|note| progress.output(note.clone()));
        Ok(read)
    }

    /// Bytes that the layers of an image for a disk of this size unpack to at most.
    pub(super) fn most(disk: u64) -> u64 {
        Bounds::for_disk(disk).unpacked
    }

    /// What the image says of how programs run.
    pub(super) fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// Writes a file system of this size into a new file.
    pub(super) async fn write(self, path: &Path, disk: u64, progress: &Arc<Progress>) -> Result<(), EnvironmentError> {
        File::create_new(path).map_err(at(path))?;
        let mut words: Vec<String> =
            ["-q", "-F", "-m", "1", "-L", "root", "-E", "assume_storage_prezeroed=1,root_owner=0:0"]
                .map(str::to_owned)
                .into();
        words.extend(self.tree.mke2fs(disk));
        words.extend([path.to_string_lossy().into_owned(), format!("{}M", disk >> 20)]);
        run("mke2fs", &words, progress).await?;
        progress.output("its files are written".into());
        fail::fail_point!("base::before-files");
        let own = path.to_owned();
        blocking(progress, self.bytes, move |watch| {
            let image = image(&self.layers, self.programs.as_ref(), self.bounds, watch);
            let failed = |error| ImageError::Io { what: own.display().to_string(), error };
            let file = File::options().read(true).write(true).open(&own).map_err(failed)?;
            image.write(&self.tree, &file)
        })
        .await?;
        let words = ["-f", "-n", &path.to_string_lossy()].map(str::to_owned);
        run("e2fsck", &words, progress).await
    }
}

fn image<'a>(layers: &[PathBuf], programs: Option<&PathBuf>, bounds: Bounds, watch: &'a dyn Watch) -> Image<'a> {
    let mut image = Image::new(layers.to_vec(), bounds, watch);
    programs.into_iter().for_each(|path| image.add_programs(path.clone()));
    image
}

/// Gives an image what every guest has; says how programs run in it, and what of its user is not heeded.
fn furnish(
    image: &Image<'_>,
    tree: &mut Tree,
    config: &Config,
    programs: bool,
) -> Result<(Defaults, Option<String>), ImageError> {
    let failed = ImageError::Bound;
    if programs && !tree.has_program(GLIBC) {
        let why = "the agent's programs want GNU's C library, which the image does not have (Alpine has another); base it on \
                   Debian, Ubuntu or Fedora";
        return Err(failed(why.into()));
    }
    for (path, mode) in FOLDERS {
        tree.make_folder(path, mode).map_err(failed)?;
    }
    if !config.directory.is_empty() {
        tree.make_folder(&config.directory, 0o755).map_err(failed)?;
    }
    // Which name the guest has, and whom it asks, is found out there.
    for path in ["/etc/resolv.conf", "/etc/hostname"] {
        tree.remove(path);
    }
    tree.put_file("/etc/machine-id", vec![], 0o444).map_err(failed)?;
    let groups = image.text(tree, "/etc/group")?;
    if groups.is_none() {
        tree.put_file("/etc/group", GROUP.into(), 0o644).map_err(failed)?;
    }
    let users = image.text(tree, "/etc/passwd")?;
    let Login { name: user, passwd, note } = login(config, users.as_deref(), groups.as_deref());
    if let Some(text) = passwd {
        tree.put_file("/etc/passwd", text, 0o644).map_err(failed)?;
    }
    // The file system has one of its own, and a link may have led there.
    tree.remove("lost+found");
    let shell = tree.has_program("/bin/sh");
    let Config { environment, directory, .. } = config;
    let (environment, directory) = (environment.clone(), directory.clone());
    Ok((Defaults { environment, directory, user, shell, metadata: Some(config.metadata.clone()) }, note))
}

/// Whom an image's programs run as.
#[derive(Debug, PartialEq, Eq)]
struct Login {
    name: String,
    /// New text of `/etc/passwd`; None: it stays as it is.
    passwd: Option<Vec<u8>>,
    note: Option<String>,
}

/// Whom an image's programs run as. A user who is a number and has no name in `/etc/passwd` gets a line there, as the number alone
/// would run.
fn login(config: &Config, passwd: Option<&[u8]>, group: Option<&[u8]>) -> Login {
    let text = passwd.map_or_else(|| PASSWD.into(), String::from_utf8_lossy);
    let created = passwd.is_none().then(|| text.clone().into_owned().into_bytes());
    let users: Vec<(&str, &str, &str)> = text.lines().filter_map(user_of).collect();
    let wanted = group_of(&config.group, group);
    let uid = config.user.parse::<u32>().ok();
    let known = users.iter().find(|(name, id, _)| match uid {
        Some(uid) => id.parse() == Ok(uid),
        None => *name == if config.user.is_empty() { "root" } else { &config.user },
    });
    let note = || format!("the image's USER names the group {}: its user's own is taken", config.group);
    if let (None, Some(uid)) = (known, uid) {
        let name = free_name(uid, &users);
        let mut bytes = passwd.map_or_else(|| PASSWD.as_bytes().to_vec(), <[_]>::to_vec);
        if !bytes.ends_with(b"\n") && !bytes.is_empty() {
            bytes.push(b'\n');
        }
        let gid = wanted.unwrap_or(0);
        bytes.extend_from_slice(format!("{name}:x:{uid}:{gid}::/:/bin/sh\n").as_bytes());
        let note = (!config.group.is_empty() && wanted.is_none()).then(note);
        return Login { name, passwd: Some(bytes), note };
    }
    let own = known.and_then(|(_, _, gid)| gid.parse::<u32>().ok());
    let note = (!config.group.is_empty() && (wanted.is_none() || own != wanted)).then(note);
    let name = known.filter(|_| uid.is_some()).map_or_else(|| config.user.clone(), |(name, ..)| (*name).to_owned());
    Login { name, passwd: created, note }
}

/// Name, number and group of a line of `/etc/passwd`.
fn user_of(line: &str) -> Option<(&str, &str, &str)> {
    let mut fields = line.split(':');
    let (name, id, group) = (fields.next()?, fields.nth(1)?, fields.next()?);
    (!name.is_empty()).then_some((name, id, group))
}

/// The number of a group that is a number, or has this name in `/etc/group`.
fn group_of(group: &str, groups: Option<&[u8]>) -> Option<u32> {
    let text = groups.map_or_else(|| GROUP.into(), String::from_utf8_lossy);
    let named = || {
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == group).then(|| fields.nth(1)?.parse().ok())?
        })
    };
    if group.is_empty() { None } else { group.parse().ok().or_else(named) }
}

/// A name for a user who is a number, which nobody else has.
fn free_name(uid: u32, users: &[(&str, &str, &str)]) -> String {
    let mut name = format!("user{uid}");
    while users.iter().any(|(known, ..)| *known == name) {
        name.push('_');
    }
    name
}

/// Does what takes long beside everything else. It ends soon after nobody waits for it any more.
async fn blocking<T: Send + 'static>(
    progress: &Arc<Progress>,
    bytes: u64,
    work: impl FnOnce(&dyn Watch) -> Result<T, ImageError> + Send + 'static,
) -> Result<T, EnvironmentError> {
    let stop = CancellationToken::new();
    let _guard: DropGuard = stop.clone().drop_guard();
    let watch = Telling { progress: progress.clone(), stop, bytes, told: Mutex::new(Instant::now()) };
    let done = tokio::task::spawn_blocking(move || work(&watch)).await;
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(progress.failure(&error.to_string())),
        Err(error) => Err(progress.failure(&error.to_string())),
    }
}

/// Says how far it has come, now and then.
struct Telling {
    progress: Arc<Progress>,
    stop: CancellationToken,
    bytes: u64,
    told: Mutex<Instant>,
}

impl Watch for Telling {
    fn goes_on(&self, read: u64) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= TELL && self.bytes > 0 {
            *told = Instant::now();
            // Layers are read twice: for their names, and for their contents.
            let percent = (read * 50 / self.bytes).min(100);
            self.progress.line(Line::Passing(format!("{percent} % of the layers")));
        }
        !self.is_ended()
    }

    fn is_ended(&self) -> bool {
        self.stop.is_cancelled()
    }
}

impl registry::Progress for Progress {
    fn line(&self, line: String) {
        self.output(hostd_core::text::one_line(&line));
    }

    fn passing(&self, line: String) {
        Progress::line(self, Line::Passing(line));
    }
}

/// Runs a program of e2fsprogs to its end; what it says is of interest where it fails alone.
async fn run(program: &str, words: &[String], progress: &Progress) -> Result<(), EnvironmentError> {
    let mut command = Command::new(program);
    command.args(words).env("LC_ALL", "C.UTF-8").env("PATH", path_with_sbin());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut group, pipes) = match Group::spawn(&mut command) {
        Ok(spawned) => spawned,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(program, "e2fsprogs")),
        Err(error) => return Err(at(program)(error)),
    };
    let (out, err) = tokio::join!(said(pipes.stdout), said(pipes.stderr));
    let status = group.wait().await.map_err(at(program))?;
    if status.success() {
        return Ok(());
    }
    progress.text(&out);
    progress.text(&err);
    Err(progress.failure(&format!("{program} ended with {status}")))
}

/// The beginning of what a program says, which is read to its end.
async fn said(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    const KEPT: usize = 16 << 10;
    let (mut said, mut buffer) = (vec![], [0; 4096]);
    let Some(mut pipe) = pipe else { return said };
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let room = KEPT.saturating_sub(said.len());
        said.extend_from_slice(&buffer[..length.min(room)]);
    }
    said
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(user: &str, group: &str, passwd: Option<&str>) -> Login {
        let config = Config { user: user.into(), group: group.into(), ..Config::default() };
        login(&config, passwd.map(str::as_bytes), Some(b"root:x:0:\nstaff:x:50:\n"))
    }

    #[test]
    fn a_number_has_a_name_or_gets_one() {
        let passwd = Some("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false");
        let same = |name: &str| Login { name: name.into(), passwd: None, note: None };
        assert_eq!((of("", "", passwd), of("node", "", passwd)), (same(""), same("node")));
        assert_eq!((of("65534", "", passwd), of("0", "", passwd)), (same("nobody"), same("root")));
        assert_eq!(of("065534", "", passwd), same("nobody"));
        let Login { name, passwd: text, .. } = of("1001", "", passwd);
        let text = String::from_utf8(text.unwrap()).unwrap();
        assert_eq!((name.as_str(), text.lines().last()), ("user1001", Some("user1001:x:1001:0::/:/bin/sh")));
        assert!(text.contains("/bin/false\n"));
        let Login { name, passwd: text, .. } = of("", "", None);
        assert_eq!((name.as_str(), text.as_deref()), ("", Some(&b"root:x:0:0:root:/root:/bin/sh\n"[..])));
        assert!(of("7", "", None).passwd.unwrap().ends_with(b"user7:x:7:0::/:/bin/sh\n"));
        // Somebody else's name.
        assert_eq!(of("7", "", Some("user7:x:8:8::/:/bin/sh\n")).name, "user7_");
    }

    #[test]
    fn the_group_of_a_number_is_heeded_and_of_others_told() {
        let passwd = Some("root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/:/bin/sh\n");
        for (group, line) in [("50", "user7:x:7:50::/:/bin/sh\n"), ("staff", "user7:x:7:50::/:/bin/sh\n")] {
            let login = of("7", group, passwd);
            assert!(login.passwd.unwrap().ends_with(line.as_bytes()) && login.note.is_none());
        }
        assert!(of("7", "never", passwd).note.is_some());
        assert!(of("node", "staff", passwd).note.unwrap().contains("the group staff"));
        assert!(of("1000", "50", passwd).note.is_some());
        for (user, group) in [("1000", "1000"), ("node", "1000"), ("", "root"), ("", "0")] {
            assert_eq!(of(user, group, passwd).note, None, "{user}:{group}");
        }
    }
}
