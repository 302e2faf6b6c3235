//! Why a simulated VM has ended.

use hostd_core::session::Cause;
use tokio::sync::watch;

/// Ends a VM, unless it has ended already.
pub(super) fn end(cause: &watch::Sender<Option<Cause>>, why: Cause) {
    cause.send_if_modified(|cause| {
        let first = cause.is_none();
        cause.get_or_insert(why);
        first
    });
}

/// The cause of a VM that dies by itself.
pub(super) fn died() -> Cause {
    Cause::VmDied("the simulation let it die".into())
}
