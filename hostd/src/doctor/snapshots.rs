use std::{path::Path, time::Duration};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::check::{Check, Status};
use crate::{
    selftest::{self, Circle, Exam, Failure, Findings, Found},
    vm::{Vmm as _, qemu::Qemu, snapshot::store::Method},
};

const KVM: &str = "kvm";
/// The step of the circle that has nothing to do with snapshots.
const BOOT: &str = "cold boot";
/// What to do where a guest did not come through unharmed.
const NOT_SAFE: &str = "do not suspend sessions that matter on this machine; try again when it is idle, with another kernel or \
                        QEMU, or with --accel tcg";
/// Name of the check that the steps of the circle belong to.
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
            return (Check::failed(NAME, failure.to_string(), advice(&failure)), None);
        }
    };
    if let Err(error) = qemu.keep(&found.proof) {
        return (Check::failed(NAME, error.to_string(), "see data folder"), Some(found.circle));
    }
    (judge(&found, qemu.info().accelerator == KVM), Some(found.circle))
}

/// Has guests with two and with four processors examined: half a minute for the first, which is on disk for most of it.
pub(super) async fn examine(
    qemu: &Qemu,
    data: &Path,
    progress: &(dyn Fn(String) + Send + Sync),
    cancel: &CancellationToken,
) -> Vec<Check> {
    let timely = qemu.info().accelerator == KVM;
    let exams = [
        ("2 processors", Exam { vcpus: 2, pause: Duration::from_secs(20), rounds: 10, timely }),
        ("4 processors", Exam { vcpus: 4, pause: Duration::from_secs(2), rounds: 2, timely }),
    ];
    let mut checks = Vec::new();
    for (name, exam) in exams {
        progress(format!("self-test: a guest with {name}"));
        checks.push(match selftest::examine(qemu, data, exam, progress, cancel).await {
            Ok(findings) => judge_findings(name, &findings),
            Err(failure) => Check::failed(name, failure.to_string(), NOT_SAFE),
        });
    }
    checks
}

fn judge_findings(name: &'static str, found: &Findings) -> Check {
    let check = if found.problems.is_empty() {
        let turns = found.turns.iter().sum::<u64>();
        let text = format!(
            "a guest noticed nothing of being suspended: {turns} turns with {} registers as they were, clock ({}) right to {} ms",
            found.registers,
            found.clocksource,
            found.realtime_off.div_ceil(1000)
        );
        Check::ok(name, text)
    } else {
        Check::failed(name, found.problems.join("; "), NOT_SAFE)
    };
    check.with(found)
}

/// What to do where the circle broke.
fn advice(failure: &Failure) -> &'static str {
    if failure.step == BOOT {
        "no session starts here as it is; try again when the machine is idle, with another kernel or QEMU, or with --accel tcg"
    } else {
        "try again when the machine is idle; sessions boot and run, but do not come back from a suspend"
    }
}

/// Slower snapshots are what TCG has instead of none; under KVM they mean that something is wrong with this hostd or this QEMU.
fn judge(found: &Found, kvm: bool) -> Check {
    let text = "a VM was cloned, suspended and resumed, and went on where it was";
    let check = match found.proof.method {
        Method::Delta => Check::ok(NAME, text),
        Method::Full => {
            let text = format!("{text}, but only by QEMU's own migration: {}", found.proof.why);
            let judge = if kvm { Check::failed } else { Check::warning };
            judge(NAME, text, "suspend and resume are slower and larger; another build of QEMU may do better")
        }
    };
    check.with(json!({"method": found.proof.method}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        selftest::Circle,
        vm::qemu::{Confinement, Proof},
    };

    fn found(method: Method) -> Found {
        let confinement = Confinement { seccomp: true, no_new_privileges: true, user: 0 };
        Found { proof: Proof::new(method, "5 pages too many".into()), circle: Circle { steps: vec![], confinement } }
    }

    #[test]
    fn a_machine_where_nothing_boots_is_not_said_to_run_sessions() {
        let broken = |step| advice(&Failure { step, why: "it died".into() });
        assert!(broken(BOOT).starts_with("no session starts here"));
        assert!(broken("resume").contains("sessions boot and run"));
    }

    #[test]
    fn slow_snapshots_are_a_failure_under_kvm() {
        assert_eq!(judge(&found(Method::Delta), true).status, Status::Ok);
        assert_eq!(judge(&found(Method::Full), false).status, Status::Warning);
        let check = judge(&found(Method::Full), true);
        assert_eq!(check.status, Status::Failed);
        assert!(check.found.contains("5 pages too many"), "{check:?}");
    }

    #[test]
    fn what_a_guest_noticed_is_a_failure() {
        let mut findings = Findings {
            vcpus: 2,
            clocksource: "kvm-clock".into(),
            registers: "avx".into(),
            turns: vec![10, 20],
            realtime_off: 1200,
            nap: 50_200,
            private: 0,
            private_cold: 0,
            problems: vec![],
        };
        let check = judge_findings("2 processors", &findings);
        assert_eq!(check.status, Status::Ok);
        assert!(
            check.found.contains("30 turns with avx registers") && check.found.contains("right to 2 ms"),
            "{check:?}"
        );
        findings.problems = vec!["its processor 1 stands still".into(), "more".into()];
        let check = judge_findings("2 processors", &findings);
        assert_eq!((check.status, check.found.as_str()), (Status::Failed, "its processor 1 stands still; more"));
    }
}
