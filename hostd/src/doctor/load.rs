//! A load of device state without a guest: what it does to memory and to processors, tried also where no guest boots.

use std::path::Path;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::check::{Check, Status};
use crate::{
    selftest,
    vm::{
        VmError, Vmm as _,
        qemu::{Loaded, Qemu},
    },
};

const MEMORY: &str = "device state";
const PROCESSORS: &str = "processor state";

/// Loads device state and saves it again, unless something that this needs is known to be missing.
pub(super) async fn checks(
    qemu: &Qemu,
    data: &Path,
    before: &[Check],
    progress: &(dyn Fn(String) + Send + Sync),
    cancel: &CancellationToken,
) -> [Check; 2] {
    let nothing = |why: &str, advice: String| {
        [Check::failed(MEMORY, why, advice), Check::failed(PROCESSORS, "was not loaded", format!("see {MEMORY}"))]
    };
    if let Some(missing) = before.iter().find(|check| check.status == Status::Failed) {
        return nothing("was not loaded", format!("see {}, then try again", missing.name));
    }
    match selftest::load(qemu, data, progress, cancel).await {
        Ok(Loaded { memory, processors }) => {
            [judge_memory(memory, qemu.info().accelerator == "kvm"), judge_processors(processors)]
        }
        Err(failure) => nothing(&failure.to_string(), "no VM can be cloned or resumed here; try another QEMU".into()),
    }
}

/// A load that writes what it should not costs TCG the better method of snapshots; under KVM something is wrong with this hostd
/// or this QEMU.
fn judge_memory(pages: Result<Vec<String>, VmError>, kvm: bool) -> Check {
    match pages {
        Ok(pages) => {
            let wrote = if pages.is_empty() {
                "nothing of memory was written by it".into()
            } else {
                format!("KVM wrote what is its own ({})", pages.join("; "))
            };
            Check::ok(MEMORY, format!("loaded without a guest; {wrote}")).with(json!({"pages": pages}))
        }
        Err(error) => {
            let judge = if kvm { Check::failed } else { Check::warning };
            judge(
                MEMORY,
                error.to_string(),
                "suspend and resume are slower and larger; another build of QEMU may do better",
            )
        }
    }
}

fn judge_processors(same: Result<(), VmError>) -> Check {
    match same {
        Ok(()) => Check::ok(PROCESSORS, "saved, loaded and saved again: the processors are the same"),
        Err(error) => {
            let advice =
                "suspended sessions are not resumed on such processors; try another kernel or QEMU, or --accel tcg";
            Check::failed(PROCESSORS, error.to_string(), advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(why: &str) -> VmError {
        VmError::Kernel(why.into())
    }

    #[test]
    fn what_a_load_wrote_is_told() {
        let check = judge_memory(Ok(vec![]), false);
        assert_eq!((check.status, check.found.contains("nothing of memory")), (Status::Ok, true), "{check:?}");
        let check = judge_memory(Ok(vec!["page 9: the clock of CPU 0".into()]), true);
        assert_eq!(check.status, Status::Ok);
        assert!(check.found.contains("(page 9: the clock of CPU 0)"), "{check:?}");
        assert_eq!(check.facts["pages"][0], "page 9: the clock of CPU 0");
        for (kvm, status) in [(true, Status::Failed), (false, Status::Warning)] {
            let check = judge_memory(Err(failed("1 page (7) was written")), kvm);
            assert_eq!(check.status, status);
            assert!(check.found.contains("page (7)"), "{check:?}");
        }
    }

    #[test]
    fn processors_that_differ_are_a_failure() {
        assert_eq!(judge_processors(Ok(())).status, Status::Ok);
        let check = judge_processors(Err(failed("CPU 0: xcr0 was 0x2 and is 0x1")));
        assert_eq!((check.status, check.found.contains("xcr0 was 0x2")), (Status::Failed, true), "{check:?}");
    }

    #[tokio::test]
    async fn nothing_is_loaded_where_something_is_missing() {
        let data = tempfile::tempdir().unwrap();
        let qemu = Qemu::new(data.path(), data.path().join("none")).with_path("/nonexistent".into());
        let cancel = CancellationToken::new();
        let before = [Check::ok("accelerator", "tcg"), Check::failed("qemu", "was not found", "install it")];
        let [memory, processors] = checks(&qemu, data.path(), &before, &|_| (), &cancel).await;
        assert_eq!((memory.status, memory.advice.as_str()), (Status::Failed, "see qemu, then try again"));
        assert_eq!((processors.status, processors.advice.as_str()), (Status::Failed, "see device state"));
        // What is missing is only met while it is tried.
        let [memory, _] = checks(&qemu, data.path(), &before[..1], &|_| (), &cancel).await;
        assert!(memory.found.contains("load: "), "{memory:?}");
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
    }
}
