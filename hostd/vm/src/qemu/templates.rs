//! Whether templates are still what they were made as. Their RAM is too large to be hashed at each clone: it is known by its
//! length and time then, and read through once in each run of hostd, behind everything else. What is found damaged stays
//! marked so.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::snapshot::store::Manifest;

/// Priority of the thread that reads templates: the least of Linux's.
const NICE: i32 = 19;

/// Templates that this hostd has read, or is about to.
#[derive(Debug, Default)]
pub(super) struct Templates {
    read: Mutex<HashSet<PathBuf>>,
    /// Held by the thread that reads: one template at a time.
    turn: Mutex<()>,
}

impl Templates {
    /// Begins to read the template in this folder, unless that was done.
    pub(super) fn read(self: &Arc<Self>, folder: &Path) {
        let first = self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
        if !first {
            return;
        }
        let (templates, owned) = (self.clone(), folder.to_owned());
        // A thread of its own: those for blocking work have other work after this, which is not to wait behind others.
        let started = thread::Builder::new().name("template".into()).spawn(move || {
            let _turn = templates.turn.lock().unwrap_or_else(PoisonError::into_inner);
            // Of this thread alone. It is no harm where it keeps its own.
            let _ = rustix::process::setpriority_process(None, NICE);
            templates.verify(&owned);
        });
        if let Err(error) = started {
            tracing::warn!(?folder, %error, "a template is not read through");
            self.forget(folder);
        }
    }

    pub(super) fn verify(&self, folder: &Path) {
        match Manifest::verify_template(folder) {
            Ok(None) => tracing::debug!(?folder, "a template is as it was made"),
            Ok(Some(damage)) => {
                tracing::error!(error = %damage, "a template is of no more use; build its environment again");
                if let Err(error) = Manifest::mark_damaged(folder) {
                    tracing::error!(%error, "that is not kept");
                }
            }
            // It is gone by now, or known to be of no use.
            Err(error) => {
                tracing::debug!(%error, "a template is not read through");
                self.forget(folder);
            }
        }
    }

    fn forget(&self, folder: &Path) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).remove(folder);
    }
}
