use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How much of a copy has passed, for whoever watches it from another thread.
#[derive(Debug, Default)]
pub struct Tally {
    files: AtomicU64,
    folders: AtomicU64,
    links: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Number of files, hard links to others among them.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files.load(Relaxed)
    }

    /// Number of folders.
    #[must_use]
    pub fn folders(&self) -> u64 {
        self.folders.load(Relaxed)
    }

    /// Number of symbolic links.
    #[must_use]
    pub fn links(&self) -> u64 {
        self.links.load(Relaxed)
    }

    /// Number of bytes of the files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn file(&self) {
        self.files.fetch_add(1, Relaxed);
    }

    pub(crate) fn folder(&self) {
        self.folders.fetch_add(1, Relaxed);
    }

    pub(crate) fn link(&self) {
        self.links.fetch_add(1, Relaxed);
    }

    pub(crate) fn data(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }
}
