//! What a load of device state did, looked at before the VM runs: to its memory, and to its processors.
//!
//! Nothing but the delta's pages is to have been written. KVM alone writes by itself, where a guest told it to: the guest's
//! clocks are pages of its memory, and to restore the registers that name them writes them.
//!
//! QEMU says that a state was loaded whether KVM took all of it or not. So the state is asked for again and compared.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde_json::json;
use tokio::net::UnixStream;

use super::{
    address::host_address,
    cpu_state,
    deadlines::DEVICES,
    errors::{blocking, refused, said},
    layout::{Layout, Load},
    qmp::Qmp,
};
use crate::{
    VmError,
    file::{self, failed},
    snapshot::{
        SnapshotError,
        delta::{PAGE, Run, without},
        store::Method,
    },
};

/// Name of the file in the VM's folder with the state as it is after the load, until it is compared.
const AGAIN: &str = "devices.again";
/// Largest device state that is read, in bytes: it is some KiB.
const STATE: u64 = 64 << 20;
/// Bytes at the end of a stream with the memory in it, in which the devices are.
const END: u64 = 4 << 20;
/// Most numbers of pages that an error tells.
const TOLD: usize = 8;
/// Longest wait for QEMU to translate an address.
const ADDRESS: Duration = Duration::from_secs(5);

/// Compares the pages that are written with those of the delta, `runs`. Returns the others, which KVM wrote, with what is in
/// them.
pub(super) async fn check_memory(
    qmp: &mut Qmp<UnixStream>,
    layout: &Layout,
    runs: &[Run],
    devices: &Path,
) -> Result<Vec<String>, VmError> {
    let (filled, runs) = (layout.clone(), runs.to_vec());
    let (missing, beyond) = blocking(move || {
        let written = filled.open_ram()?.written()?;
        Ok((without(&runs, &written), without(&written, &runs)))
    })
    .await?;
    if !missing.is_empty() {
        return Err(said(&format!("of a snapshot's memory {} not there once it was loaded", pages(&missing))));
    }
    if beyond.is_empty() {
        return Ok(Vec::new());
    }
    let named = if layout.kvm() { written_by_kvm(qmp, layout, devices).await? } else { BTreeMap::new() };
    let (mut told, mut strange) = (Vec::new(), Vec::new());
    for page in beyond.iter().flat_map(|run| run.first..run.first + run.count) {
        match named.get(&page) {
            Some(what) => told.push(format!("page {page}: {what}")),
            None => strange.push(Run { first: page, count: 1 }),
        }
    }
    if strange.is_empty() {
        tracing::debug!(?told, "KVM wrote pages of its own while a snapshot was loaded");
        return Ok(told);
    }
    Err(said(&format!("while a snapshot was loaded, {} written that are not its own", pages(&strange))))
}

/// Numbers of the pages that KVM writes by itself, with what it writes there.
async fn written_by_kvm(
    qmp: &mut Qmp<UnixStream>,
    layout: &Layout,
    devices: &Path,
) -> Result<BTreeMap<u64, String>, VmError> {
    let path = devices.to_owned();
    let state = blocking(move || file::read_bounded(&path, STATE).map_err(failed(&path))).await?;
    let mut named = BTreeMap::new();
    for place in cpu_state::written_by_kvm(&state).map_err(|why| said(&why))? {
        // A guest may name what is no memory: then nothing is written there.
        let Ok(address) = host_address(qmp, place.address, ADDRESS).await else { continue };
        if let Some(offset) = address.checked_sub(layout.base).filter(|offset| *offset < layout.ram) {
            named.entry(offset / PAGE).or_insert(place.what);
        }
    }
    Ok(named)
}

fn pages(runs: &[Run]) -> String {
    let count: u64 = runs.iter().map(|run| run.count).sum();
    let numbers = runs.iter().flat_map(|run| run.first..run.first + run.count).take(TOLD);
    let mut numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    if count > TOLD as u64 {
        numbers.push("...".into());
    }
    let (noun, verb) = if count == 1 { ("page", "was") } else { ("pages", "were") };
    format!("{count} {noun} ({}) {verb}", numbers.join(", "))
}

/// Compares the processors with those that were to be loaded.
pub(super) async fn check_processors(qmp: &mut Qmp<UnixStream>, folder: &Path, load: &Load) -> Result<(), VmError> {
    let again = folder.join(AGAIN);
    let arguments = json!({"filename": again, "live": false});
    let asked = qmp.execute("xen-save-devices-state", arguments, DEVICES).await.map_err(refused);
    let (devices, method) = (load.devices.clone(), load.method);
    let compared = blocking(move || {
        let now = asked.and_then(|_| file::read_bounded(&again, STATE).map_err(failed(&again)));
        // Half of it is there where it was not written whole.
        let _ = fs::remove_file(&again);
        let now = now?;
        let then = match method {
            Method::Delta => file::read_bounded(&devices, STATE),
            Method::Full => file::read_end(&devices, END),
        };
        let then = then.map_err(failed(&devices))?;
        let then = if method == Method::Full { cpu_state::in_whole(&then) } else { &then };
        let different = cpu_state::differences(then, &now).map_err(|why| said(&why))?;
        Ok((devices, different))
    });
    let (devices, different) = compared.await?;
    if different.is_empty() {
        return Ok(());
    }
    let why = format!(
        "the processor did not take all of its state ({}): this host's kernel, microcode or processor is not what it was",
        different.join("; ")
    );
    Err(SnapshotError::Refused { path: devices.parent().unwrap_or(&devices).into(), why }.into())
}
