//! A session's folder and the files in it. Nothing else in `sessions` knows their names.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use tokio::fs;
use ulid::Ulid;

/// Of the folder of all sessions, in the data folder.
const SESSIONS: &str = "sessions";
/// Of the snapshot of a session. One that is being written has a longer name that begins so.
const SNAPSHOT: &str = "snapshot";
/// Of the file that says how far the terminal was taken when the last suspend began.
const OFFSET: &str = "snapshot.offset";
/// Of what was kept of the session's changes while it is suspended.
const CHANGES: &str = "changes";
/// Of the session's certificate authority: its key and its certificate.
const AUTHORITY: &str = "authority.pem";
/// Of the folder with a session's checkpoints, each in a folder of its number.
const CHECKPOINTS: &str = "checkpoints";
/// In the folder of a checkpoint: the session as it was.
const THEN: &str = "session.json";
/// In the folder of a fork that is not committed.
const HALF_MADE: &str = "half-made";
/// What names of layers end with.
const LAYER: &str = "qcow2";

/// A session's folder, or one with the same files in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sessions) struct Folder(PathBuf);

/// What a file of such a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sessions) enum FileKind {
    /// A layer of its disk.
    Layer,
    /// A part of a snapshot.
    Snapshot,
    /// Of the terminal, the serial console or QEMU.
    Log,
    /// Anything else: sockets, records, what is kept of changes.
    Other,
}

/// The folder of all sessions' folders.
pub(in crate::sessions) fn sessions(data: &Path) -> PathBuf {
    data.join(SESSIONS)
}

/// The session whose file this is, of the paths in the data folder.
pub(in crate::sessions) fn session_of(path: &Path) -> Option<&str> {
    let mut parts = path.iter().map(|part| part.to_str().unwrap_or_default());
    if parts.next() == Some(SESSIONS) { parts.next() } else { None }
}

/// What the file with these names below such a folder is.
pub(in crate::sessions) fn kind(names: &[&str]) -> FileKind {
    match names {
        [name] if Path::new(name).extension().is_some_and(|extension| extension == LAYER) => FileKind::Layer,
        [name] if name.contains(".log") => FileKind::Log,
        [CHECKPOINTS, _, below @ ..] => kind(below),
        [folder, _, ..] if folder.starts_with(SNAPSHOT) => FileKind::Snapshot,
        _ => FileKind::Other,
    }
}

/// The name of the layer that a life begins to write to.
pub(in crate::sessions) fn top(generation: u64) -> String {
    format!("disk-{generation}.{LAYER}")
}

/// The name of the layer that a life writes to after this fork: no other one ever has it.
pub(in crate::sessions) fn top_after_fork(generation: u64, fork: &str) -> String {
    format!("disk-{generation}-{}.{LAYER}", fork.to_ascii_lowercase())
}

/// Whether this is the name of a layer that this life writes to after some fork.
pub(in crate::sessions) fn is_after_fork(name: &str, generation: u64) -> bool {
    name.strip_prefix(&format!("disk-{generation}-")).is_some_and(|rest| rest.ends_with(&format!(".{LAYER}")))
}

/// Takes from a layer the right to be written to. Nobody but hostd writes there: it is a second guard.
pub(in crate::sessions) async fn freeze(layer: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(layer, std::fs::Permissions::from_mode(0o444)).await
}

