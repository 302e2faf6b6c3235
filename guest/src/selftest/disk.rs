//! Files on the guest's disk, one more in each round.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

/// Bytes of each file.
const LENGTH: usize = 256 << 10;

fn place(round: u32) -> PathBuf {
    format!("/self-test-{round}").into()
}

fn content(round: u32) -> Vec<u8> {
    (0..).flat_map(|at: u32| at.wrapping_mul(round + 1).to_le_bytes()).take(LENGTH).collect()
}

/// Compares what earlier rounds wrote with what they meant to, as it is on the disk, and writes this one's.
pub(super) fn round(round: u32) -> io::Result<()> {
    // Read from the disk and not from memory.
    fs::write("/proc/sys/vm/drop_caches", "1")?;
    for earlier in 0..round {
        if fs::read(place(earlier))? != content(earlier) {
            return Err(io::Error::other(format!(
                "what round {earlier} wrote to the disk is not there in round {round}"
            )));
        }
    }
    let mut file = fs::File::create(place(round))?;
    file.write_all(&content(round))?;
    file.sync_all()
}
