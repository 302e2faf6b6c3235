//! The VM of a session that an earlier hostd left.

use std::path::Path;

use hostd_core::Lifecycle;

use super::spec::identity;
use crate::{
    guest::last_sync,
    guest_vm::end_orphan,
    store::Record,
    vm::{Port, Vmm},
};

/// Ends the VM of this session, whose guest writes all to its disk first where the session ran. False: it may
/// still run.
pub(in crate::sessions) async fn end(vmm: &dyn Vmm, folder: &Path, record: &Record) -> bool {
    let slug = &record.session.slug;
    // Its agent may be at work: what that has written is put on the disk first. A snapshot that is whole is of its own moment.
    if record.session.lifecycle == Lifecycle::Running
        && let Ok(link) = vmm.connect_orphan(folder, Port::Link).await
    {
        match last_sync(link, &identity(&record.session, record.session.generation)).await {
            Ok(()) => tracing::info!(slug, "the guest of the VM that an earlier hostd left has synced"),
            Err(error) => tracing::warn!(slug, error, "the guest of a VM that was left does not sync"),
        }
    }
    end_orphan(vmm, folder, "the VM of a session").await
}
