//! Snapshots on disk: a folder with a manifest and the files that it names, each with its checksum.
//!
//! A snapshot is a transaction: it is written into a folder beside the one it is for, all of it synced at once, and then
//! renamed into place. A folder without a whole manifest is not a snapshot.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Component, Path},
};

use hostd_core::requirements::Requirements;
use serde::{Deserialize, Serialize};

use super::{SnapshotError, delta};

const VERSION: u32 = 1;
const MANIFEST: &str = "manifest.json";
/// Name of the mark in the folder of a template whose checksum was found to be another.
pub const DAMAGED: &str = "damaged";
/// Largest manifest that is read, in bytes: it is some KiB.
const MANIFEST_MAX: u64 = 1 << 20;

/// How a snapshot's memory was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// hostd wrote the pages that differ from the template's, or for a template its RAM file; devices apart.
    #[default]
    Delta,
    /// QEMU wrote all of it, in one migration stream with the devices. Larger and slower; it rests on less.
    Full,
}

/// Contents of a snapshot's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the manifest's format.
    pub version: u32,
    /// When the snapshot was made, in milliseconds since the Unix epoch.
    pub created_at: i64,
    /// What must be the same when the snapshot is loaded.
    pub requirements: Requirements,
    /// Bytes of RAM.
    pub ram: u64,
    /// File name of the layer that the VM wrote to: frozen with this memory, it goes with it and with no other.
    #[serde(default)]
    pub disk: String,
    /// How the memory was written.
    #[serde(default)]
    pub method: Method,
    /// File of the memory: a delta, or for a template the whole RAM. Empty with [`Method::Full`]: the devices' file has it.
    pub memory: Stored,
    /// File of the device state.
    pub devices: Stored,
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// Name of the file within the folder.
    pub name: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// blake3 of the file, in hex.
    pub hash: String,
    /// When the bytes of a template's RAM last changed, in nanoseconds since the Unix epoch; compared in place of its checksum,
    /// which takes too long at each clone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<i64>,
}

impl Manifest {
    /// A manifest of the version that this hostd writes.
    #[must_use]
    pub fn new(
        created_at: i64,
        requirements: Requirements,
        ram: u64,
        disk: String,
        memory: Stored,
        devices: Stored,
    ) -> Self {
        let method = Method::Delta;
        Self { version: VERSION, created_at, requirements, ram, disk, method, memory, devices }
    }

    /// Returns the manifest with this method.
    #[must_use]
    pub fn by(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// Reads the manifest of a snapshot folder; the files it names are not looked at.
    ///
    /// # Errors
    /// Where it is missing, damaged, or of another version.
    pub fn read(folder: &Path) -> Result<Self, SnapshotError> {
        let path = folder.join(MANIFEST);
        let damaged = |what: String| SnapshotError::Damaged { path: path.clone(), what };
        let failed = |error| SnapshotError::Io { path: path.clone(), error };
        let file = File::open(&path).map_err(failed)?;
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(file, MANIFEST_MAX), &mut text).map_err(failed)?;
        let manifest: Self = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if manifest.version != VERSION {
            return Err(damaged(format!("it has version {}, and this hostd reads {VERSION}", manifest.version)));
        }
        Ok(manifest)
    }

    /// Name of the template in this folder, after a look at whether its RAM is still as it was made.
    ///
    /// # Errors
    /// Where it is gone, damaged, written to, or marked by [`Manifest::mark_damaged`].
    pub fn template(folder: &Path) -> Result<String, SnapshotError> {
        let whole = Self::read(folder)?.whole();
        let mark = folder.join(DAMAGED);
        if mark.exists() {
            let what = format!("its checksum is not the one it was made with ({} says so)", mark.display());
            return Err(SnapshotError::Damaged { path: folder.join(whole.name), what });
        }
        whole.check(folder)?;
        Ok(whole.hash)
    }

    /// Reads the whole template in this folder. None: it is what it was made as; else what is wrong, which nothing but reading
    /// it tells. Takes as long as that does.
    ///
    /// # Errors
    /// As [`Manifest::template`], which tells of these.
    pub fn verify_template(folder: &Path) -> Result<Option<SnapshotError>, SnapshotError> {
        let whole = Self::read(folder)?.whole();
        whole.check(folder)?;
        let found = match delta::verify(&folder.join(&whole.name), &whole.hash) {
            Ok(()) => None,
            Err(damaged @ SnapshotError::Damaged { .. }) => Some(damaged),
            Err(error) => return Err(error),
        };
        // It may have been written to meanwhile.
        whole.check(folder)?;
        Ok(found)
    }

