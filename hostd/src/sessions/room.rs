//! Room on this host: who may start or be resumed, and who waits for it. The rules are [`hostd_core::capacity`]'s; here are
//! the measurements, the promises and the queue.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hostd_core::{
    Input,
    capacity::{Admission, Need, Room},
};
use tokio::{
    sync::{Mutex, Notify, mpsc},
    time::timeout,
};

use super::{fleet::Host, host::meminfo, supervisor::Message};

/// Between two looks at a host that has no room; an end of a VM is looked at at once.
const AGAIN: Duration = Duration::from_secs(1);
/// Free memory is told in steps of so many bytes, so that not every page is news.
const STEP: u64 = 16 << 20;

/// What has been promised, and the queue for more.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    /// Bytes of memory that VMs together may use; None: what the host has.
    limit: Option<u64>,
    /// Bytes of memory given to starts that are under way.
    promised: Arc<AtomicU64>,
    /// Whoever looks for room: one at a time, in the order in which they came.
    turn: Mutex<()>,
    /// Told when a VM has ended, or a promise is not needed any more.
    freed: Arc<Notify>,
}

/// Memory set aside for a start under way; given back when dropped.
#[derive(Debug)]
pub(super) struct Promise {
    bytes: u64,
    promised: Arc<AtomicU64>,
    freed: Arc<Notify>,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.bytes, Ordering::Relaxed);
        self.freed.notify_waiters();
    }
}

impl Rooms {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// A VM has ended.
    pub(super) fn freed(&self) {
        self.freed.notify_waiters();
    }

    fn promise(&self, bytes: u64) -> Promise {
        self.promised.fetch_add(bytes, Ordering::Relaxed);
        Promise { bytes, promised: self.promised.clone(), freed: self.freed.clone() }
    }

    /// With `used` by VMs now.
    fn measure(&self, data: &Path, used: u64) -> Room {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let disk = rustix::fs::statvfs(data).ok();
        // What cannot be measured does not stand in the way.
        let disk = |blocks: fn(&rustix::fs::StatVfs) -> u64| {
            disk.as_ref().map_or(u64::MAX, |disk| blocks(disk).saturating_mul(disk.f_frsize))
        };
        Room {
            memory_total: meminfo(&memory, "MemTotal:"),
            memory_available: meminfo(&memory, "MemAvailable:"),
            memory_promised: self.promised.load(Ordering::Relaxed),
            memory_limit: self.limit,
            memory_used: used,
            disk_total: disk(|disk| disk.f_blocks),
            disk_available: disk(|disk| disk.f_bavail),
        }
    }
}

impl Host {
    /// What is left now. Reads a few files of /proc.
    pub(super) fn room(&self) -> Room {
        let lives: Vec<_> = self.handles().values().filter_map(|handle| handle.live.borrow().clone()).collect();
        let used: u64 = lives.iter().map(|live| live.vm.memory().private).sum();
        self.rooms.measure(&self.parts.data, used.saturating_add(self.pool.used()))
    }

    /// Waits until there is room for a VM of this much memory, and sets it aside. `reports` are told why it waits.
    ///
    /// # Errors
    /// Why there never will be.
    pub(super) async fn admit(&self, memory: u64, reports: &mpsc::Sender<Message>) -> Result<Promise, String> {
        let turn = self.rooms.turn.lock();
        tokio::pin!(turn);
        let _turn = match timeout(AGAIN, &mut turn).await {
            Ok(turn) => turn,
            Err(_) => {
                wait(reports, "waits for room: others wait for it already".into()).await;
                turn.await
            }
        };
        let need = Need { memory, disk: 0 };
        let mut said = String::new();
        loop {
            let freed = self.rooms.freed.notified();
            match in_steps(self.room(), need) {
                Admission::Admit => return Ok(self.rooms.promise(memory)),
                Admission::Refuse(why) => return Err(why),
                Admission::Wait(why) if why == said => {}
                Admission::Wait(why) => {
                    said.clone_from(&why);
                    wait(reports, why).await;
                }
            }
            // Nobody need be told what has changed: it is looked at again either way.
            let _ = timeout(AGAIN, freed).await;
        }
    }
}

async fn wait(reports: &mpsc::Sender<Message>, why: String) {
    // Nobody hears it where the session is gone, and its wait with it.
    let _ = reports.send(Message::NoPlace(Input::Waits { why })).await;
}

/// The rules' answer, told so that small changes do not change it.
fn in_steps(room: Room, need: Need) -> Admission {
    match room.admit(need) {
        Admission::Wait(_) => {
            let down = |bytes: u64| bytes - bytes % STEP;
            let coarse = Room {
                memory_available: down(room.memory_available),
                memory_used: room.memory_used.next_multiple_of(STEP),
                disk_available: down(room.disk_available),
                ..room
            };
            coarse.admit(need)
        }
        answer => answer,
    }
}
