//! `hostd doctor`: whether this machine can run sessions, what it lacks, and what to do about it.
//!
//! It looks at the machine, loads device state without a guest, and then goes once around the circle of snapshots with VMs of
//! its own ([`crate::selftest`]), and where KVM runs them it has guests tell whether they noticed: about a minute in all. It
//! needs neither a running hostd nor a built environment, and disturbs neither: what it makes is in a folder of its own and
//! removed afterwards. Only the guests' kernel stays, which hostd would fetch as well.

mod check;
mod confinement;
mod kvm;
mod load;
mod machine;
mod programs;
mod snapshots;
mod table;

use std::path::PathBuf;

use eyre::{Context as _, bail};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use check::{Check, Status};

use crate::{
    data_folder,
    selftest::Circle,
    signals::Signals,
    vm::{
        Vmm as _,
        qemu::{Choice, Qemu},
    },
};

/// What the doctor examines.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path of the data folder; the folder is made where it is not there.
    pub data: PathBuf,
    /// Accelerator that QEMU is to use.
    pub accelerator: Choice,
    /// Path of the static `pilothouse-guest`.
    pub guest: PathBuf,
    /// Path of the guests' kernel; None: it is fetched where there is none.
    pub kernel: Option<PathBuf>,
    /// Whether guests are examined as under KVM whatever the accelerator.
    pub thorough: bool,
}

/// Findings of the doctor.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The worst status of all checks.
    pub status: Status,
    /// The checks, in the order in which they matter.
    pub checks: Vec<Check>,
    /// Results of the circle of snapshots; None: it broke, or could not begin.
    pub circle: Option<Circle>,
}

impl Report {
    /// The findings as lines for people; in colour where asked.
    #[must_use]
    pub fn table(&self, colour: bool) -> String {
        table::of(self, colour)
    }
}

/// Examines this machine, and tells people of its progress on stderr. It starts the runtime by itself, as [`crate::daemon`] does.
///
/// # Errors
/// Where the runtime does not start, and where a signal interrupts it: then nothing is left of it.
pub fn run(options: &Options) -> eyre::Result<Report> {
    Runtime::new().wrap_err("the runtime did not start")?.block_on(async {
        let mut signals = Signals::new()?;
        let cancel = CancellationToken::new();
        let _ends_with_signal = AbortOnDropHandle::new(tokio::spawn({
            let cancel = cancel.clone();
            async move {
                signals.next().await;
                cancel.cancel();
            }
        }));
        let report = examine(options, &|line| eprintln!("{line}"), &cancel).await;
        if cancel.is_cancelled() {
            bail!("interrupted; nothing is left of it");
        }
        Ok(report)
    })
}

/// Examines this machine; `progress` gets lines for people. Where `cancel` is cancelled it ends soon, with what it has found.
async fn examine(options: &Options, progress: &(dyn Fn(String) + Send + Sync), cancel: &CancellationToken) -> Report {
    let mut qemu = Qemu::new(&options.data, options.guest.clone()).with_accelerator(options.accelerator);
    if let Some(kernel) = &options.kernel {
        qemu = qemu.with_kernel(kernel);
    }
    let folder = data_folder::claim(&options.data);
    let mut checks = vec![programs::accelerator(&qemu.info()), programs::emulator(&qemu), programs::images(&qemu)];
    let prepared = match &folder {
        Ok(()) => cancel.run_until_cancelled(qemu.prepare(progress)).await,
        Err(_) => None,
    };
    checks.push(programs::kernel(&qemu, prepared));
    checks.push(programs::guest(&qemu));
    let loaded = load::checks(&qemu, &options.data, &checks, progress, cancel).await;
    let (snapshots, circle) = snapshots::check(&qemu, &options.data, &checks, progress, cancel).await;
    checks.extend(loaded);
    let tried = snapshots.status != Status::Failed;
    checks.push(snapshots);
    let by_kvm = qemu.info().accelerator == "kvm";
    if tried && (by_kvm || options.thorough) {
        checks.extend(snapshots::examine(&qemu, &options.data, progress, cancel).await);
    }
    if by_kvm {
        checks.extend(kvm::checks());
    }
    checks.push(confinement::check(circle.as_ref()));
    checks.push(machine::ptrace());
    checks.push(machine::cgroups());
    checks.extend(machine::kill_mode(&options.data));
    checks.push(machine::data(&options.data, folder));
    checks.push(machine::disk(&options.data));
    checks.push(machine::memory());
    checks.extend(programs::helpers(&qemu));
    let status = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    Report { status, checks, circle }
}