    /// Marks the template in this folder as not to be used any more; nothing of it is changed.
    ///
    /// # Errors
    /// Where the mark cannot be written.
    pub fn mark_damaged(folder: &Path) -> Result<(), SnapshotError> {
        let path = folder.join(DAMAGED);
        File::create(&path).map(drop).map_err(|error| SnapshotError::Io { path, error })
    }

    /// The file that has a template's memory: too large to be hashed at each clone.
    fn whole(self) -> Stored {
        match self.method {
            Method::Delta => self.memory,
            Method::Full => self.devices,
        }
    }

    /// Checks the requirements of the snapshot against what is `here`, and what can be seen of its files without reading them.
    ///
    /// # Errors
    /// With the name of the first file that is missing or not what was written, or with what differs.
    pub fn check(&self, folder: &Path, here: &Requirements) -> Result<(), SnapshotError> {
        if let Some(why) = self.requirements.refusal(here) {
            return Err(SnapshotError::Refused { path: folder.into(), why });
        }
        for stored in [&self.memory, &self.devices] {
            stored.look(folder)?;
        }
        Ok(())
    }

    /// Checks every file of the snapshot against its checksum, which reads all of them; a template's memory is known by its time.
    ///
    /// # Errors
    /// With the name of the first file that is missing or damaged.
    pub fn verify(&self, folder: &Path) -> Result<(), SnapshotError> {
        for stored in [&self.memory, &self.devices] {
            stored.check(folder)?;
        }
        Ok(())
    }

    /// Writes the manifest into a folder whose files are all there, has all of them on the disk, and moves the folder to `to`,
    /// where it replaces an older snapshot.
    ///
    /// # Errors
    /// Where that fails (a full disk); an older snapshot is then still there.
    pub fn publish(&self, from: &Path, to: &Path) -> Result<(), SnapshotError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| SnapshotError::Io { path, error }
        };
        let path = from.join(MANIFEST);
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(&path)(error.into()))?;
        std::fs::write(&path, text).map_err(failed(&path))?;
        let files = [&self.memory, &self.devices].map(|stored| from.join(&stored.name));
        sync(&[from, &path, &files[0], &files[1]])?;
        let old = to.with_extension("old");
        remove(&old).map_err(failed(&old))?;
        if to.exists() {
            std::fs::rename(to, &old).map_err(failed(to))?;
        }
        std::fs::rename(from, to).map_err(failed(to))?;
        to.parent().map_or(Ok(()), |parent| sync(&[parent]))?;
        remove(&old).map_err(failed(&old))
    }
}

impl Stored {
    /// Describes a file of `folder` as it is.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of(folder: &Path, name: &str) -> Result<Self, SnapshotError> {
        let path = folder.join(name);
        let read = || -> io::Result<Self> {
            let file = File::open(&path)?;
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(&file)?;
            let hash = hasher.finalize().to_hex().to_string();
            Ok(Self { name: name.into(), bytes: file.metadata()?.len(), hash, stamp: None })
        };
        read().map_err(|error| SnapshotError::Io { path: path.clone(), error })
    }

    /// Describes a file of `folder` as it is, to be recognised from now on by its time.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn stamped(folder: &Path, name: &str) -> Result<Self, SnapshotError> {
        let path = folder.join(name);
        let metadata = std::fs::metadata(&path).map_err(|error| SnapshotError::Io { path, error })?;
        Ok(Self { stamp: Some(changed(&metadata)), ..Self::of(folder, name)? })
    }

    fn check(&self, folder: &Path) -> Result<(), SnapshotError> {
        self.look(folder)?;
        if self.stamp.is_none() { delta::verify(&folder.join(&self.name), &self.hash) } else { Ok(()) }
    }

    /// Checks all of a file but what is in it.
    fn look(&self, folder: &Path) -> Result<(), SnapshotError> {
        // The name comes from a file: it may not lead out of the folder.
        let path = folder.join(&self.name);
        if !matches!(Path::new(&self.name).components().collect::<Vec<_>>()[..], [Component::Normal(_)]) {
            return Err(SnapshotError::Damaged { path, what: "its name leads out of the snapshot's folder".into() });
        }
        let metadata = std::fs::metadata(&path).map_err(|error| SnapshotError::Io { path: path.clone(), error })?;
        if metadata.len() != self.bytes {
            let what = format!("it has {} bytes, and {} were written", metadata.len(), self.bytes);
            return Err(SnapshotError::Damaged { path, what });
        }
        if self.stamp.is_some_and(|stamp| stamp != changed(&metadata)) {
            return Err(SnapshotError::Damaged { path, what: "it was written to since it was made".into() });
        }
        Ok(())
    }
}

