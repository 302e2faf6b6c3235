//! The layer that a session's next life will write to, made while its guest is put to sleep: a resume need not wait for it.
//!
//! It has a name of its own, under which no VM ever opens it, and only one that is whole gets it. A resume renames it and
//! starts its VM only then: so whatever is found under that name is empty, whenever hostd died.

use std::{io, path::Path};

use tokio::fs;

use super::folder::{Folder, gone};
use crate::vm::{VmError, Vmm};

/// Makes it ready, where it is not. A resume makes its own where this fails.
pub(in crate::sessions) async fn prepare(vmm: &dyn Vmm, folder: &Folder, bytes: u64) {
    let (ready, new) = (folder.next_layer(bytes), folder.new_next_layer());
    let made = async {
        if fs::try_exists(&ready).await? {
            return Ok(());
        }
        // Half of one, of a hostd that died.
        gone(fs::remove_file(&new).await)?;
        vmm.create_disk(&new, bytes).await.map_err(io::Error::other)?;
        fs::rename(&new, &ready).await
    };
    if let Err(error) = made.await {
        tracing::debug!(?ready, %error, "the next layer of a disk is not made ready");
    }
}

/// Puts an empty layer of this name there, whatever lies in its place: that is of an attempt to resume that was cut off, and
/// nothing in it belongs to the snapshot.
pub(in crate::sessions) async fn put(vmm: &dyn Vmm, folder: &Folder, name: &str, bytes: u64) -> Result<(), VmError> {
    let top = folder.layer(name);
    if fs::rename(folder.next_layer(bytes), &top).await.is_ok() {
        return Ok(());
    }
    gone(fs::remove_file(&top).await).map_err(|error| VmError::File { path: top, error })?;
    make(vmm, folder, name, bytes).await
}

/// Makes the folder and an empty layer of this name in it, unless they are there from an earlier start.
pub(in crate::sessions) async fn make(vmm: &dyn Vmm, folder: &Folder, name: &str, bytes: u64) -> Result<(), VmError> {
    let failed = |error| VmError::File { path: folder.path().into(), error };
    folder.make().await.map_err(failed)?;
    fail::fail_point!("start::before-disk");
    let disk = folder.layer(name);
    if !fs::try_exists(&disk).await.map_err(failed)? {
        // Under another name until it is whole.
        let new = folder.new_layer();
        gone(fs::remove_file(&new).await).map_err(failed)?;
        vmm.create_disk(&new, bytes).await?;
        fail::fail_point!("start::half-disk");
        fs::rename(&new, &disk).await.map_err(failed)?;
    }
    Ok(())
}

/// Whether this file of a session's folder is one that lies ready.
pub(in crate::sessions) fn is_ready(file: &Path, folder: &Folder, bytes: u64) -> bool {
    folder.next_layer(bytes) == file
}
