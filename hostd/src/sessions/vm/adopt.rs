//! The VM of a session that an earlier hostd left running is taken over: first the VM, then, once what it writes to is committed,
//! its guest.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hostd_core::Cause;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    orphans,
    resume::{forget_published, runs, wake},
    running::Running,
    site::Site,
};
use crate::{
    guest_vm::GuestVm,
    sessions::disk::folder::is_after_fork,
    store::{Machine, Record},
    vm::{Adopted, VmError, Vmm},
};

/// Most times that taking a VM over is tried; the pause between the first two tries, and the longest between two.
const TRIES: u32 = 12;
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// A VM that is this hostd's, and whose guest was not spoken to yet.
pub(in crate::sessions) struct Found {
    pub(in crate::sessions) guest: GuestVm,
    /// What the session is made from: a fork that nobody committed may have put a layer on its disk.
    pub(in crate::sessions) machine: Machine,
}

/// Why a VM was not taken over; it is gone, but where it is left.
pub(in crate::sessions) enum NotTaken {
    /// Nobody wants it any more.
    Cancelled,
    /// For this cause.
    Ended(Cause),
}

/// Takes over the VM in this folder.
pub(in crate::sessions) async fn find(site: Site, own: PathBuf, cancel: CancellationToken) -> Result<Found, NotTaken> {
    let record = site.record();
    let adopted = tokio::select! {
        () = cancel.cancelled() => None,
        () = site.leaving.cancelled() => return Err(NotTaken::Cancelled),
        adopted = adopt(&*site.vmm, &own) => Some(adopted),
    };
    fail::fail_point!("adopt::after-vm");
    let why = match adopted {
        None => {
            end(&site, &own).await;
            return Err(NotTaken::Cancelled);
        }
        Some(Ok(adopted)) => {
            let guest = GuestVm::of(adopted.vm).left_when(site.leaving.clone());
            match made_from(&record, &site, &adopted.disk) {
                Some(machine) => return Ok(Found { guest, machine }),
                None => {
                    guest.end().await;
                    return Err(not(format!("it writes to {}, which is not its disk", adopted.disk)));
                }
            }
        }
        Some(Err(VmError::NotAdopted(why))) => why,
        Some(Err(VmError::Over(cause))) => {
            end(&site, &own).await;
            return Err(NotTaken::Ended(cause));
        }
        Some(Err(error)) => error.to_string(),
    };
    end(&site, &own).await;
    Err(not(why))
}

/// What hinders it may pass: a host that has no more open files, a QEMU that is late. Nothing is ended for that.
async fn adopt(vmm: &dyn Vmm, own: &Path) -> Result<Adopted, VmError> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match vmm.adopt(own).await {
            Err(error) if !matches!(error, VmError::NotAdopted(_) | VmError::Over(_)) => {
                tracing::warn!(folder = %own.display(), %error, "a VM is not taken over yet");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
            done => return done,
        }
    }
    vmm.adopt(own).await
}

/// Ends what may run of the session in the folder of its VM, and in its own. False: it may still run.
pub(in crate::sessions) async fn end(site: &Site, own: &Path) -> bool {
    let (record, folder) = (site.record(), site.folder.path());
    let ended = orphans::end(&*site.vmm, own, &record).await;
    ended & (own == folder || orphans::end(&*site.vmm, folder, &record).await)
}

/// Waits before it is tried again to commit what this VM writes to.
pub(in crate::sessions) async fn again(
    site: Site,
    own: PathBuf,
    found: Found,
    cancel: CancellationToken,
) -> Result<Found, NotTaken> {
    tokio::select! {
        () = cancel.cancelled() => {
            found.end(&site, &own).await;
            Err(NotTaken::Cancelled)
        }
        () = site.leaving.cancelled() => {
            found.guest.let_go();
            Err(NotTaken::Cancelled)
        }
        () = sleep(LONGEST) => Ok(found),
    }
}

impl Found {
    /// Ends the VM, whose guest writes all to its disk first.
    pub(in crate::sessions) async fn end(self, site: &Site, own: &Path) {
        end(site, own).await;
        self.guest.end().await;
    }
}

fn not(why: String) -> NotTaken {
    NotTaken::Ended(Cause::NotAdopted(why))
}

/// What the session is made from whose VM writes to this layer; None: to no layer of the session's.
fn made_from(record: &Record, site: &Site, disk: &str) -> Option<Machine> {
    let mut machine = record.machine.clone();
    if machine.disk != disk {
        if !is_after_fork(disk, record.session.generation) {
            return None;
        }
        machine.layers.push(site.folder.layer(&machine.disk));
        disk.clone_into(&mut machine.disk);
    }
    Some(machine)
}

/// Lets the VM run, and shakes hands with its guest.
pub(in crate::sessions) async fn meet(
    site: Site,
    record: Record,
    guest: GuestVm,
    cancel: CancellationToken,
) -> Result<Running, NotTaken> {
    let generation = record.session.generation;
    let ended = tokio::select! {
        () = cancel.cancelled() => {
            guest.end().await;
            return Err(NotTaken::Cancelled);
        }
        () = site.leaving.cancelled() => NotTaken::Cancelled,
        met = guest.unless_it_ends(go_on(&site, &record, &guest)) => match met {
            Ok(Ok(woken)) => {
                fail::fail_point!("adopt::after-guest");
                return Ok(runs(&site, &record, generation, guest, woken));
            }
            Ok(Err(why)) => not(why),
            Err(cause) => NotTaken::Ended(cause),
        },
    };
    Err(if guest.give_up().await { ended } else { NotTaken::Cancelled })
}

async fn go_on(site: &Site, record: &Record, guest: &GuestVm) -> Result<super::resume::Woken, String> {
    forget_published(site, record).await;
    site.may_run().await;
    guest.vm().go_on().await.map_err(|error| error.to_string())?;
    fail::fail_point!("adopt::after-go-on");
    let terminal = site.terminal.take_up().await;
    loop {
        let within = site.timings.link_lost;
        match wake(site, record, record.session.generation, guest, terminal, None, within).await {
            // One that stands still for want of room cannot answer.
            Err(_) if guest.vm().stalled() => {}
            met => return met,
        }
    }
}