fn changed(metadata: &std::fs::Metadata) -> i64 {
    metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec())
}

/// Has files and folders on the disk. All at once: a file system writes its journal for all of them in one go.
fn sync(paths: &[&Path]) -> Result<(), SnapshotError> {
    std::thread::scope(|scope| {
        let mut begun = Vec::new();
        for path in paths {
            match std::thread::Builder::new().spawn_scoped(scope, move || sync_one(path)) {
                Ok(thread) => begun.push(thread),
                // A host with no thread to spare: one after the other.
                Err(_) => sync_one(path)?,
            }
        }
        begun.into_iter().try_for_each(|thread| match thread.join() {
            Ok(synced) => synced,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn sync_one(path: &Path) -> Result<(), SnapshotError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| SnapshotError::Io { path: path.into(), error })
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn requirements() -> Requirements {
        Requirements {
            accelerator: "tcg".into(),
            qemu: "q".into(),
            qemu_version: "7.2".into(),
            kernel: "k".into(),
            initramfs: "i".into(),
            template: "t".into(),
            arguments: vec![],
            tsc_khz: None,
            cpu: None,
            cpu_model: None,
        }
    }

    fn written(parent: &Path) -> (PathBuf, Manifest) {
        let (temporary, folder) = (parent.join("new"), parent.join("snapshot"));
        std::fs::create_dir(&temporary).unwrap();
        std::fs::write(temporary.join("memory"), b"pages").unwrap();
        std::fs::write(temporary.join("devices"), b"state").unwrap();
        let stored = |name| Stored::of(&temporary, name).unwrap();
        let manifest = Manifest::new(1, requirements(), 4096, "disk.qcow2".into(), stored("memory"), stored("devices"));
        manifest.publish(&temporary, &folder).unwrap();
        (folder, manifest)
    }

    #[test]
    fn a_snapshot_reads_back_and_replaces_an_older_one() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, manifest) = written(parent.path());
        written(parent.path());
        assert_eq!(Manifest::read(&folder).unwrap(), manifest);
        manifest.check(&folder, &requirements()).and_then(|()| manifest.verify(&folder)).unwrap();
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn damage_is_told_by_the_files_name() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, manifest) = written(parent.path());
        for (damage, name) in [(&b"pagez"[..], "memory"), (b"page", "memory"), (b"statf", "devices")] {
            let good = std::fs::read(folder.join(name)).unwrap();
            std::fs::write(folder.join(name), damage).unwrap();
            let seen = manifest.check(&folder, &requirements());
            assert_eq!(seen.is_ok(), damage.len() == good.len(), "its length alone is seen: {seen:?}");
            let error = manifest.verify(&folder).unwrap_err().to_string();
            assert!(error.contains(&format!("snapshot/{name} is damaged")), "{error}");
            std::fs::write(folder.join(name), good).unwrap();
        }
        std::fs::remove_file(folder.join("devices")).unwrap();
        assert!(manifest.check(&folder, &requirements()).unwrap_err().to_string().contains("devices"));
    }

    #[test]
    fn a_template_is_known_by_its_time() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("ram"), b"pages").unwrap();
        let stored = Stored::stamped(parent.path(), "ram").unwrap();
        stored.check(parent.path()).unwrap();
        let file = File::options().write(true).open(parent.path().join("ram")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert!(stored.check(parent.path()).unwrap_err().to_string().contains("written to"));
    }

    #[test]
    fn a_manifest_that_is_not_whole_or_leads_elsewhere_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, mut manifest) = written(parent.path());
        for name in ["../x", "..", ".", "/", "/x", ""] {
            manifest.memory.name = name.into();
            let error = manifest.check(&folder, &requirements()).unwrap_err().to_string();
            assert!(error.contains("leads out"), "{name}: {error}");
        }
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).unwrap();
        for bad in [&text[..text.len() / 2], "", "[]", &text.replace("\"version\": 1", "\"version\": 9")] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(Manifest::read(&folder), Err(SnapshotError::Damaged { .. })), "{bad}");
        }
    }
}
