//! Drafts on disk: one file for each pull request that something is drafted on, in the XDG state folder. Whatever ends the
//! console, they are there for the next one.
//!
//! A file is replaced as a whole or not at all. One that cannot be understood is kept under another name, and said to be. Where
//! several consoles draft on one pull request, each puts what it has changed on top of what the others keep.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::{Notify, mpsc};
use tui_core::{draft::Draft, host_id::HostId, notice::Kind, pull::PullKey, report::Report};

use crate::client::HostAddress;

/// Largest file that is read, in bytes: a draft has at most 500 comments of 16 KiB.
const FILE_MAX: u64 = 16 << 20;
/// Most files that are looked at.
const FILES_MAX: usize = 1000;

/// Content of a draft's file.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Address at which the host's hostd listens: `unix:PATH`.
    host: String,
    repository: String,
    number: u64,
    draft: Draft,
}

/// Content of the file of the new session that is being filled in.
#[derive(Default, Serialize, Deserialize)]
struct KeptForm {
    title: String,
    task: String,
}

/// The folder with the files of drafts.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The user's folder of drafts; None: there is no home.
    pub(super) fn of_user() -> Option<Self> {
        let folders = directories::ProjectDirs::from("", "", "pilothouse")?;
        Some(Self(folders.state_dir().unwrap_or(folders.data_dir()).join("drafts")))
    }

    /// Reads the drafts that were kept of these hosts; reports also what is wrong with files that are set aside.
    pub(super) fn load(&self, hosts: &[HostAddress]) -> Vec<Report> {
        let mut drafts: BTreeMap<HostId, Vec<(String, u64, Draft)>> = BTreeMap::new();
        let mut reports = vec![];
        for path in self.files() {
            match read::<Kept>(&path) {
                Ok(Kept { host, repository, number, draft }) => {
                    if let Some(known) = hosts.iter().find(|known| address(known) == host) {
                        drafts.entry(known.id()).or_default().push((repository, number, draft));
                    }
                }
                Err(why) => reports.push(Report::Notice(Kind::Warning, set_aside(&path, &why))),
            }
        }
        reports.extend(drafts.into_iter().map(|(host, drafts)| Report::Drafts(host, drafts)));
        let form = self.form();
        if form.exists() {
            reports.push(match read::<KeptForm>(&form) {
                Ok(KeptForm { title, task }) => Report::Form(title, task),
                Err(why) => Report::Notice(Kind::Warning, set_aside(&form, &why)),
            });
        }
        reports
    }

    fn form(&self) -> PathBuf {
        self.0.join("new-session.form")
    }

    /// Keeps the new session that is being filled in; an empty one is removed.
    fn keep_form(&self, form: &KeptForm) -> io::Result<()> {
        match form.title.is_empty() && form.task.is_empty() {
            true => remove(&self.form()),
            false => self.replace(&self.form(), &serde_json::to_vec_pretty(form)?),
        }
    }

    /// Replaces a file as a whole.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        create_private(&self.0)?;
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let written = write_whole(&new, bytes).and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written?;
        File::open(&self.0)?.sync_all()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path()).inspect(|path| remove_unfinished(path));
        let files = files.filter(|path| path.extension().is_some_and(|it| it == "json"));
        let mut files: Vec<_> = files.take(FILES_MAX).collect();
        files.sort();
        files
    }

    /// Keeps what is drafted on top of what other consoles keep of it; an empty draft is removed. `before`: what this console
    /// has kept of it before.
    fn keep(&self, host: &HostAddress, key: &PullKey, draft: &Draft, before: &Draft) -> io::Result<()> {
        let (host, repository, number) = (address(host), key.repository.to_string(), key.number);
        let path = self.0.join(file_name(&host, &repository, number));
        let _lock = self.lock()?;
        let theirs = match path.exists().then(|| read::<Kept>(&path)) {
            Some(Ok(kept)) => Some(kept.draft.cleaned()),
            Some(Err(why)) => {
                set_aside(&path, &why);
                None
            }
            None => None,
        };
        let draft = match theirs {
            Some(theirs) => draft.on_top_of(before, &theirs),
            None => Some(draft.clone()),
        };
        let draft =
            draft.ok_or_else(|| io::Error::other("other consoles have drafted so much that there is no room"))?;
        if draft.is_empty() {
            return remove(&path);
        }
        let kept = Kept { host, repository, number, draft };
        self.replace(&path, &serde_json::to_vec_pretty(&kept)?)
    }

    /// Nobody else changes a draft while this is held.
    fn lock(&self) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt as _;
        create_private(&self.0)?;
        let path = self.0.join("lock");
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.lock()?;
        Ok(file)
    }
}

