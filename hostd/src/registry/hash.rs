//! SHA-256, as registries name what they keep.

use std::{fs::File, io::Read as _, path::Path};

use hostd_core::image::Digest;
use ring::digest::{Context, SHA256};

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// A hash that is not finished.
#[derive(Clone)]
pub(super) struct Hash(Context);

impl Hash {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn digest(self) -> Digest {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        Digest::of(hash)
    }
}

/// The digest of these bytes.
pub(super) fn of(bytes: &[u8]) -> Digest {
    let mut hash = Hash::new();
    hash.add(bytes);
    hash.digest()
}

/// The hash of a file, as far as it goes, and how far that is. Blocks.
pub(super) fn of_file(path: &Path) -> std::io::Result<(Hash, u64)> {
    let mut file = File::open(path)?;
    let (mut hash, mut length, mut buffer) = (Hash::new(), 0, vec![0; CHUNK]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hash, length)),
            more => {
                hash.add(&buffer[..more]);
                length += more as u64;
            }
        }
    }
}
