//! Back from disk, or on where a VM was brought to a stand: in both the guest's processes are frozen until it has shaken hands.

use std::sync::Arc;

use hostd_core::Cause;
use tokio_util::sync::CancellationToken;

use super::{
    phases::Clock,
    running::Running,
    site::Site,
    spec::{caller, identity, spec},
    start::{NotStarted, Started},
};
use crate::{
    guest::Link,
    guest_vm::{GuestVm, Met},
    sessions::disk::{folder::top, next_layer},
    store::{Machine, Record},
    terminals::Pump,
    vm::{VmError, snapshot::store::Manifest},
};

/// What can be done about a snapshot that cannot be used.
pub(super) const OFFER: &str = "; put back what has changed and resume it, or restart it: \
    that boots it from its disk as it was suspended, and gives up its memory";

/// Why a session is not on disk now.
pub(in crate::sessions) enum Awake {
    /// It runs on.
    Runs {
        /// As before.
        running: Running,
        /// With what to do.
        why: String,
    },
    /// Its VM is gone.
    Ended(Cause),
}

/// A VM that stands still goes on as if nothing had been, or is gone.
pub(in crate::sessions) async fn run_on(
    site: &Site,
    record: &Record,
    generation: u64,
    guest: GuestVm,
    why: String,
) -> Awake {
    // One that was published before it failed is of a moment that the disk is about to leave.
    let folder = site.folder.snapshot();
    let published = tokio::task::spawn_blocking(move || Manifest::read(&folder)).await;
    if published.is_ok_and(|read| read.is_ok_and(|manifest| manifest.disk == record.machine.disk)) {
        site.folder.forget_snapshot().await;
    }
    if let Err(error) = guest.vm().go_on().await {
        guest.end().await;
        return Awake::Ended(Cause::VmDied(format!("{why}; and then it did not go on: {error}")));
    }
    match wake(site, record, generation, &guest, site.terminal.offset()).await {
        Ok((link, pump)) => Awake::Runs { running: runs(site, record, generation, guest, link, pump), why },
        Err(error) => {
            guest.end().await;
            Awake::Ended(Cause::VmDied(format!("{why}; and then its guest was silent: {error}")))
        }
    }
}

/// Brings a suspended session back, as this generation.
pub(in crate::sessions) async fn resume(
    site: Site,
    generation: u64,
    cancel: CancellationToken,
) -> Result<Started, NotStarted> {
    let record = site.record();
    let failed = |why: String| NotStarted::Failed(why);
    let Some(snapshot) = record.machine.snapshot.clone() else {
        return Err(failed("it has no snapshot; restart it to boot it from its disk".into()));
    };
    let mut clock = Clock::new();
    let machine = Machine { disk: top(generation), ..record.machine.clone() };
    let above = Record { session: record.session.clone(), machine };
    let (name, bytes) = (&above.machine.disk, record.session.size.disk);
    let top = site.folder.layer(name);
    let put = next_layer::put(&*site.vmm, &site.folder, name, bytes).await;
    put.map_err(|error| failed(error.to_string()))?;
    clock.phase("disk");
    fail::fail_point!("resume::before-vm");
    let began = GuestVm::resume(&*site.vmm, spec(&above, &site.folder), &snapshot.folder).await;
    let guest = match began {
        Ok(guest) => guest,
        Err(error) => {
            let _ = tokio::fs::remove_file(&top).await;
            let help = if matches!(error, VmError::Snapshot(_)) { OFFER } else { "" };
            return Err(failed(format!("{error}{help}")));
        }
    };
    clock.phase("vm");
    fail::fail_point!("resume::after-vm");
    let result = tokio::select! {
        () = cancel.cancelled() => Err(NotStarted::Cancelled),
        up = guest.unless_it_ends(wake(&site, &above, generation, &guest, snapshot.terminal)) => match up {
            Ok(up) => up.map_err(failed),
            Err(cause) => Err(NotStarted::Ended(cause)),
        },
    };
    match result {
        Ok((link, pump)) => {
            let running = runs(&site, &above, generation, guest, link, pump);
            clock.phase("handshake");
            let phases = clock.phases;
            Ok(Started { running, machine: Machine { phases, ..above.machine }, why_booted: None, broken: None })
        }
        Err(why) => {
            guest.end().await;
            let _ = tokio::fs::remove_file(&top).await;
            Err(why)
        }
    }
}

/// Shakes hands with a guest that was frozen, which lets its processes run, and goes on with its terminal.
async fn wake(
    site: &Site,
    record: &Record,
    generation: u64,
    guest: &GuestVm,
    terminal: u64,
) -> Result<(Arc<Link>, Pump), String> {
    let (identity, caller) = (identity(&record.session, generation), caller(&record.session, &record.machine));
    let Met { link, .. } = guest.meet(identity, &site.gateway, caller).await.map_err(|error| error.to_string())?;
    let pump = Pump::go_on(site.terminal.clone(), terminal);
    let pump = pump.await.map_err(|error| format!("the terminal's log: {error}"))?;
    Ok((link, pump))
}

/// The VM as it runs from now on.
fn runs(site: &Site, record: &Record, generation: u64, guest: GuestVm, link: Arc<Link>, pump: Pump) -> Running {
    Running::new(generation, guest, link, pump, record.machine.heard, &site.supervisor)
}