/// Drafts are kept by how a host is reached, not by what it is called.
fn address(host: &HostAddress) -> String {
    host.endpoint.to_string()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let mut bytes = vec![];
    let read = File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!("it is larger than {} MiB", FILE_MAX >> 20));
    }
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

/// Removes what a console that was killed had not written to its end; the draft as it was before has its own file.
fn remove_unfinished(path: &Path) {
    let writer = path.extension().and_then(|it| it.to_str()?.strip_prefix("new-")?.parse::<u32>().ok());
    if writer.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
        let _ = fs::remove_file(path);
    }
}

/// Gives a file another name under which nobody looks for drafts; says so.
fn set_aside(path: &Path, why: &str) -> String {
    let free = (1..100).map(|n| path.with_extension(format!("broken-{n}"))).find(|aside| !aside.exists());
    let renamed = free.map(|aside| fs::rename(path, &aside).map(|()| aside));
    match renamed {
        Some(Ok(aside)) => format!("A draft could not be read ({why}); it is kept as {}", aside.display()),
        Some(Err(error)) => format!("A draft could not be read ({why}), nor set aside ({error}): {}", path.display()),
        None => format!("A draft could not be read ({why}): {}", path.display()),
    }
}

fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Name of a draft's file: readable, and another one for each pull request. What names the pull request is hashed, since it may
/// have any characters.
fn file_name(host: &str, repository: &str, number: u64) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let readable: String = repository.chars().take(60).map(plain).collect();
    // FNV-1a: the same for every build.
    let whole = format!("{host}\0{repository}\0{number}");
    let hash = whole
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{readable}-{number}-{hash:016x}.json")
}

/// Writes drafts beside the console, the newest of each: a slow disk delays no key.
#[derive(Clone)]
pub(super) struct Keeper {
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Drafts that wait to be written, at most one for each pull request.
    drafts: Mutex<BTreeMap<PullKey, (HostAddress, Draft)>>,
    form: Mutex<Option<KeptForm>>,
    /// What this console has read or kept of each.
    known: Mutex<BTreeMap<PullKey, Draft>>,
    more: Notify,
    /// Held while something is written.
    writing: tokio::sync::Mutex<()>,
}