/// What was removed, or was not there.
pub(in crate::sessions) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Folder {
    /// The folder of the session of this id.
    pub(in crate::sessions) fn of(data: &Path, id: &str) -> Self {
        Self(sessions(data).join(id))
    }

    /// A folder elsewhere that has files as a session's.
    pub(in crate::sessions) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(in crate::sessions) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it, unless it is there.
    pub(in crate::sessions) async fn make(&self) -> io::Result<()> {
        fs::create_dir_all(&self.0).await
    }

    /// Removes it with all that is in it, unless it is gone.
    pub(in crate::sessions) async fn remove(&self) -> io::Result<()> {
        gone(fs::remove_dir_all(&self.0).await)
    }

    /// The layer of this name.
    pub(in crate::sessions) fn layer(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A layer until it is whole.
    pub(in crate::sessions) fn new_layer(&self) -> PathBuf {
        self.layer("disk.new.qcow2")
    }

    /// The empty layer of this size that lies ready for the next life. Its size is in its name: one of another size is not taken
    /// for it.
    pub(in crate::sessions) fn next_layer(&self, bytes: u64) -> PathBuf {
        self.layer(&format!("next-{bytes}.{LAYER}"))
    }

    /// The same until it is whole.
    pub(in crate::sessions) fn new_next_layer(&self) -> PathBuf {
        self.layer("next.new.qcow2")
    }

    /// A layer to be merged from others.
    pub(in crate::sessions) fn merged_layer(&self) -> PathBuf {
        self.layer(&format!("merged-{}.{LAYER}", Ulid::new()))
    }

    /// All layers that are there, whoever names them.
    pub(in crate::sessions) async fn layers(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        // A folder that is not there has none.
        let Ok(mut entries) = fs::read_dir(&self.0).await else { return files };
        while let Ok(Some(entry)) = entries.next_entry().await {
            if entry.path().extension().is_some_and(|extension| extension == LAYER) {
                files.push(entry.path());
            }
        }
        files
    }

    /// The folder of its snapshot.
    pub(in crate::sessions) fn snapshot(&self) -> PathBuf {
        self.0.join(SNAPSHOT)
    }

    /// Removes the snapshot once nothing can go back to it.
    pub(in crate::sessions) async fn forget_snapshot(&self) {
        let folder = self.snapshot();
        if let Err(error) = gone(fs::remove_dir_all(&folder).await) {
            tracing::warn!(?folder, %error, "an old snapshot is left behind");
        }
    }

    /// Keeps how far the terminal was taken when this layer was written to; where that is lost, some of the output is shown
    /// twice.
    pub(in crate::sessions) async fn keep_offset(&self, disk: &str, offset: u64) {
        let path = self.0.join(OFFSET);
        if let Err(error) = fs::write(&path, format!("{disk} {offset}\n")).await {
            tracing::debug!(?path, %error, "the terminal's offset is not kept");
        }
    }

    /// What was kept so of this layer; None: nothing.
    pub(in crate::sessions) async fn offset(&self, disk: &str) -> Option<u64> {
        let kept = fs::read_to_string(self.0.join(OFFSET)).await.ok()?;
        kept.strip_prefix(disk)?.trim().parse().ok()
    }

    /// What is kept of the session's changes while it is suspended.
    pub(in crate::sessions) fn changes(&self) -> PathBuf {
        self.0.join(CHANGES)
    }

    /// The key of the session's certificate authority, which its guest trusts for as long as there is one.
    pub(in crate::sessions) fn authority(&self) -> PathBuf {
        self.0.join(AUTHORITY)
    }

    /// Removes what was kept of its changes: it is not so any more.
    pub(in crate::sessions) async fn forget_changes(&self) {
        // Mostly there is none. What cannot be removed is of another time than the next suspend, and is not taken for it.
        let _ = fs::remove_file(self.changes()).await;
    }

    /// The folder of its checkpoint of this number, which has files as a session's.
    pub(in crate::sessions) fn checkpoint(&self, number: u64) -> Self {
        Self(self.0.join(CHECKPOINTS).join(number.to_string()))
    }

    /// Of a checkpoint's folder: what the session was then.
    pub(in crate::sessions) fn then(&self) -> PathBuf {
        self.0.join(THEN)
    }

    /// The folders of all its checkpoints that are there, whoever names them, with what may be their numbers.
    pub(in crate::sessions) async fn checkpoints(&self) -> Vec<(Option<u64>, Self)> {
        let mut all = Vec::new();
        // Mostly there are none.
        let Ok(mut entries) = fs::read_dir(self.0.join(CHECKPOINTS)).await else { return all };
        while let Ok(Some(entry)) = entries.next_entry().await {
            all.push((entry.file_name().to_str().and_then(|name| name.parse().ok()), Self(entry.path())));
        }
        all
    }

    /// Makes it, marked as not yet anybody's.
    pub(in crate::sessions) async fn begin(&self) -> io::Result<()> {
        self.make().await?;
        fs::write(self.0.join(HALF_MADE), "").await
    }

    /// Takes the mark of [`Folder::begin`] away: its record is committed.
    pub(in crate::sessions) async fn done(&self) -> io::Result<()> {
        fs::remove_file(self.0.join(HALF_MADE)).await
    }

    /// Whether it has the mark of [`Folder::begin`].
    pub(in crate::sessions) async fn is_half_made(&self) -> bool {
        fs::try_exists(self.0.join(HALF_MADE)).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_name() {
        let folder = Folder::of(Path::new("/data"), "01A");
        let below = |file: &Path| {
            let names = file.strip_prefix(folder.path()).unwrap().iter().map(|name| name.to_str().unwrap());
            kind(&names.collect::<Vec<_>>())
        };
        for layer in [folder.layer(&top(2)), folder.layer(&top_after_fork(2, "01B")), folder.next_layer(1)] {
            assert_eq!(below(&layer), FileKind::Layer, "{layer:?}");
        }
        for layer in [folder.new_layer(), folder.new_next_layer(), folder.merged_layer()] {
            assert_eq!(below(&layer), FileKind::Layer, "{layer:?}");
        }
        assert_eq!(below(&folder.snapshot().join("devices")), FileKind::Snapshot);
        let checkpoint = folder.checkpoint(3);
        assert_eq!(below(&checkpoint.layer(&top(2))), FileKind::Layer);
        assert_eq!(below(&checkpoint.snapshot().join("devices")), FileKind::Snapshot);
        assert_eq!(below(&checkpoint.then()), FileKind::Other);
        assert_eq!(below(&folder.snapshot().with_extension("new").join("devices")), FileKind::Snapshot);
        for log in crate::terminals::log_files(folder.path()) {
            assert_eq!(below(&log), FileKind::Log, "{log:?}");
        }
        assert_eq!(
            [below(&folder.changes()), below(&folder.snapshot()), below(&folder.authority())],
            [FileKind::Other; 3]
        );
        assert_eq!(session_of(Path::new("sessions/01A/disk.qcow2")), Some("01A"));
        assert_eq!(session_of(Path::new("builds/01A/disk.qcow2")), None);
    }

    #[test]
    fn a_layer_of_a_fork_is_known_by_its_life() {
        assert!(is_after_fork(&top_after_fork(12, "01B"), 12));
        for other in [top_after_fork(1, "01B"), top(12), "disk.qcow2".into()] {
            assert!(!is_after_fork(&other, 12), "{other}");
        }
    }

    #[tokio::test]
    async fn an_offset_is_of_the_layer_that_was_written_to() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::of(data.path(), "01A");
        assert_eq!(folder.offset("disk-1.qcow2").await, None);
        folder.make().await.unwrap();
        folder.keep_offset("disk-1.qcow2", 7).await;
        assert_eq!([folder.offset("disk-1.qcow2").await, folder.offset("disk-2.qcow2").await], [Some(7), None]);
    }

    #[tokio::test]
    async fn a_folder_is_half_made_until_it_is_done() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::of(data.path(), "01A");
        folder.begin().await.unwrap();
        assert!(folder.is_half_made().await);
        folder.done().await.unwrap();
        assert!(!folder.is_half_made().await);
        folder.remove().await.unwrap();
        folder.remove().await.unwrap();
        assert_eq!(folder.layers().await, Vec::<PathBuf>::new());
    }
}
