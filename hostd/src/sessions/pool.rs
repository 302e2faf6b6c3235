//! Warm VMs: clones of templates that run already, for sessions to come.
//!
//! Each has a folder `warm/ID/`, an identity of its own and has shaken hands with it. A session that takes one links its disk
//! into the session's folder and gives the guest the session's identity; the VM's own files stay in `warm/ID/` until it ends.
//! What is to be done is planned by [`hostd_core::capacity::plan_pool`], one step at a time, and below the sessions' own
//! starts: nothing is started while a session starts or waits.

pub(super) mod keep;
mod make;
mod standby;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::FutureExt as _;
use hostd_core::Lifecycle;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::disk::folder::Folder;
use crate::{
    guest_vm::{self, GuestVm},
    store::Record,
    vm::{MemoryUse, Vm, Vmm},
};

/// Dispatches that are remembered.
const REMEMBERED: usize = 256;
/// One of them, in the log.
const WHAT: &str = "a warm VM";
/// Name of the file in a VM's folder with the id of the session that has taken it.
const TAKEN: &str = "taken";
/// What of a VM's folder is worth keeping after its end.
const LOGS: [&str; 2] = ["serial.log", "qemu.log"];

/// The warm VMs of a host.
#[derive(Default)]
pub(super) struct Pool {
    state: Mutex<State>,
    look: Notify,
    /// Told when one is ready.
    stocked: Notify,
    stop: CancellationToken,
    /// Cancelled when its task has ended.
    over: CancellationToken,
}

#[derive(Default)]
struct State {
    ready: Vec<Warm>,
    /// Folders of those that sessions have, by session.
    taken: BTreeMap<String, PathBuf>,
    /// When one was taken last.
    took: Option<Instant>,
    /// Who was dispatched when, the oldest first.
    dispatched: VecDeque<(String, Instant)>,
    /// Set aside for sessions that are about to start, by session.
    reserved: BTreeMap<String, Warm>,
    /// Of these environments none is started before: the last one failed.
    not_before: BTreeMap<String, Instant>,
    /// Why the agent was not rehearsed in the newest VM, by environment.
    unrehearsed: BTreeMap<String, String>,
}

/// A VM without a session.
struct Warm {
    environment: String,
    build: String,
    guest: GuestVm,
    folder: PathBuf,
    /// Why its agent's program was not rehearsed in it; empty: it was, or was not to be.
    unrehearsed: String,
}

impl Warm {
    fn lives(&self) -> bool {
        self.guest.vm().ended().now_or_never().is_none()
    }

    async fn end(self) {
        self.guest.end().await;
        remove(&self.folder).await;
    }
}

impl Pool {
    /// Looks at once at what is to be done.
    pub(super) fn look_again(&self) {
        self.look.notify_one();
    }

    /// A session was asked for.
    pub(super) fn dispatched(&self, environment: &str) {
        let mut state = self.lock();
        if state.dispatched.len() == REMEMBERED {
            state.dispatched.pop_front();
        }
        state.dispatched.push_back((environment.into(), Instant::now()));
        drop(state);
        self.look_again();
    }

    /// Bytes of memory that are those VMs' alone which nobody has taken.
    pub(super) fn used(&self) -> u64 {
        let state = self.lock();
        state.ready.iter().chain(state.reserved.values()).map(|warm| warm.guest.vm().memory().private).sum()
    }

    /// How many VMs nobody has taken.
    pub(super) fn ready(&self) -> u32 {
        u32::try_from(self.lock().ready.len()).unwrap_or(u32::MAX)
    }

    /// Of those VMs, each page that they share counted for its part.
    pub(super) fn memory_part(&self) -> MemoryUse {
        let state = self.lock();
        state.ready.iter().chain(state.reserved.values()).map(|warm| warm.guest.vm().memory_part()).sum()
    }

    /// The folder of the VM that a session has taken, while it runs.
    pub(super) fn taken(&self, session: &str) -> Option<PathBuf> {
        self.lock().taken.get(session).cloned()
    }