impl Waiting {
    fn take(&self) -> BTreeMap<PullKey, (HostAddress, Draft)> {
        std::mem::take(&mut *self.drafts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Keeper {
    /// Creates a keeper that writes as long as `run` runs, and then when it is told to finish.
    pub(super) fn new() -> Self {
        Self { waiting: Arc::default() }
    }

    /// What was read when the console began: what it changes is put on top of it.
    pub(super) fn read(&self, drafts: &BTreeMap<PullKey, Draft>) {
        self.waiting.known.lock().unwrap_or_else(PoisonError::into_inner).clone_from(drafts);
    }

    /// Has a draft written soon.
    pub(super) fn keep(&self, host: HostAddress, key: PullKey, draft: Draft) {
        self.waiting.drafts.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (host, draft));
        self.waiting.more.notify_one();
    }

    /// Has the new session that is being filled in written soon.
    pub(super) fn keep_form(&self, title: String, task: String) {
        *self.waiting.form.lock().unwrap_or_else(PoisonError::into_inner) = Some(KeptForm { title, task });
        self.waiting.more.notify_one();
    }

    /// Writes drafts as they come, for ever.
    pub(super) async fn run(self, folder: Folder, reports: mpsc::Sender<Report>) {
        loop {
            self.waiting.more.notified().await;
            if let Err(error) = self.finish(&folder).await {
                let text = format!("What you drafted could not be kept in {}: {error}", folder.0.display());
                // Nobody listens only when the console ends.
                let _ = reports.send(Report::Notice(Kind::Error, text)).await;
            }
        }
    }

    /// Writes what waits; returns when it is written.
    pub(super) async fn finish(&self, folder: &Folder) -> io::Result<()> {
        let (waiting, folder) = (self.waiting.clone(), folder.clone());
        let _writing = self.waiting.writing.lock().await;
        let written = tokio::task::spawn_blocking(move || {
            let mut result = Ok(());
            for (key, (host, draft)) in waiting.take() {
                let mut known = waiting.known.lock().unwrap_or_else(PoisonError::into_inner);
                let before = known.entry(key.clone()).or_default();
                let kept = folder.keep(&host, &key, &draft, before);
                if kept.is_ok() {
                    *before = draft;
                }
                result = kept.and(result);
            }
            let form = waiting.form.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(form) = form {
                result = folder.keep_form(&form).and(result);
            }
            result
        });
        written.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use tui_core::draft::Place;

    use super::*;

    fn host(name: &str) -> HostAddress {
        HostAddress { name: name.into(), endpoint: format!("unix:/run/{name}.sock").parse().unwrap() }
    }

    fn key(host: &HostAddress, repository: &str) -> PullKey {
        PullKey { host: host.id(), repository: repository.into(), number: 12 }
    }

    fn draft(body: &str) -> Draft {
        let mut draft = Draft { body: body.into(), ..Draft::default() };
        let place = Place::Line { path: "a.rs".into(), line: 3, head: "abcd".into(), quote: "x".into() };
        assert!(draft.finish(place, "why?") && draft.put_away(Place::Thread(4), "hm"));
        draft
    }

    fn loaded(folder: &Folder, hosts: &[HostAddress]) -> Vec<(HostId, String, Draft)> {
        let drafts = folder.load(hosts).into_iter().flat_map(|report| match report {
            Report::Drafts(host, drafts) => {
                drafts.into_iter().map(|(of, _, draft)| (host.clone(), of, draft)).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        });
        drafts.collect()
    }

    #[test]
    fn drafts_are_kept_by_host_repository_and_number() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder(root.path().join("state/drafts"));
        let hosts = [host("near"), host("far")];
        for (n, repository) in [(0, "widgets"), (1, "widgets"), (0, "a/b ../c")] {
            folder.keep(&hosts[n], &key(&hosts[n], repository), &draft(repository), &Draft::default()).unwrap();
        }
        folder.keep(&hosts[0], &key(&hosts[0], "widgets"), &draft("newer"), &draft("widgets")).unwrap();
        let mut all = loaded(&folder, &hosts);
        all.sort_by_key(|(host, repository, _)| (host.clone(), repository.clone()));
        let [near, far] = [hosts[0].id(), hosts[1].id()];
        let kept = |host: &HostId, repository: &str, body: &str| (host.clone(), repository.to_owned(), draft(body));
        let expected =
            [kept(&far, "widgets", "widgets"), kept(&near, "a/b ../c", "a/b ../c"), kept(&near, "widgets", "newer")];
        assert_eq!(all, expected);
        // Wherever a host stands, and whichever others there are.
        let [one, other] = hosts.clone();
        let mut turned = loaded(&folder, &[host("new"), other, one]);
        turned.sort_by_key(|(host, repository, _)| (host.clone(), repository.clone()));
        assert_eq!(turned, expected);
        assert_eq!(loaded(&folder, &hosts[1..]), expected[..1]);
        // By where it is, not by what it is called or which place it has today; others are left alone.
        let renamed = HostAddress { name: "renamed".into(), ..host("far") };
        let id = renamed.id();
        assert_eq!(loaded(&folder, &[renamed]), [(id, "widgets".to_owned(), draft("widgets"))]);
        folder.keep(&hosts[0], &key(&hosts[0], "widgets"), &Draft::default(), &draft("newer")).unwrap();
        folder.keep(&hosts[0], &key(&hosts[0], "widgets"), &Draft::default(), &draft("newer")).unwrap();
        for pid in [std::process::id(), u32::MAX] {
            fs::write(folder.0.join(format!("widgets-1-0.new-{pid}")), "{").unwrap();
        }
        assert_eq!(loaded(&folder, &hosts).len(), 2);
        assert!(!folder.0.join(format!("widgets-1-0.new-{}", u32::MAX)).exists(), "its writer was killed");
        assert!(folder.0.join(format!("widgets-1-0.new-{}", std::process::id())).exists());
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&folder.0).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_cannot_be_understood_is_set_aside_and_said() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder(root.path().to_owned());
        for text in ["{\"host\"", "{\"host\": 1}"] {
            fs::write(root.path().join("widgets-1.json"), text).unwrap();
            let reports = folder.load(&[host("near")]);
            assert!(matches!(&reports[..], [Report::Notice(Kind::Warning, told)] if told.contains("it is kept as ")));
            assert!(folder.load(&[host("near")]).is_empty(), "it is told once");
        }
        assert_eq!(fs::read_to_string(root.path().join("widgets-1.broken-1")).unwrap(), "{\"host\"");
        assert_eq!(fs::read_to_string(root.path().join("widgets-1.broken-2")).unwrap(), "{\"host\": 1}");
    }

    #[tokio::test]
    async fn consoles_beside_each_other_keep_what_each_has_drafted() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder(root.path().join("drafts"));
        let hosts = [host("near")];
        let at = key(&hosts[0], "widgets");
        let (one, other) = (Keeper::new(), Keeper::new());
        let line = |line, head: &str| Place::Line { path: "a.rs".into(), line, head: head.into(), quote: "x".into() };
        let said = |lines: &[u32]| {
            let mut draft = Draft::default();
            assert!(lines.iter().all(|n| draft.finish(line(*n, "abcd"), &format!("on {n}"))));
            draft
        };
        for (keeper, draft) in
            [(&one, said(&[1])), (&other, said(&[2])), (&one, said(&[1, 3])), (&other, said(&[2, 4]))]
        {
            keeper.keep(hosts[0].clone(), at.clone(), draft);
            keeper.finish(&folder).await.unwrap();
        }
        assert_eq!(loaded(&folder, &hosts), [(hosts[0].id(), "widgets".to_owned(), said(&[1, 2, 3, 4]))]);
        // A third one reads all of them, and discards what it has read.
        let third = Keeper::new();
        third.read(&[(at.clone(), said(&[1, 2, 3, 4]))].into());
        one.keep(hosts[0].clone(), at.clone(), said(&[1, 3, 5]));
        one.finish(&folder).await.unwrap();
        third.keep(hosts[0].clone(), at.clone(), Draft::default());
        third.finish(&folder).await.unwrap();
        assert_eq!(loaded(&folder, &hosts), [(hosts[0].id(), "widgets".to_owned(), said(&[5]))]);
        one.keep(hosts[0].clone(), at, Draft::default());
        one.finish(&folder).await.unwrap();
        assert_eq!(loaded(&folder, &hosts), []);
    }

    #[tokio::test]
    async fn the_newest_of_each_is_written_and_errors_are_told() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder(root.path().join("drafts"));
        let keeper = Keeper::new();
        for body in ["one", "two"] {
            keeper.keep(host("near"), key(&host("near"), "widgets"), draft(body));
        }
        keeper.finish(&folder).await.unwrap();
        assert_eq!(loaded(&folder, &[host("near")])[0].2.body, "two");
        keeper.keep_form("Fix it".into(), "all\nof it".into());
        keeper.finish(&folder).await.unwrap();
        let form = |folder: &Folder| {
            let reports = folder.load(&[]);
            reports
                .into_iter()
                .find_map(|report| if let Report::Form(title, task) = report { Some((title, task)) } else { None })
        };
        assert_eq!(form(&folder), Some(("Fix it".into(), "all\nof it".into())));
        keeper.keep_form(String::new(), String::new());
        keeper.finish(&folder).await.unwrap();
        assert_eq!(form(&folder), None);
        fs::write(root.path().join("file"), "").unwrap();
        keeper.keep(host("near"), key(&host("near"), "widgets"), draft("three"));
        assert!(keeper.finish(&Folder(root.path().join("file/drafts"))).await.is_err());
    }
}
