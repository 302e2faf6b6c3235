//! Memory and devices of a VM, out to files and back.
//!
//! The order matters. Out: stop, device state, then the memory, which the device state's writer may still touch. In: memory
//! first, because virtio checks its rings in RAM as it loads; then device state; then it is seen what was written ([`loaded`]);
//! then it runs.
//!
//! Where that does not work on a machine's QEMU, QEMU writes and loads all of it in one stream of its own ([`migration`]).

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hostd_core::requirements::Requirements;
use serde_json::json;
use tokio::net::UnixStream;

use super::{
    Qemu, halt, loaded, migration,
    qmp::{Qmp, QmpError},
};
use crate::vm::{
    Memory, VmError,
    accelerator::Accelerator,
    file::failed,
    program::QEMU,
    snapshot::{
        delta::{Ram, Run},
        store::{Manifest, Method, Stored},
    },
};

/// Longest time for QEMU to write or load device state, some KiB.
pub(super) const DEVICES: Duration = Duration::from_secs(30);
const MEMORY_NAME: &str = "memory.zst";
pub(super) const DEVICES_NAME: &str = "devices";
/// Name of a template's RAM in its folder.
pub(super) const RAM_NAME: &str = "ram";

/// What is known of a VM's memory and disk from its start on.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) pid: u32,
    /// Address of the guest's first byte of RAM in the process.
    pub(super) base: u64,
    /// Bytes of RAM.
    pub(super) ram: u64,
    pub(super) memory: Memory,
    /// File name of the layer that the VM writes to.
    pub(super) disk: String,
    /// The QEMU that knows how snapshots are written: it may be found out after the VM was started.
    pub(super) qemu: Qemu,
    pub(super) requirements: Requirements,
}

impl Layout {
    /// Whether KVM runs the guest.
    pub(super) fn kvm(&self) -> bool {
        self.requirements.accelerator == Accelerator::Kvm.name()
    }

    pub(super) fn open_ram(&self) -> Result<Ram, VmError> {
        Ok(Ram::open(self.pid, self.base, self.ram)?)
    }
}

/// Files that a VM is filled with which starts from a snapshot.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) devices: PathBuf,
    /// Path of the delta; None: a template's RAM is mapped, or a whole stream has it with the devices.
    pub(super) delta: Option<PathBuf>,
    pub(super) method: Method,
}

/// Stops the VM and writes its snapshot; returns its manifest.
pub(super) async fn save(qmp: &mut Qmp<UnixStream>, layout: &Layout, folder: &Path) -> Result<Manifest, VmError> {
    halt::stop(qmp).await?;
    let beside = folder.with_extension("new");
    match std::fs::remove_dir_all(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&beside)(error)),
        _ => std::fs::create_dir_all(&beside).map_err(failed(&beside))?,
    }
    let saved = write(qmp, layout, folder, &beside).await;
    if saved.is_err() {
        // What is left of it is swept by the next try.
        let _ = std::fs::remove_dir_all(&beside);
    }
    saved
}

async fn write(qmp: &mut Qmp<UnixStream>, layout: &Layout, folder: &Path, beside: &Path) -> Result<Manifest, VmError> {
    let devices = beside.join(DEVICES_NAME);
    if layout.qemu.method() == Method::Full {
        migration::save(qmp, &devices).await?;
        let (layout, folder, beside) = (layout.clone(), folder.to_owned(), beside.to_owned());
        return blocking(move || whole(layout, &folder, &beside)).await;
    }
    let arguments = json!({"filename": devices, "live": false});
    qmp.execute("xen-save-devices-state", arguments, DEVICES).await.map_err(refused)?;
    let (layout, folder, beside) = (layout.clone(), folder.to_owned(), beside.to_owned());
    blocking(move || {
        let mut requirements = layout.requirements.clone();
        let memory = match &layout.memory {
            Memory::Template(file) => {
                let stored = template(file, &beside)?;
                requirements.template.clone_from(&stored.hash);
                stored
            }
            Memory::Own | Memory::Clone(_) => {
                let path = beside.join(MEMORY_NAME);
                let template = match &layout.memory {
                    Memory::Clone(template) => Some(template.join(RAM_NAME)),
                    Memory::Own | Memory::Template(_) => None,
                };
                let saved = layout.open_ram()?.save(&path, template.as_deref())?;
                Stored { name: MEMORY_NAME.into(), bytes: saved.file_bytes, hash: saved.hash, stamp: None }
            }
        };
        let manifest =
            Manifest::new(now(), requirements, layout.ram, layout.disk, memory, Stored::of(&beside, DEVICES_NAME)?);
        manifest.publish(&beside, &folder)?;
        Ok(manifest)
    })
    .await
}

