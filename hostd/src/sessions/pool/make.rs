//! A warm VM from a template, until it has answered.

use std::{path::Path, sync::Arc, time::Duration};

use ulid::Ulid;

use super::{Host, Warm, disk_in, remove, root};
use crate::{
    environments::ReadyBuild,
    gateway::Caller,
    guest::{Identity, Link},
    vm::{Memory, Vm, VmError, VmSpec},
};

/// For a clone to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// A clone that has shaken hands; on an error nothing is left of it.
pub(super) async fn make(host: &Host, environment: &str, build: &ReadyBuild) -> Result<Warm, String> {
    let id = Ulid::new().to_string();
    let folder = root(host).join(&id);
    let made = async {
        let vm = clone(host, &id, &folder, build).await.map_err(|error| error.to_string())?;
        let met = tokio::select! {
            met = meet(host, &id, environment, vm.clone()) => met,
            cause = vm.ended() => Err(cause.to_string()),
            () = host.pool.stop.cancelled() => Err("hostd ends".into()),
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

async fn clone(host: &Host, id: &str, folder: &Path, build: &ReadyBuild) -> Result<Arc<dyn Vm>, VmError> {
    let failed = |error| VmError::File { path: folder.into(), error };
    let template = build.template.clone().unwrap_or_default();
    tokio::fs::create_dir_all(folder).await.map_err(failed)?;
    let (disk, size) = (disk_in(folder), build.recipe.size);
    host.parts.vmm.create_disk(&disk, size.disk).await?;
    let (name, directory, layers) = (name(id), folder.into(), build.layers.clone());
    let (memory, cpu) = (Memory::Clone(template.clone()), build.recipe.cpu);
    let spec = VmSpec { name, directory, size, layers, disk, memory, cpu };
    host.parts.vmm.resume(spec, &template).await
}

/// It answers, has started a program once, stands frozen until a session takes it, and is nobody's: it may reach nothing.
async fn meet(host: &Host, id: &str, environment: &str, vm: Arc<dyn Vm>) -> Result<(), String> {
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
    let link = Link::start(vm, identity, host.parts.gateway.clone(), Arc::new(caller));
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
