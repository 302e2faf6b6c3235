//! A load of device state without a guest, as a clone's is: what it does to memory and to processors, seen where no guest boots.
//! It takes half a second, and all but the guest is what sessions have.

use std::{fs, path::Path};

use hostd_core::{recipe::Cpu, session::Size};

use super::{
    cpu_state,
    deadlines::DEVICES,
    errors::{blocking, said},
    images::{BLANK, create_layer},
    installation::Installation,
    layout::{Layout, Load},
    loaded, migration,
    plan::{Begin, Plan},
    prelaunch::Prelaunch,
    snapshot,
};
use crate::{Memory, VmError, VmSpec, file::failed, snapshot::store::Method};

/// Size of a bare VM. It has two processors, so that what is written for each is told apart.
const SIZE: Size = Size { vcpus: 2, memory: 64 << 20, disk: BLANK };
const STATE: &str = "state";

/// What a load without a guest did.
#[derive(Debug)]
pub struct Loaded {
    /// Pages that the load wrote by itself, with what is in them; or why a clone could not be used.
    pub memory: Result<Vec<String>, VmError>,
    /// Whether the processors were the same when their state was saved again; or what differed.
    pub processors: Result<(), VmError>,
}

/// A VM that waits for the state of another.
#[derive(Debug)]
pub(super) struct Bare {
    pub(super) prelaunch: Prelaunch,
    pub(super) layout: Layout,
    pub(super) load: Load,
}

impl Installation {
    /// Loads the state of a VM that never ran, with its clocks where a Linux guest has them, into a clone of it, and saves it
    /// again; `folder` is empty and stays. An error says why nothing was loaded.
    pub(super) async fn try_load(&self, folder: &Path) -> Result<Loaded, VmError> {
        let mut bare = self.bare(folder).await?;
        let loaded = bare.load().await;
        bare.prelaunch.end().await;
        loaded
    }

    pub(super) async fn bare(&self, folder: &Path) -> Result<Bare, VmError> {
        let template = folder.join("template");
        let (spec, plan, mut maker) = self.stand(folder, "maker", Memory::Template(folder.join("ram"))).await?;
        let layout = self.layout(&spec, &plan, &maker);
        let saved = snapshot::save(&mut maker.qmp, &layout, &template).await;
        maker.end().await;
        let (devices, state) = (template.join(&saved?.devices.name), folder.join(STATE));
        let to = state.clone();
        blocking(move || {
            let mut state = fs::read(&devices).map_err(failed(&devices))?;
            cpu_state::start_clocks(&mut state).map_err(|why| said(&why))?;
            fs::write(&to, state).map_err(failed(&to))
        })
        .await?;
        let (spec, plan, prelaunch) = self.stand(folder, "clone", Memory::Clone(template)).await?;
        let layout = self.layout(&spec, &plan, &prelaunch);
        Ok(Bare { prelaunch, layout, load: Load { devices: state, delta: None, method: Method::Delta } })
    }

    /// Starts a VM that does not run.
    async fn stand(&self, folder: &Path, name: &str, memory: Memory) -> Result<(VmSpec, Plan, Prelaunch), VmError> {
        let program = self.program()?;
        let directory = folder.join(name);
        fs::create_dir(&directory).map_err(failed(&directory))?;
        let disk = directory.join("disk.qcow2");
        create_layer(&self.search, &disk, SIZE.disk).await?;
        let begin = if matches!(memory, Memory::Clone(_)) { Begin::Snapshot } else { Begin::Boot };
        let spec = VmSpec {
            name: format!("bare-{name}"),
            directory,
            size: SIZE,
            layers: vec![],
            disk,
            memory,
            cpu: Cpu::default(),
        };
        let plan = self.plan(&spec, &program, None).await?;
        let prelaunch = Prelaunch::start(&plan, &spec, &program, begin).await?;
        Ok((spec, plan, prelaunch))
    }

    fn layout(&self, spec: &VmSpec, plan: &Plan, prelaunch: &Prelaunch) -> Layout {
        Layout {
            pid: prelaunch.process.pid,
            base: prelaunch.base,
            ram: plan.ram(spec),
            memory: plan.memory.clone(),
            disk: spec.disk.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            installation: self.clone().with_method(Method::Delta),
            requirements: plan.requirements_of(spec),
        }
    }
}

impl Bare {
    async fn load(&mut self) -> Result<Loaded, VmError> {
        migration::load(&mut self.prelaunch.qmp, &self.load.devices, DEVICES).await?;
        Ok(self.check().await)
    }

    async fn check(&mut self) -> Loaded {
        let Prelaunch { qmp, folder, .. } = &mut self.prelaunch;
        let memory = loaded::check_memory(qmp, &self.layout, &[], &self.load.devices).await;
        let processors = loaded::check_processors(qmp, folder, &self.load).await;
        Loaded { memory, processors }
    }
}

#[cfg(test)]
#[path = "bare_tests.rs"]
mod tests;
