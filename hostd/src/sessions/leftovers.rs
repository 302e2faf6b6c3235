//! VMs that are no session's own, each in a folder of its own: what is left of one is removed.

use std::path::Path;

use super::fleet::Host;

/// Ends what an earlier hostd left in the folders of `root`, and removes them; `what` they are is for the log.
pub(super) async fn sweep(host: &Host, root: &Path, what: &str) {
    let Ok(mut folders) = tokio::fs::read_dir(root).await else { return };
    while let Ok(Some(folder)) = folders.next_entry().await {
        match host.parts.vmm.end_leftover(&folder.path()).await {
            Ok(_) => remove(&folder.path(), what).await,
            Err(error) => tracing::error!(folder = %folder.path().display(), %error, "{what} may still run"),
        }
    }
}

/// Removes the folder of one that has ended.
pub(super) async fn remove(folder: &Path, what: &str) {
    if let Err(error) = tokio::fs::remove_dir_all(folder).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "what is left of {what} was not removed");
    }
}
