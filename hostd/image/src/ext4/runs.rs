//! Runs of blocks, and what is written into them.

use std::{fs::File, os::unix::fs::FileExt as _};

use crate::{BLOCK, error::ImageError};

/// Blocks that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Number of the first block in the file system.
    pub(super) start: u64,
    /// How many they are; at most what one extent counts.
    pub(super) count: u64,
}

/// Writes bytes into these blocks, one run after the other.
pub(super) fn write_runs(image: &File, runs: &[Run], mut bytes: &[u8]) -> Result<(), ImageError> {
    for run in runs {
        let length = usize::try_from(run.count * BLOCK).unwrap_or(usize::MAX).min(bytes.len());
        image.write_all_at(&bytes[..length], run.start * BLOCK).map_err(ImageError::io("the image"))?;
        bytes = &bytes[length..];
    }
    Ok(())
}
