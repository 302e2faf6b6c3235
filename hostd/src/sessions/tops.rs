//! The layer that a session's next life will write to, made while its guest is put to sleep: a resume need not wait for it.
//!
//! It has a name of its own, under which no VM ever opens it, and only one that is whole gets it. A resume renames it and
//! starts its VM only then: so whatever is found under that name is empty, whenever hostd died.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{fleet::Host, start::disk};
use crate::{
    store::Record,
    vm::{VmError, Vmm},
};

/// Under which it lies ready.
const READY: &str = "next-";

/// Makes it ready, where it is not. A resume makes its own where this fails.
pub(super) async fn prepare(vmm: &dyn Vmm, directory: &Path, bytes: u64) {
    let ready = ready(directory, bytes);
    let new = directory.join("next.new.qcow2");
    let made = async {
        if tokio::fs::try_exists(&ready).await? {
            return Ok(());
        }
        // Half of one, of a hostd that died.
        gone(tokio::fs::remove_file(&new).await)?;
        vmm.create_disk(&new, bytes).await.map_err(io::Error::other)?;
        tokio::fs::rename(&new, &ready).await
    };
    if let Err(error) = made.await {
        tracing::debug!(?ready, %error, "the next layer of a disk is not made ready");
    }
}

/// Puts an empty layer where the record's disk is to be, whatever lies there: that is of an attempt to resume that was cut
/// off, and nothing in it belongs to the snapshot.
pub(super) async fn put(host: &Host, record: &Record, directory: &Path) -> Result<(), VmError> {
    let top = directory.join(&record.machine.disk);
    let ready = ready(directory, record.session.size.disk);
    if tokio::fs::rename(&ready, &top).await.is_ok() {
        return Ok(());
    }
    gone(tokio::fs::remove_file(&top).await).map_err(|error| VmError::File { path: top, error })?;
    disk(host, record, directory).await
}

/// Whether this file of a session's folder is one that lies ready.
pub(super) fn is_ready(file: &Path, bytes: u64) -> bool {
    file.parent().is_some_and(|directory| ready(directory, bytes) == file)
}

/// Its size is in its name: one of another size is not taken for it.
fn ready(directory: &Path, bytes: u64) -> PathBuf {
    directory.join(format!("{READY}{bytes}.qcow2"))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
