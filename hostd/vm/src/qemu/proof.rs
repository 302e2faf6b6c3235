//! Which method of snapshots works with a build of QEMU: tried once by a [`Prover`](super::Prover), kept as
//! `selftest/HASH-ACCELERATOR-KERNEL.json` in the data folder, KERNEL being the release of the host's.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::installation::Installation;
use crate::{
    VmError,
    accelerator::host_kernel,
    file::{self, failed},
    snapshot::store::Method,
};

/// Version of proofs; raised when what a method is taken to work by changes.
const VERSION: u32 = 2;
/// Largest file of a proof that is read, in bytes.
const MAX: u64 = 64 << 10;

/// Result of trying which method of snapshots works with a build of QEMU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    version: u32,
    /// The method that works.
    pub method: Method,
    /// Why the method is not the better one; else empty.
    pub why: String,
}

impl Proof {
    /// The proof of a method that works; `why` is empty for [`Method::Delta`].
    #[must_use]
    pub fn new(method: Method, why: String) -> Self {
        Self { version: VERSION, method, why }
    }

    /// A warning for those who look at the host; None: the better method works.
    pub(super) fn warning(&self) -> Option<String> {
        let slower = "suspend and resume are slower and larger here: QEMU writes and loads all memory, because";
        let again = "`hostd doctor` tries again";
        (self.method == Method::Full).then(|| format!("{slower} deltas do not work ({}); {again}", self.why))
    }
}

impl Installation {
    /// Proof of the QEMU here; None: it was not tried yet.
    pub(super) fn proof(&self) -> Option<Proof> {
        let bytes = file::read_bounded(&self.proof_file().ok()?, MAX).ok()?;
        serde_json::from_slice::<Proof>(&bytes).ok().filter(|proof| proof.version == VERSION)
    }

    /// Keeps the proof for this build of QEMU; an error where there is no QEMU, or the file cannot be written.
    pub(super) fn keep(&self, proof: &Proof) -> Result<(), VmError> {
        let path = self.proof_file()?;
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| file::write_durably(&path, &serde_json::to_vec_pretty(proof).map_err(io::Error::from)?));
        written.map_err(failed(&path))
    }

    /// Method by which snapshots are written: as asked for, else as proven, else the better one.
    pub(super) fn method(&self) -> Method {
        self.forced_method.or_else(|| Some(self.proof()?.method)).unwrap_or_default()
    }

    /// Path of the proof of the QEMU here.
    pub(super) fn proof_file(&self) -> Result<PathBuf, VmError> {
        let accelerator = self.accelerator().0.name();
        let hash = self.hashes.of(&self.program()?)?;
        let kernel: String = host_kernel().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        Ok(self.data.join("selftest").join(format!("{hash}-{accelerator}-{kernel}.json")))
    }
}
