//! From a QEMU that waits to a VM that runs.

use std::path::Path;

use hostd_core::requirements::Requirements;
use serde_json::json;
use tokio::net::UnixStream;

use super::{
    deadlines::GREETING,
    disk::Disk,
    driver::file_name,
    installation::Installation,
    layout::{Layout, Load},
    machine::Machine,
    plan::{Begin, Plan},
    prelaunch::Prelaunch,
    record::Kept,
    serial::Serial,
    snapshot,
    standby::Ready,
};
use crate::{
    Memory, VmError, VmSpec,
    file::{absolute, failed},
};

/// Checks that a VM like this could start from this snapshot, and every file of that.
pub(super) async fn fits(installation: &Installation, spec: &VmSpec, from: &Path) -> Result<(), VmError> {
    for layer in &spec.layers {
        tokio::fs::metadata(layer).await.map_err(failed(layer))?;
    }
    let program = installation.program()?;
    let made = snapshot::made_with(from).await?;
    let plan = installation.plan(spec, &program, Some(made)).await?;
    let manifest = snapshot::fitting(from, &plan.requirements_of(spec)).await?;
    snapshot::open(from, manifest).await.map(drop)
}

/// Starts a VM, from a snapshot or by a boot; one that stands by is used where it fits.
pub(super) async fn launch(
    installation: &Installation,
    ready: &Ready,
    spec: &VmSpec,
    from: Option<&Path>,
) -> Result<Machine, VmError> {
    let program = installation.program()?;
    let resumed = from.filter(|from| !is_template(from, &spec.memory));
    let made = match resumed {
        Some(from) => Some(snapshot::made_with(from).await?),
        None => None,
    };
    let plan = installation.plan(spec, &program, made).await?;
    let requirements = plan.requirements_of(spec);
    let fitting = match from {
        Some(from) => Some((from, snapshot::fitting(from, &requirements).await?)),
        None => None,
    };
    let begin = if from.is_some() { Begin::Snapshot } else { Begin::Boot };
    let start = async || Prelaunch::start(&plan, spec, &program, begin).await;
    let waiting = async {
        // A session that begins takes a warm VM, or takes its time.
        if resumed.is_some()
            && let Some((prelaunch, disk)) = ready.take(spec, &requirements).await
        {
            return Ok((prelaunch, disk, true));
        }
        start().await.map(|prelaunch| (prelaunch, Disk::new(spec.layers.len()), false))
    };
    let opened = async {
        match fitting {
            Some((from, manifest)) => snapshot::open(from, manifest).await.map(Some),
            None => Ok(None),
        }
    };
    // To read a snapshot through takes about as long as a process takes to start, which gets none of it before that is done.
    let (load, waiting) = tokio::join!(opened, waiting);
    let load = match load {
        Ok(load) => load,
        Err(error) => {
            if let Ok((prelaunch, ..)) = waiting {
                prelaunch.end().await;
            }
            return Err(error);
        }
    };
    let (prelaunch, disk, stood_by) = waiting?;
    let launch = Launch { installation, plan: &plan, spec, requirements: &requirements, load };
    match launch.run(prelaunch, disk).await {
        Err((error, true)) if stood_by => {
            tracing::warn!(%error, "what stood by for a resume is of no use");
            launch.run(start().await?, Disk::new(spec.layers.len())).await
        }
        ran => ran,
    }
    .map_err(|(error, _)| error)
}

/// A session that begins gets today's guest: one whose template has another boots, and it is said how to mend that.
fn is_template(snapshot: &Path, memory: &Memory) -> bool {
    matches!(memory, Memory::Clone(template) if template == snapshot)
}

/// What makes a running VM of a QEMU that waits.
struct Launch<'a> {
    installation: &'a Installation,
    plan: &'a Plan,
    spec: &'a VmSpec,
    requirements: &'a Requirements,
    load: Option<Load>,
}

impl Launch<'_> {
    /// Fills the QEMU, where it is to be, and lets it run. An error comes with whether the process is gone.
    async fn run(&self, mut prelaunch: Prelaunch, mut disk: Disk) -> Result<Machine, (VmError, bool)> {
        let layout = Layout {
            pid: prelaunch.process.pid,
            base: prelaunch.base,
            ram: self.plan.ram(self.spec),
            memory: self.plan.memory.clone(),
            disk: file_name(&self.spec.disk),
            installation: self.installation.clone(),
            requirements: self.requirements.clone(),
        };
        match self.fill(&mut prelaunch, &mut disk, &layout).await {
            Ok(link) => {
                let folder = &self.spec.directory;
                Ok(Machine::start(folder, prelaunch, layout, disk, Serial::fresh(folder), link))
            }
            Err(error) => Err((error, prelaunch.end().await)),
        }
    }

    /// Keeps all that a later hostd needs to take the VM over, before it runs.
    fn keep(&self, prelaunch: &mut Prelaunch, disk: &Disk, layout: &Layout) -> Result<(), VmError> {
        prelaunch.record.machine = Some(Kept {
            base: layout.base,
            ram: layout.ram,
            memory: layout.memory.clone(),
            requirements: layout.requirements.clone(),
            nodes: disk.clone(),
            top: absolute(&self.spec.disk),
            change: None,
            from_snapshot: self.load.is_some(),
        });
        // When it was started, the process may still have been a wrapper's. It has greeted as QEMU since.
        prelaunch.record.executable = prelaunch.record.process.executable().ok();
        prelaunch.record.write(&prelaunch.folder).map_err(failed(&prelaunch.folder))
    }

    /// Fills the QEMU from the snapshot, its link's port connected before its devices are loaded. So it was when the guest was
    /// suspended: the guest sees no change, and has nothing to do before it hears its host.
    async fn fill(
        &self,
        prelaunch: &mut Prelaunch,
        disk: &mut Disk,
        layout: &Layout,
    ) -> Result<Option<UnixStream>, VmError> {
        let ahead = self.plan.read_ahead();
        let link = match &self.load {
            Some(load) => {
                let link = prelaunch.connect().await?;
                let give = async |qmp: &mut _| disk.give(qmp, &self.spec.layers, &self.spec.disk).await;
                snapshot::load(&mut prelaunch.qmp, layout, load, &self.spec.directory, give).await?;
                Some(link)
            }
            None => None,
        };
        self.keep(prelaunch, disk, layout)?;
        if let Some(ahead) = ahead {
            // It runs either way, and then takes more memory.
            match ahead.await {
                Ok(Ok(bytes)) => tracing::debug!(bytes, "what the page cache had not of a template was read"),
                Ok(Err(error)) => tracing::warn!(%error, "a template is not read ahead of its guest"),
                Err(error) => tracing::warn!(%error, "a template is not read ahead of its guest"),
            }
        }
        let runs = prelaunch.qmp.execute("cont", json!({}), GREETING).await;
        runs.map(|_| link).map_err(|error| prelaunch.said(&error))
    }
}
