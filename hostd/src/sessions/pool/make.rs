//! A warm VM from a template, until it has answered.

use std::{path::Path, sync::Arc};

use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::{Warm, disk_in, remove};
use crate::{
    environments::ReadyBuild,
    gateway::{Caller, Gateway},
    guest::{Hello, Identity, Rehearsal, Rehearsed},
    guest_vm::{GuestVm, Met},
    vm::{Memory, VmError, VmSpec, Vmm},
};

/// A clone in a folder of its own in `root` that has shaken hands, and in which its agent's program was rehearsed, as far as it was before
/// `wanted` was ready; on an error, and where hostd ends meanwhile, nothing is left of it.
pub(super) async fn make(
    vmm: &dyn Vmm,
    gateway: &Arc<Gateway>,
    root: &Path,
    environment: &str,
    build: &ReadyBuild,
    stop: &CancellationToken,
    wanted: impl Future<Output = ()>,
) -> Result<Warm, String> {
    let id = Ulid::new().to_string();
    let folder = root.join(&id);
    let made = async {
        let guest = clone(vmm, &id, &folder, build).await.map_err(|error| error.to_string())?;
        let met = tokio::select! {
            met = guest.unless_it_ends(meet(gateway, &id, environment, build, &guest, wanted)) => {
                met.unwrap_or_else(|cause| Err(cause.to_string()))
            }
            () = stop.cancelled() => Err("hostd ends".into()),
        };
        match met {
            Ok(unrehearsed) => Ok((guest, unrehearsed)),
            Err(why) => {
                guest.end().await;
                Err(why)
            }
        }
    };
    match made.await {
        Ok((guest, unrehearsed)) => {
            Ok(Warm { environment: environment.into(), build: build.id.clone(), guest, folder, unrehearsed })
        }
        Err(why) => {
            remove(&folder).await;
            Err(why)
        }
    }
}

async fn clone(vmm: &dyn Vmm, id: &str, folder: &Path, build: &ReadyBuild) -> Result<GuestVm, VmError> {
    let failed = |error| VmError::File { path: folder.into(), error };
    let template = build.template.clone().unwrap_or_default();
    tokio::fs::create_dir_all(folder).await.map_err(failed)?;
    let (disk, size) = (disk_in(folder), build.recipe.size);
    vmm.create_disk(&disk, size.disk).await?;
    let (name, directory, layers) = (name(id), folder.into(), build.layers.clone());
    let (memory, cpu) = (Memory::Clone(template.clone()), build.recipe.cpu);
    let spec = VmSpec { name, directory, size, layers, disk, memory, cpu };
    GuestVm::resume(vmm, spec, &template).await
}

/// It answers, has started a program once, stands frozen until a session takes it, and is nobody's: it may reach nothing. Returns why its
/// agent's program was not rehearsed; empty: it was, or was not to be.
async fn meet(
    gateway: &Arc<Gateway>,
    id: &str,
    environment: &str,
    build: &ReadyBuild,
    guest: &GuestVm,
    wanted: impl Future<Output = ()>,
) -> Result<String, String> {
    let (slug, identity) = (name(id), Identity::lasting(id, name(id), 1));
    let met = guest.meet(identity, gateway, Caller::nowhere(id, &slug, environment)).await;
    let Met { link, hello } = met.map_err(|error| error.to_string())?;
    if let Err(why) = hello.rehearse().await {
        tracing::debug!(id, why, "a warm VM has not rehearsed");
    }
    let unrehearsed = match Rehearsal::of(&build.recipe, id) {
        Some(rehearsal) => rehearse(&rehearsal, id, &hello, wanted).await?,
        None => String::new(),
    };
    hello.freeze().await;
    drop(link.close());
    Ok(unrehearsed)
}

async fn rehearse(
    rehearsal: &Rehearsal,
    id: &str,
    hello: &Hello,
    wanted: impl Future<Output = ()>,
) -> Result<String, String> {
    let came = rehearsal.run(hello.client.clone(), wanted).await;
    match came.map_err(|why| format!("what is left of its agent's rehearsal is not known: {why}"))? {
        Rehearsed::Drawn(after) => {
            tracing::info!(id, seconds = after.as_secs_f32(), "the agent was rehearsed in a warm VM");
            Ok(String::new())
        }
        Rehearsed::CutShort => Ok("the VM was wanted before it had drawn anything".into()),
        Rehearsed::Failed(why) => Ok(why),
    }
}

fn name(id: &str) -> String {
    format!("warm-{}", id[id.len().saturating_sub(8)..].to_ascii_lowercase())
}
