//! A warm VM from a template, until it has answered.

use std::{path::Path, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::{Warm, disk_in, remove};
use crate::{
    environments::ReadyBuild,
    gateway::{Caller, Gateway},
    guest::{Identity, Link},
    vm::{Memory, Vm, VmError, VmSpec, Vmm},
};

/// For a clone to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// A clone in a folder of its own in `root` that has shaken hands; on an error, and where hostd ends meanwhile, nothing is left
/// of it.
pub(super) async fn make(
    vmm: &dyn Vmm,
    gateway: &Arc<Gateway>,
    root: &Path,
    environment: &str,
    build: &ReadyBuild,
    stop: &CancellationToken,
) -> Result<Warm, String> {
    let id = Ulid::new().to_string();
    let folder = root.join(&id);
    let made = async {
        let vm = clone(vmm, &id, &folder, build).await.map_err(|error| error.to_string())?;
        let met = tokio::select! {
            met = meet(gateway, &id, environment, vm.clone()) => met,
            cause = vm.ended() => Err(cause.to_string()),
            () = stop.cancelled() => Err("hostd ends".into()),
        };
        if met.is_err() {
            vm.end().await;
        }
        met.map(|()| vm)
    };
    match made.await {
        Ok(vm) => Ok(Warm { environment: environment.into(), build: build.id.clone(), vm, folder }),
        Err(why) => {
            remove(&folder).await;
            Err(why)
        }
    }
}

async fn clone(vmm: &dyn Vmm, id: &str, folder: &Path, build: &ReadyBuild) -> Result<Arc<dyn Vm>, VmError> {
    let failed = |error| VmError::File { path: folder.into(), error };
    let template = build.template.clone().unwrap_or_default();
    tokio::fs::create_dir_all(folder).await.map_err(failed)?;
    let (disk, size) = (disk_in(folder), build.recipe.size);
    vmm.create_disk(&disk, size.disk).await?;
    let (name, directory, layers) = (name(id), folder.into(), build.layers.clone());
    let (memory, cpu) = (Memory::Clone(template.clone()), build.recipe.cpu);
    let spec = VmSpec { name, directory, size, layers, disk, memory, cpu };
    vmm.resume(spec, &template).await
}

/// It answers, has started a program once, stands frozen until a session takes it, and is nobody's: it may reach nothing.
async fn meet(gateway: &Arc<Gateway>, id: &str, environment: &str, vm: Arc<dyn Vm>) -> Result<(), String> {
    let machine_id = blake3::hash(format!("machine-id {id}").as_bytes()).to_hex()[..32].to_owned();
    let identity = Identity { session_id: id.into(), slug: name(id), machine_id, generation: 1 };
    let caller = Caller {
        session_id: id.into(),
        slug: name(id),
        environment: environment.into(),
        repository: None,
        branch_prefix: None,
        also_read: vec![],
        egress: vec![],
    };
    let link = Link::start(vm, identity, gateway.clone(), Arc::new(caller));
    let met = link.client(HANDSHAKE).await.map_err(|error| error.to_string());
    if let Ok(hello) = &met {
        if let Err(why) = hello.rehearse().await {
            tracing::debug!(id, why, "a warm VM has not rehearsed");
        }
        hello.freeze().await;
    }
    drop(link.close());
    met.map(drop)
}

fn name(id: &str) -> String {
    format!("warm-{}", id[id.len().saturating_sub(8)..].to_ascii_lowercase())
}
