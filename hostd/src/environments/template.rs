//! The last part of a build: its disk boots once more, and that VM, frozen, is what sessions are cloned from. A clone has to
//! answer before anybody gets to see it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hostd_core::recipe::ROOT;
use pilothouse_proto::guest::v1::QuiesceRequest;
use tokio::time::timeout;

use super::{
    agent,
    bake::{self, Batch},
    exec::{self, Inside},
    files,
    types::EnvironmentError,
};
use crate::{
    gateway::Gateway,
    guest::Held,
    guest_vm::{GuestVm, Met},
    vm::{Memory, VmSpec, Vmm},
};

/// Number of steps that [`make`] takes.
pub(super) const STEPS: u32 = 3;
/// Name of the template's folder in its build's folder.
pub(super) const FOLDER: &str = "template";
/// Longest time for the guest to freeze and sync.
const QUIESCE: Duration = Duration::from_secs(60);

/// Makes `workshop/template` from a disk that was baked. No VM is left afterwards, however it went.
pub(super) async fn make(vmm: &dyn Vmm, gateway: &Arc<Gateway>, batch: &Batch<'_>) -> Result<(), EnvironmentError> {
    batch.progress.step("boot the template");
    let ram = batch.workshop.join("template.ram");
    let original = spec(batch, vec![batch.base.clone()], batch.disk(), Memory::Template(ram));
    let guest = GuestVm::start(vmm, original).await?;
    batch.reservation.set_vm(Some(guest.vm().clone()));
    let settled = bake::unless_it_ends(&guest, batch.progress, settle(&guest, gateway, batch)).await;
    let frozen = match settled {
        Ok((_held, boot_id)) => {
            batch.progress.step("freeze it");
            let written = guest.vm().snapshot(&batch.workshop.join(FOLDER)).await;
            written.map(|_| boot_id).map_err(|error| batch.progress.failure(&error.to_string()))
        }
        Err(error) => Err(error),
    };
    guest.end().await;
    batch.reservation.set_vm(None);
    prove(vmm, gateway, batch, &frozen?).await
}

/// Boots a VM until nothing is left to be done, and freezes its processes; returns what its link has left, and its boot id.
async fn settle(
    guest: &GuestVm,
    gateway: &Arc<Gateway>,
    batch: &Batch<'_>,
) -> Result<(Option<Held>, String), EnvironmentError> {
    let identity = batch.identity("build", 0)?;
    let Met { link, hello } = bake::meet(guest, identity, gateway, batch).await?;
    // The first command brings into memory what every later one needs, and a rehearsal what agents do: no clone has that for
    // itself.
    let inside = Inside::of(hello.client.clone(), batch.recipe);
    works(&inside, batch).await?;
    if let Some(devcontainer) = batch.devcontainer {
        devcontainer.start(&inside, batch.recipe, batch.progress).await?;
    }
    if let Err(why) = hello.rehearse().await {
        batch
            .progress
            .output(format!("no program was started on a terminal, so sessions will take longer to start one: {why}"));
    }
    let asked = timeout(QUIESCE, hello.client.clone().quiesce(QuiesceRequest { freeze: true, trim: true })).await;
    let held = link.close();
    match asked {
        Ok(Ok(_)) => Ok((held, hello.handshake.boot_id.clone())),
        Ok(Err(status)) => Err(batch.progress.failure(&format!("the guest did not freeze: {}", status.message()))),
        Err(_) => Err(batch.progress.failure("the guest did not freeze in time")),
    }
}

/// Starts a clone and lets it answer. The clone is gone afterwards, with all that it wrote.
async fn prove(
    vmm: &dyn Vmm,
    gateway: &Arc<Gateway>,
    batch: &Batch<'_>,
    boot_id: &str,
) -> Result<(), EnvironmentError> {
    batch.progress.step("prove it by a clone");
    let template = batch.workshop.join(FOLDER);
    let scratch = batch.workshop.join("proof.qcow2");
    vmm.create_disk(&scratch, batch.recipe.size.disk).await?;
    let layers = vec![batch.base.clone(), batch.disk()];
    let clone = spec(batch, layers, scratch.clone(), Memory::Clone(template.clone()));
    let guest = GuestVm::resume(vmm, clone, &template).await;
    let guest = guest.map_err(|error| batch.progress.failure(&error.to_string()))?;
    batch.reservation.set_vm(Some(guest.vm().clone()));
    let proved = bake::unless_it_ends(&guest, batch.progress, answer(&guest, gateway, batch, boot_id)).await;
    guest.end().await;
    batch.reservation.set_vm(None);
    files::remove(&scratch).await?;
    proved
}

async fn answer(
    guest: &GuestVm,
    gateway: &Arc<Gateway>,
    batch: &Batch<'_>,
    boot_id: &str,
) -> Result<(), EnvironmentError> {
    let Met { link: _link, hello } = bake::meet(guest, batch.identity("proof", 1)?, gateway, batch).await?;
    if hello.handshake.boot_id != boot_id {
        return Err(batch.progress.failure("the clone booted, instead of going on where the template was"));
    }
    works(&Inside::of(hello.client.clone(), batch.recipe), batch).await
}

/// Whether a program can be run in the guest.
async fn works(inside: &Inside, batch: &Batch<'_>) -> Result<(), EnvironmentError> {
    let end = exec::nothing(inside, ROOT, batch.progress).await?;
    end.map_or(Ok(()), |end| Err(batch.progress.failure(&format!("no program can be run: it {end}"))))
}

/// Looks for the recipe's agent in a build that is there: in a clone of its template, or in a VM that boots its layers.
pub(super) async fn find_agent(
    vmm: &dyn Vmm,
    gateway: &Arc<Gateway>,
    batch: &Batch<'_>,
    layers: Vec<PathBuf>,
    template: Option<PathBuf>,
) -> Result<(), EnvironmentError> {
    let scratch = batch.workshop.join("proof.qcow2");
    vmm.create_disk(&scratch, batch.recipe.size.disk).await?;
    files::folder(batch.vm()).await?;
    let guest = match template {
        Some(template) => {
            let clone = spec(batch, layers, scratch, Memory::Clone(template.clone()));
            GuestVm::resume(vmm, clone, &template).await?
        }
        None => GuestVm::start(vmm, spec(batch, layers, scratch, Memory::Own)).await?,
    };
    batch.reservation.set_vm(Some(guest.vm().clone()));
    let looked = async {
        let Met { link: _link, hello } = bake::meet(&guest, batch.identity("proof", 1)?, gateway, batch).await?;
        agent::check(&Inside::of(hello.client.clone(), batch.recipe), batch.recipe, batch.progress).await
    };
    let found = bake::unless_it_ends(&guest, batch.progress, looked).await;
    guest.end().await;
    batch.reservation.set_vm(None);
    found
}

fn spec(batch: &Batch<'_>, layers: Vec<PathBuf>, disk: PathBuf, memory: Memory) -> VmSpec {
    let (name, directory) = (batch.slug("build"), batch.vm());
    VmSpec { name, directory, size: batch.recipe.size, layers, disk, memory, cpu: batch.recipe.cpu }
}
