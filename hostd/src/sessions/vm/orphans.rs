//! VMs that an earlier hostd left.

use std::path::Path;

use hostd_core::Lifecycle;

use super::spec::identity;
use crate::{
    guest::last_sync,
    sessions::disk::folder::{Folder, gone},
    store::Record,
    vm::{Port, Vmm},
};

/// Ends the VM of a session.
pub(in crate::sessions) async fn end(vmm: &dyn Vmm, folder: &Folder, record: &Record) {
    let slug = &record.session.slug;
    // Its agent may be at work: what that has written is put on the disk first. A snapshot that is whole is of its own moment.
    if record.session.lifecycle == Lifecycle::Running
        && let Ok(link) = vmm.connect_leftover(folder.path(), Port::Link).await
    {
        match last_sync(link, &identity(&record.session, record.session.generation)).await {
            Ok(()) => tracing::info!(slug, "the guest of the VM that an earlier hostd left has synced"),
            Err(error) => tracing::warn!(slug, error, "the guest of a VM that was left does not sync"),
        }
    }
    match vmm.end_leftover(folder.path()).await {
        Ok(false) => {}
        Ok(true) => tracing::info!(slug, "ended the VM that an earlier hostd left"),
        Err(error) => tracing::error!(slug, %error, "its VM may still run"),
    }
}

/// Ends the VMs in the folders of `root`, which are no session's own, and removes those; `what` they are is for the log.
pub(in crate::sessions) async fn sweep(vmm: &dyn Vmm, root: &Path, what: &str) {
    let Ok(mut folders) = tokio::fs::read_dir(root).await else { return };
    while let Ok(Some(folder)) = folders.next_entry().await {
        match vmm.end_leftover(&folder.path()).await {
            Ok(_) => remove(&folder.path(), what).await,
            Err(error) => tracing::error!(folder = %folder.path().display(), %error, "{what} may still run"),
        }
    }
}

/// Removes the folder of one that has ended.
pub(in crate::sessions) async fn remove(folder: &Path, what: &str) {
    if let Err(error) = gone(tokio::fs::remove_dir_all(folder).await) {
        tracing::warn!(folder = %folder.display(), %error, "what is left of {what} was not removed");
    }
}
