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
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use hostd_core::requirements::Requirements;
use serde_json::json;
use tokio::net::UnixStream;

use super::{
    deadlines::DEVICES,
    errors::{blocking, refused},
    halt,
    layout::{Layout, Load},
    loaded, migration,
    qmp::Qmp,
};
use crate::{
    Memory, VmError,
    file::failed,
    snapshot::{
        DEVICES_NAME, MEMORY_NAME, RAM_NAME,
        delta::Run,
        store::{Manifest, Method, Stored},
    },
};

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
    if layout.installation.method() == Method::Full {
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

/// Moves a template's RAM, now final, into its snapshot's folder.
fn template(ram: &Path, folder: &Path) -> Result<Stored, VmError> {
    let moved = folder.join(RAM_NAME);
    sync(ram)?;
    std::fs::set_permissions(ram, Permissions::from_mode(0o444)).map_err(failed(ram))?;
    std::fs::rename(ram, &moved).map_err(failed(ram))?;
    Ok(Stored::stamped(folder, RAM_NAME)?)
}

/// The snapshot in this folder, once it is known to fit what is `here`. Its files are not read.
pub(super) async fn fitting(folder: &Path, here: &Requirements) -> Result<Manifest, VmError> {
    let (folder, here) = (folder.to_owned(), here.clone());
    blocking(move || {
        let manifest = Manifest::read(&folder)?;
        manifest.check(&folder, &here)?;
        Ok(manifest)
    })
    .await
}

/// Files for a VM that starts from this snapshot, all of them checked. Reads all of them.
pub(super) async fn open(folder: &Path, manifest: Manifest) -> Result<Load, VmError> {
    let folder = folder.to_owned();
    blocking(move || {
        manifest.verify(&folder)?;
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
