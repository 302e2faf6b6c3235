//! QEMUs that stand by: each maps a template and waits for a snapshot that is against it, so that a resume need not wait for
//! a process to start. It has no guest and the template's layers alone; a resume gives it the session's.
//!
//! Each has a folder `standby/ID/` in the data folder. What a hostd that died left there is ended by the next one.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hostd_core::requirements::Requirements;
use ulid::Ulid;

use super::{disk::Disk, errors::said, installation::Installation, orphan, plan::Begin, prelaunch::Prelaunch};
use crate::{
    Memory, MemoryUse, Standby, VmError, VmSpec,
    file::{absolute, failed},
    identity::ProcessIdentity,
};

const FOLDER: &str = "standby";
/// Time for which a kind is not tried again after one that did not come up.
const PAUSE: Duration = Duration::from_secs(30);

/// The QEMUs that stand by now.
#[derive(Debug, Default)]
pub(super) struct Ready {
    ones: Mutex<Vec<One>>,
    /// Held while the QEMUs that stand by are changed.
    changing: tokio::sync::Mutex<Changing>,
}

#[derive(Debug, Default)]
struct Changing {
    /// Whether nothing is left of what an earlier hostd had here.
    swept: bool,
    /// Kinds of those that did not come up, and when that was.
    failed: Vec<(Standby, Instant)>,
}

#[derive(Debug)]
struct One {
    kind: Standby,
    requirements: Requirements,
    prelaunch: Prelaunch,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, Vec<One>> {
        self.ones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory that the QEMUs that stand by hold of the host.
    pub(super) fn memory(&self, of: fn(&ProcessIdentity) -> MemoryUse) -> MemoryUse {
        let processes: Vec<_> = self.lock().iter().map(|one| one.prelaunch.record.process.clone()).collect();
        processes.iter().map(of).sum()
    }

    /// Has one QEMU of each of these kinds stand by, and no others.
    pub(super) async fn keep(&self, installation: &Installation, wanted: &[Standby]) {
        let mut changing = self.changing.lock().await;
        if !changing.swept {
            changing.swept = sweep(&installation.data.join(FOLDER)).await;
        }
        changing.failed.retain(|(_, at)| at.elapsed() < PAUSE);
        let mut others = Vec::new();
        let mut have: Vec<Standby> = Vec::new();
        {
            let mut ones = self.lock();
            for mut one in std::mem::take(&mut *ones) {
                if wanted.contains(&one.kind) && !have.contains(&one.kind) && one.prelaunch.runs() {
                    have.push(one.kind.clone());
                    ones.push(one);
                } else {
                    others.push(one);
                }
            }
        }
        for one in others {
            one.end().await;
        }
        let paused: Vec<Standby> = changing.failed.iter().map(|(standby, _)| standby.clone()).collect();
        for standby in wanted.iter().filter(|standby| !have.contains(standby) && !paused.contains(standby)) {
            match One::start(installation, standby).await {
                Ok(Some(one)) => {
                    let pid = one.prelaunch.process.pid;
                    self.lock().push(one);
                    tracing::info!(template = ?standby.template, pid, "a VM stands by for a resume");
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(template = ?standby.template, %error, "nothing stands by for a resume");
                    changing.failed.push((standby.clone(), Instant::now()));
                }
            }
        }
    }

    /// Takes one that is started just as this VM would be, now in its folder, and the disk that it has. None: there is none.
    pub(super) async fn take(&self, spec: &VmSpec, requirements: &Requirements) -> Option<(Prelaunch, Disk)> {
        let one = {
            let mut ones = self.lock();
            let fits = |one: &One| {
                one.requirements == *requirements
                    && spec.memory == Memory::Clone(absolute(&one.kind.template))
                    && one.kind.size == spec.size
                    && spec.layers.starts_with(&one.kind.layers)
            };
            let at = ones.iter().position(fits)?;
            ones.swap_remove(at)
        };
        let One { kind, mut prelaunch, .. } = one;
        let folder = prelaunch.folder.clone();
        let moved = if prelaunch.runs() { prelaunch.move_to(&spec.directory) } else { Err(said("it has ended")) };
        match moved {
            Ok(()) => {
                remove(&folder);
                Some((prelaunch, Disk::to_come(kind.layers.len())))
            }
            Err(error) => {
                tracing::warn!(%error, "what stood by for a resume is of no use");
                if prelaunch.end().await {
                    remove(&folder);
                }
                None
            }
        }
    }
}

impl One {
    /// Starts one of this kind. None: snapshots against such a template are loaded otherwise.
    async fn start(installation: &Installation, standby: &Standby) -> Result<Option<Self>, VmError> {
        let program = installation.program()?;
        let id = Ulid::new().to_string();
        let folder = installation.data.join(FOLDER).join(&id);
        let spec = VmSpec {
            name: format!("standby-{}", id[id.len().saturating_sub(8)..].to_ascii_lowercase()),
            directory: folder.clone(),
            size: standby.size,
            layers: standby.layers.clone(),
            disk: PathBuf::new(),
            memory: Memory::Clone(absolute(&standby.template)),
            cpu: standby.cpu,
        };
        let plan = installation.plan(&spec, &program, None).await?;
        if !matches!(plan.memory, Memory::Clone(_)) {
            return Ok(None);
        }
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        match Prelaunch::start(&plan, &spec, &program, Begin::StandBy).await {
            Ok(prelaunch) => {
                let requirements = plan.requirements_of(&spec);
                Ok(Some(Self { kind: standby.clone(), requirements, prelaunch }))
            }
            Err(error) => {
                remove(&folder);
                Err(error)
            }
        }
    }

    async fn end(self) {
        let folder = self.prelaunch.folder.clone();
        if self.prelaunch.end().await {
            remove(&folder);
        }
    }
}

/// Ends and removes what an earlier hostd left; returns whether nothing is left.
async fn sweep(root: &Path) -> bool {
    let mut all = true;
    for folder in fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()) {
        match orphan::end(&folder).await {
            Ok(_) => remove(&folder),
            Err(error) => {
                tracing::error!(?folder, %error, "what stood by for a resume may still run");
                all = false;
            }
        }
    }
    all
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(?folder, %error, "what stood by for a resume left its folder behind");
    }
}
