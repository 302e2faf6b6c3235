//! VMs that an earlier hostd left running are taken over: its process by its identity, its control connection anew, and all else
//! from the record in its folder.

use std::{io::ErrorKind, path::Path, time::Duration};

use hostd_core::Cause;
use serde_json::{Value, json};
use tokio::{
    net::UnixStream,
    time::{Instant, sleep},
};

use super::{
    address::host_address,
    deadlines::{ANSWER, DISK},
    driver::file_name,
    errors::{refused, said},
    installation::Installation,
    layout::Layout,
    machine::{Machine, Parts},
    process::Process,
    qmp::{Event, Qmp},
    record::{Change, Kept, Record},
    serial::Serial,
    sockets,
};
use crate::{Adopted, VmError, file::failed};

/// Where the host says which boot of it this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Longest wait for a migration under way to be cancelled: it writes memory to the disk.
const CANCEL: Duration = Duration::from_secs(60);
/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(20);

/// How a VM stands that was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// It runs, or was brought to a stand.
    Well,
    /// The host's disk was full.
    Stalled,
    /// Its guest has ended.
    Over,
    /// KVM has given up on it.
    Broken,
}

/// Takes over the VM of this folder.
pub(super) async fn adopt(installation: &Installation, folder: &Path) -> Result<Adopted, VmError> {
    let (record, kept, process) = find(folder)?;
    let mut qmp = connect(folder).await?;
    let base = host_address(&mut qmp, 0, DISK).await?;
    if base != kept.base {
        return Err(VmError::NotAdopted("its memory is not where it was".into()));
    }
    take_over(installation, folder, record, kept, process, qmp).await
}

/// The record of the VM and its process, which is the one that is meant.
fn find(folder: &Path) -> Result<(Record, Kept, Process), VmError> {
    let because = |why: &str| VmError::NotAdopted(why.into());
    let record = Record::load(folder).map_err(failed(folder))?;
    let record = record.ok_or_else(|| because("there is no record of its VM that can be read"))?;
    let boot_id = std::fs::read_to_string(BOOT_ID).map_err(failed(Path::new(BOOT_ID)))?;
    if record.process.boot_id != boot_id.trim() {
        return Err(VmError::Over(Cause::HostRebooted));
    }
    let process = Process::adopt(&record.process).map_err(failed(folder))?;
    let process = process.ok_or(VmError::Over(Cause::EndedUnseen))?;
    let kept = record.machine.clone();
    let kept = kept.ok_or_else(|| because("the hostd that started its VM kept too little of it"))?;
    let runs = record.process.executable().map_err(|error| because(&error.to_string()))?;
    if record.executable.as_ref() != Some(&runs) {
        return Err(because("its process runs another program"));
    }
    Ok((record, kept, process))
}

async fn connect(folder: &Path) -> Result<Qmp<UnixStream>, VmError> {
    let stream = sockets::connect(folder, sockets::QMP).await;
    let stream = stream.map_err(|error| match error.kind() {
        // Nobody listens there any more.
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            VmError::NotAdopted(format!("its control socket: {error}"))
        }
        _ => failed(&folder.join(sockets::QMP))(error),
    })?;
    // It may be at what it was told last.
    Qmp::open(stream, DISK).await.map_err(refused)
}

async fn take_over(
    installation: &Installation,
    folder: &Path,
    mut record: Record,
    mut kept: Kept,
    process: Process,
    mut qmp: Qmp<UnixStream>,
) -> Result<Adopted, VmError> {
    cancel_migration(&mut qmp).await?;
    let stands = stands(&mut qmp).await?;
    let mut serial = Serial::of_orphan(folder);
    serial.answer(&qmp.execute("ringbuf-read", Serial::question(), ANSWER).await.map_err(refused)?);
    match stands {
        Stands::Well | Stands::Stalled => {}
        // Nobody heard it say so.
        Stands::Over => qmp.missed(Event::Shutdown { guest: true, reset: !serial.powered_off() }),
        Stands::Broken => qmp.missed(Event::Stopped),
    }
    let pivots = kept.change.as_ref().map(|change| matches!(change, Change::Pivot(_)));
    if kept.nodes.find_out(&mut qmp, pivots).await?
        && let Some(Change::Pivot(top)) = &kept.change
    {
        top.clone_into(&mut kept.top);
    }
    kept.change = None;
    record.machine = Some(kept.clone());
    if let Err(error) = record.write(folder) {
        // What is there already has whoever comes next find out the same.
        tracing::warn!(?folder, %error, "what is kept of a VM is not up to date");
    }
    let disk = file_name(&kept.top);
    let layout = Layout {
        pid: process.pid,
        base: kept.base,
        ram: kept.ram,
        memory: kept.memory,
        disk: disk.clone(),
        installation: installation.clone(),
        requirements: kept.requirements,
    };
    let parts = Parts {
        process,
        qmp,
        record,
        layout,
        disk: kept.nodes,
        serial,
        sealed: None,
        up: true,
        from_snapshot: kept.from_snapshot,
        stalled: stands == Stands::Stalled,
    };
    Ok(Adopted { vm: std::sync::Arc::new(Machine::of(folder, parts, None)), disk })
}

/// Has QEMU give up to write all memory, where it was told to: nobody waits for it any more.
async fn cancel_migration(qmp: &mut Qmp<UnixStream>) -> Result<(), VmError> {
    let deadline = Instant::now() + CANCEL;
    let mut told = false;
    loop {
        let answer = qmp.execute("query-migrate", json!({}), DISK).await.map_err(refused)?;
        let status = answer.get("status").and_then(Value::as_str).unwrap_or("none");
        if matches!(status, "none" | "completed" | "failed" | "cancelled") {
            return Ok(());
        }
        if !told {
            // One that is over by now needs no cancelling, and says so.
            let _ = qmp.execute("migrate_cancel", json!({}), ANSWER).await;
            told = true;
        }
        if Instant::now() > deadline {
            return Err(said(&format!("QEMU is still at its migration ({})", hostd_core::text::clean(status, 64))));
        }
        sleep(LOOK).await;
    }
}

async fn stands(qmp: &mut Qmp<UnixStream>) -> Result<Stands, VmError> {
    let answer = qmp.execute("query-status", json!({}), DISK).await.map_err(refused)?;
    match answer.get("status").and_then(Value::as_str).unwrap_or_default() {
        "running" | "paused" | "postmigrate" | "finish-migrate" | "save-vm" | "suspended" => Ok(Stands::Well),
        "io-error" => Ok(Stands::Stalled),
        "shutdown" | "guest-panicked" => Ok(Stands::Over),
        "internal-error" => Ok(Stands::Broken),
        other => {
            let status = hostd_core::text::clean(other, 64);
            Err(VmError::NotAdopted(format!("its VM had not begun to run ({status})")))
        }
    }
}

#[cfg(test)]
#[path = "adopt_tests.rs"]
mod tests;
