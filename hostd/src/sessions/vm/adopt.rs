//! The VM of a session that an earlier hostd left running is taken over: first the VM, then, once what it writes to is committed,
//! its guest.

use std::path::PathBuf;

use hostd_core::Cause;
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
    vm::VmError,
};

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
pub(in crate::sessions) async fn find(
    site: Site,
    own: PathBuf,
    cancel: CancellationToken,
    leave: CancellationToken,
) -> Result<Found, NotTaken> {
    let record = site.record();
    let adopted = tokio::select! {
        () = cancel.cancelled() => None,
        () = leave.cancelled() => return Err(NotTaken::Cancelled),
        adopted = site.vmm.adopt(&own) => Some(adopted),
    };
    fail::fail_point!("adopt::after-vm");
    let why = match adopted {
        None => {
            orphans::end(&*site.vmm, &own, &record).await;
            return Err(NotTaken::Cancelled);
        }
        Some(Ok(adopted)) => {
            let guest = GuestVm::of(adopted.vm);
            match made_from(&record, &site, &adopted.disk) {
                Some(machine) => return Ok(Found { guest, machine }),
                None => {
                    guest.end().await;
                    return Err(not(format!("it writes to {}, which is not its disk", adopted.disk)));
                }
            }
        }
        Some(Err(VmError::NotAdopted(why))) => why,
        Some(Err(error)) => error.to_string(),
    };
    orphans::end(&*site.vmm, &own, &record).await;
    Err(not(why))
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
    leave: CancellationToken,
) -> Result<Running, NotTaken> {
    let generation = record.session.generation;
    let ended = tokio::select! {
        () = cancel.cancelled() => NotTaken::Cancelled,
        () = leave.cancelled() => {
            guest.let_go();
            return Err(NotTaken::Cancelled);
        }
        met = guest.unless_it_ends(go_on(&site, &record, &guest)) => match met {
            Ok(Ok(woken)) => {
                fail::fail_point!("adopt::after-guest");
                return Ok(runs(&site, &record, generation, guest, woken));
            }
            Ok(Err(why)) => not(why),
            Err(cause) => NotTaken::Ended(cause),
        },
    };
    guest.end().await;
    Err(ended)
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