    /// Ends all that nobody has taken; nothing is started any more.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.over.cancelled().await;
    }

    /// Waits until one can be set aside for this session; `has_disk` says whether the disk has room for what the session would
    /// write. Cancel safe.
    pub(super) async fn reserved(self: &Arc<Self>, record: &Record, has_disk: impl Fn() -> bool) -> Reserved {
        loop {
            let mut stocked = std::pin::pin!(self.stocked.notified());
            stocked.as_mut().enable();
            if let Some(reserved) = self.reserve(record, &has_disk) {
                return reserved;
            }
            stocked.await;
        }
    }

    /// Sets one aside for a session's first start. It has its memory already and does not boot, so it waits for neither; None:
    /// there is none, or the disk has no room.
    fn reserve(self: &Arc<Self>, record: &Record, has_disk: impl Fn() -> bool) -> Option<Reserved> {
        let Record { session, machine } = record;
        let first = session.lifecycle == Lifecycle::Queued && session.generation == 0 && machine.template.is_some();
        if !first || !has_disk() {
            return None;
        }
        let mut state = self.lock();
        let warm = ready(&mut state, &session.build)?;
        state.reserved.insert(session.id.clone(), warm);
        Some(Reserved { pool: self.clone(), session: session.id.clone() })
    }

    /// A VM of this build for the session of this id, whose disk becomes `disk` in the session's folder, where nothing may be
    /// yet. What lies in the VM's own folder is looked after until it ends; then its logs move to the session's.
    pub(super) async fn take(
        self: &Arc<Self>,
        session: &str,
        build: &str,
        folder: &Folder,
        disk: &str,
    ) -> Option<GuestVm> {
        let Warm { guest, folder: own, .. } = {
            let mut state = self.lock();
            let reserved = state.reserved.remove(session).filter(Warm::lives);
            let warm = reserved.or_else(|| ready(&mut state, build))?;
            state.taken.insert(session.into(), warm.folder.clone());
            state.took = Some(Instant::now());
            warm
        };
        self.look_again();
        let disk = folder.layer(disk);
        let linked = async {
            tokio::fs::write(own.join(TAKEN), session).await?;
            tokio::fs::hard_link(disk_in(&own), &disk).await
        };
        let linked = linked.await;
        tokio::spawn(self.clone().after(session.into(), folder.clone(), guest.vm().clone(), own));
        match linked {
            Ok(()) => Some(guest),
            Err(error) => {
                tracing::warn!(session, disk = %disk.display(), %error, "a warm VM could not be taken");
                guest.end().await;
                None
            }
        }
    }

    /// A session has this VM of an earlier hostd.
    pub(super) fn took_over(self: &Arc<Self>, session: &str, folder: &Folder, vm: Arc<dyn Vm>, own: &Path) {
        self.lock().taken.insert(session.into(), own.to_owned());
        tokio::spawn(self.clone().after(session.into(), folder.clone(), vm, own.to_owned()));
    }

    /// Tidies up after a VM that a session had taken.
    async fn after(self: Arc<Self>, session: String, folder: Folder, vm: Arc<dyn Vm>, own: PathBuf) {
        vm.ended().await;
        self.over(&session, &folder, &own).await;
    }

    /// Keeps the logs of a VM that a session had taken and that has ended, and removes the rest of its folder.
    pub(super) async fn over(&self, session: &str, folder: &Folder, own: &Path) {
        for name in LOGS {
            // Mostly there is none, and a session that was deleted has no place for it.
            let _ = tokio::fs::rename(own.join(name), folder.path().join(name)).await;
        }
        self.lock().taken.remove(session);
        remove(own).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A warm VM that is set aside for a session until it takes it; one that is not taken goes back when this is dropped.
pub(super) struct Reserved {
    pool: Arc<Pool>,
    session: String,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        if let Some(warm) = state.reserved.remove(&self.session) {
            state.ready.push(warm);
            self.pool.stocked.notify_waiters();
        }
    }
}

fn ready(state: &mut State, build: &str) -> Option<Warm> {
    let at = state.ready.iter().position(|warm| warm.build == build && warm.lives())?;
    Some(state.ready.swap_remove(at))
}

/// Ends what an earlier hostd left in this data folder, but for the VMs in these folders.
pub(super) async fn sweep(vmm: &dyn Vmm, data: &Path, but: &[PathBuf]) {
    guest_vm::sweep_but(vmm, &root(data), WHAT, but).await;
}

/// The folders of those that sessions of an earlier hostd have taken, by session.
pub(super) async fn left(data: &Path) -> BTreeMap<String, PathBuf> {
    let mut left = BTreeMap::new();
    // Where there is none, none was taken.
    let Ok(mut folders) = tokio::fs::read_dir(root(data)).await else { return left };
    while let Ok(Some(folder)) = folders.next_entry().await {
        if let Ok(session) = tokio::fs::read_to_string(folder.path().join(TAKEN)).await {
            left.insert(session, folder.path());
        }
    }
    left
}

fn root(data: &Path) -> PathBuf {
    data.join("warm")
}

fn disk_in(folder: &Path) -> PathBuf {
    folder.join("disk.qcow2")
}

async fn remove(folder: &Path) {
    guest_vm::remove(folder, WHAT).await;
}
