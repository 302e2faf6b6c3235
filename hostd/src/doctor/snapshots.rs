use std::path::Path;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Check, Status};
use crate::{
    selftest::{self, Circle, Found},
    vm::{qemu::Qemu, snapshot::store::Method},
};

/// Of the check that the steps of the circle belong to.
pub(super) const NAME: &str = "snapshots";

/// Goes around the circle, unless something that it needs is known to be missing, and tells hostd what it found.
pub(super) async fn check(
    qemu: &Qemu,
    data: &Path,
    before: &[Check],
    progress: &(dyn Fn(String) + Send + Sync),
    cancel: &CancellationToken,
) -> (Check, Option<Circle>) {
    if let Some(missing) = before.iter().find(|check| check.status == Status::Failed) {
        let advice = format!("see {}, then try again", missing.name);
        return (Check::failed(NAME, "no VM was started", advice), None);
    }
    let found = match selftest::prove(qemu, data, progress, cancel).await {
        Ok(found) => found,
        Err(failure) => {
            let advice =
                "try again when the machine is idle; sessions boot and run, but do not come back from a suspend";
            return (Check::failed(NAME, failure.to_string(), advice), None);
        }
    };
    if let Err(error) = qemu.keep(&found.proof) {
        return (Check::failed(NAME, error.to_string(), "see data folder"), Some(found.circle));
    }
    (judge(&found), Some(found.circle))
}

fn judge(found: &Found) -> Check {
    let text = "a VM was cloned, suspended and resumed, and went on where it was";
    let check = match found.proof.method {
        Method::Delta => Check::ok(NAME, text),
        Method::Full => {
            let text = format!("{text}, but only by QEMU's own migration: {}", found.proof.why);
            Check::warning(NAME, text, "suspend and resume are slower and larger; another build of QEMU may do better")
        }
    };
    check.with(json!({"method": found.proof.method}))
}