/// The manifest of a snapshot that QEMU wrote as one stream.
fn whole(layout: Layout, folder: &Path, beside: &Path) -> Result<Manifest, VmError> {
    let memory = beside.join(MEMORY_NAME);
    File::create(&memory).map_err(failed(&memory))?;
    sync(&beside.join(DEVICES_NAME))?;
    let mut requirements = layout.requirements;
    let devices = match &layout.memory {
        Memory::Template(ram) => {
            // Its RAM is in the stream now.
            std::fs::remove_file(ram).map_err(failed(ram))?;
            let stored = Stored::stamped(beside, DEVICES_NAME)?;
            requirements.template.clone_from(&stored.hash);
            stored
        }
        Memory::Own | Memory::Clone(_) => Stored::of(beside, DEVICES_NAME)?,
    };
    let memory = Stored::of(beside, MEMORY_NAME)?;
    let manifest = Manifest::new(now(), requirements, layout.ram, layout.disk, memory, devices).by(Method::Full);
    manifest.publish(beside, folder)?;
    Ok(manifest)
}

/// Fills a QEMU that waits for it: the delta into its memory, and what is to be done with it `meanwhile`; then its devices. The
/// result is compared; `folder` is the VM's.
pub(super) async fn load(
    qmp: &mut Qmp<UnixStream>,
    layout: &Layout,
    load: &Load,
    folder: &Path,
    meanwhile: impl AsyncFnOnce(&mut Qmp<UnixStream>) -> Result<(), VmError>,
) -> Result<(), VmError> {
    if load.method == Method::Full {
        meanwhile(qmp).await?;
        migration::load(qmp, &load.devices, migration::WHOLE).await?;
    } else {
        let runs = fill(qmp, layout, load, meanwhile).await?;
        migration::load(qmp, &load.devices, DEVICES).await?;
        loaded::check_memory(qmp, layout, &runs, &load.devices).await?;
    }
    loaded::check_processors(qmp, folder, load).await
}

/// Writes the pages of the delta into the memory of the VM; returns their numbers.
pub(super) async fn fill(
    qmp: &mut Qmp<UnixStream>,
    layout: &Layout,
    load: &Load,
    meanwhile: impl AsyncFnOnce(&mut Qmp<UnixStream>) -> Result<(), VmError>,
) -> Result<Vec<Run>, VmError> {
    let (filled, delta) = (layout.clone(), load.delta.clone());
    let loading = blocking(move || match delta {
        Some(delta) => Ok(filled.open_ram()?.load(&delta)?),
        None => Ok(Vec::new()),
    });
    // Both to their end: nobody writes into the memory of a process that is given up.
    let (runs, done) = tokio::join!(loading, meanwhile(qmp));
    runs.and_then(|runs| done.map(|()| runs))
}

/// Address in QEMU's process of a physical address of the guest's memory; an error where there is no memory.
pub(super) async fn host_address(qmp: &mut Qmp<UnixStream>, address: u64, within: Duration) -> Result<u64, VmError> {
    let command = json!({"command-line": format!("gpa2hva {address:#x}")});
    let answer = qmp.execute("human-monitor-command", command, within).await.map_err(refused)?;
    let text = answer.as_str().unwrap_or_default();
    let address = text.rsplit_once("is 0x").and_then(|(_, hex)| u64::from_str_radix(hex.trim(), 16).ok());
    address.ok_or_else(|| said(&format!("QEMU does not say where its RAM is: {}", hostd_core::text::clean(text, 200))))
}

/// Moves a template's RAM, now final, into its snapshot's folder.
fn template(ram: &Path, folder: &Path) -> Result<Stored, VmError> {
    let moved = folder.join(RAM_NAME);
    sync(ram)?;
    std::fs::set_permissions(ram, Permissions::from_mode(0o444)).map_err(failed(ram))?;
    std::fs::rename(ram, &moved).map_err(failed(ram))?;
    Ok(Stored::stamped(folder, RAM_NAME)?)
}

/// Files for a VM that starts from this snapshot, all of them compared and checked. Reads all of them.
pub(super) async fn open(folder: &Path, here: &Requirements) -> Result<Load, VmError> {
    let (folder, here) = (folder.to_owned(), here.clone());
    blocking(move || {
        let manifest = Manifest::read(&folder)?;
        manifest.check(&folder, &here)?;
        let devices = folder.join(&manifest.devices.name);
        let by_us = manifest.method == Method::Delta && manifest.memory.stamp.is_none();
        let delta = by_us.then(|| folder.join(&manifest.memory.name));
        Ok(Load { devices, delta, method: manifest.method })
    })
    .await
}

/// Requirements that the snapshot in this folder was made with.
pub(super) async fn made_with(folder: &Path) -> Result<Requirements, VmError> {
    let folder = folder.to_owned();
    blocking(move || Ok(Manifest::read(&folder)?.requirements)).await
}

fn sync(path: &Path) -> Result<(), VmError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(failed(path))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn refused(error: QmpError) -> VmError {
    said(&error.to_string())
}

pub(super) fn said(output: &str) -> VmError {
    VmError::Failed { program: QEMU.name.into(), output: output.into() }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VmError> + Send + 'static,
) -> Result<T, VmError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(said(&error.to_string())))
}
