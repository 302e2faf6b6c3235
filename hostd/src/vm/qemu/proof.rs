//! Which method of snapshots works with a build of QEMU: tried once by a [`Prover`], kept as
//! `selftest/HASH-ACCELERATOR-KERNEL.json` in the data folder, KERNEL being the release of the host's.

use std::{fmt, fs, io, path::PathBuf, sync::PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Qemu;
use crate::vm::{
    VmError,
    accelerator::host_kernel,
    file::{self, failed},
    program::QEMU,
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

/// Finds out which method of snapshots works.
#[async_trait]
pub trait Prover: fmt::Debug + Send + Sync {
    /// Tries `qemu`, which has no prover, and tells `progress` of it in lines for people. None: nothing works, or it was cut
    /// short; it is tried again then.
    async fn prove(&self, qemu: Qemu, progress: &(dyn Fn(String) + Send + Sync)) -> Option<Proof>;
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

impl Qemu {
    /// Proof of the QEMU here; None: it was not tried yet.
    #[must_use]
    pub fn proof(&self) -> Option<Proof> {
        let bytes = file::read_bounded(&self.proof_file().ok()?, MAX).ok()?;
        serde_json::from_slice::<Proof>(&bytes).ok().filter(|proof| proof.version == VERSION)
    }

    /// Keeps the proof for this build of QEMU.
    ///
    /// # Errors
    /// There is no QEMU, or the file cannot be written.
    pub fn keep(&self, proof: &Proof) -> Result<(), VmError> {
        let path = self.proof_file()?;
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| file::write_durably(&path, &serde_json::to_vec_pretty(proof).map_err(io::Error::from)?));
        written.map_err(failed(&path))
    }

    /// Method by which snapshots are written: as asked for, else as proven, else the better one.
    pub(super) fn method(&self) -> Method {
        self.method.or_else(|| Some(self.proof()?.method)).unwrap_or_default()
    }

    /// Tries the QEMU here, unless that was done. That nothing works keeps no VM from running.
    pub(super) async fn prove(&self, progress: &(dyn Fn(String) + Send + Sync)) -> Result<(), VmError> {
        let Some(prover) = self.prover.as_ref().filter(|_| self.method.is_none() && self.proof().is_none()) else {
            return Ok(());
        };
        let bare = Self { prover: None, ..self.clone() };
        match prover.prove(bare, progress).await {
            Some(proof) => self.keep(&proof),
            None => Ok(()),
        }
    }

    /// Waits for a try that is under way, or tries, where the method for this QEMU is not known. Once for each QEMU: one that
    /// tells nothing is not worth the wait of every suspend.
    pub(super) async fn find_method(&self) {
        let unknown = || self.method.is_none() && self.prover.is_some() && self.proof().is_none();
        if !unknown() {
            return;
        }
        let _one_at_a_time = self.preparing.lock().await;
        let Ok(file) = self.proof_file() else { return };
        if !unknown() || self.kernel().is_none() {
            return;
        }
        let before = self.tried.lock().unwrap_or_else(PoisonError::into_inner).replace(file.clone());
        if before.as_ref() == Some(&file) {
            return;
        }
        tracing::info!("tries how snapshots work with this QEMU, which was not met before");
        if let Err(error) = self.prove(&|line| tracing::info!("{line}")).await {
            tracing::warn!(%error, "what was found out about this QEMU is not kept");
        }
    }

    fn proof_file(&self) -> Result<PathBuf, VmError> {
        let accelerator = self.accelerator().0.name();
        let hash = self.hashes.of(&self.search.find(QEMU)?)?;
        let kernel: String = host_kernel().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        Ok(self.data.join("selftest").join(format!("{hash}-{accelerator}-{kernel}.json")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;
    use crate::vm::program;

    /// Finds this out, and counts how often it was asked.
    #[derive(Debug)]
    struct Finds(Option<Proof>, AtomicU32);

    #[async_trait]
    impl Prover for Finds {
        async fn prove(&self, qemu: Qemu, progress: &(dyn Fn(String) + Send + Sync)) -> Option<Proof> {
            assert!(qemu.prover.is_none());
            progress("tries".into());
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.clone()
        }
    }

    fn qemu(data: &std::path::Path) -> Qemu {
        program::put_script(&data.join(QEMU.name), "exit 1");
        Qemu::new(data, data.join("guest")).with_path(data.into())
    }

    #[tokio::test]
    async fn each_build_is_tried_once() {
        let data = tempfile::tempdir().unwrap();
        let full = Proof::new(Method::Full, "no pagemap".into());
        let finds = Arc::new(Finds(Some(full.clone()), AtomicU32::new(0)));
        let qemu = qemu(data.path()).with_prover(finds.clone());
        assert_eq!((qemu.proof(), qemu.method()), (None, Method::Delta));
        for _ in 0..2 {
            qemu.prove(&|_| ()).await.unwrap();
        }
        assert_eq!(finds.1.load(Ordering::Relaxed), 1);
        assert_eq!((qemu.proof(), qemu.method()), (Some(full), Method::Full));
        assert!(qemu.proof().unwrap().warning().unwrap().contains("no pagemap"));
        assert_eq!(qemu.clone().with_method(Method::Delta).method(), Method::Delta);
        program::put_script(&data.path().join(QEMU.name), "exit 1 # another build");
        assert_eq!(qemu.method(), Method::Delta);
        qemu.prove(&|_| ()).await.unwrap();
        assert_eq!(finds.1.load(Ordering::Relaxed), 2);
        qemu.keep(&Proof::new(Method::Delta, String::new())).unwrap();
        assert_eq!((qemu.method(), qemu.proof().unwrap().warning()), (Method::Delta, None));
    }

    #[tokio::test]
    async fn what_was_not_found_out_is_tried_again() {
        let data = tempfile::tempdir().unwrap();
        let finds = Arc::new(Finds(None, AtomicU32::new(0)));
        let qemu = qemu(data.path()).with_prover(finds.clone());
        for _ in 0..2 {
            qemu.prove(&|_| ()).await.unwrap();
        }
        assert_eq!((finds.1.load(Ordering::Relaxed), qemu.proof()), (2, None));
    }

    #[tokio::test]
    async fn a_suspend_tries_what_nobody_has_once() {
        let data = tempfile::tempdir().unwrap();
        let finds = Arc::new(Finds(None, AtomicU32::new(0)));
        let qemu = qemu(data.path()).with_prover(finds.clone());
        let tries = || finds.1.load(Ordering::Relaxed);
        // There is nothing yet to try it with.
        qemu.find_method().await;
        assert_eq!(tries(), 0);
        let kernel = data.path().join("kernel/6.1");
        fs::create_dir_all(kernel.join("modules")).unwrap();
        fs::write(kernel.join("vmlinuz"), "a kernel").unwrap();
        fs::write(kernel.join("complete"), format!("2 {}\n", crate::vm::kernel::MODULES.join(" "))).unwrap();
        tokio::join!(qemu.find_method(), qemu.find_method());
        assert_eq!(tries(), 1);
        program::put_script(&data.path().join(QEMU.name), "exit 1 # another build");
        qemu.find_method().await;
        assert_eq!(tries(), 2);
        let found = Arc::new(Finds(Some(Proof::new(Method::Full, "no pagemap".into())), AtomicU32::new(0)));
        program::put_script(&data.path().join(QEMU.name), "exit 1 # one more build");
        let qemu = qemu.with_prover(found.clone());
        for _ in 0..2 {
            qemu.find_method().await;
        }
        assert_eq!((found.1.load(Ordering::Relaxed), qemu.method()), (1, Method::Full));
    }
}
