//! Room on this host: one ledger of what was promised to whom, and one queue for more. Sessions, warm VMs, CI and builds all
//! ask here. The rules are [`hostd_core::capacity`]'s and [`hostd_core::queue`]'s; here are measurements and promises.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use hostd_core::{
    capacity::{Admission, DESCRIPTORS, Need, Room},
    queue::{self, Purpose, Waiter},
};
use tokio::{sync::Notify, time::timeout};

use crate::vm::{MemoryUse, Vm, identity::kib};

/// Pause between two looks at a host that has no room; an end of a VM is looked at at once.
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes in whose steps free memory is told, so that not every page is news.
const STEP: u64 = 16 << 20;

/// Kind of a VM, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The VM of a session.
    Session,
    /// A warm VM, which no session has yet.
    Warm,
    /// The VM of a check's run.
    Ci,
    /// The VM of an environment's build.
    Build,
    /// A copy of a suspended session's VM, in which the session is read.
    Copy,
}

/// The room of a host, shared by all that take of it.
#[derive(Clone)]
pub struct Rooms(Arc<Inner>);

struct Inner {
    /// Measures what the host has, without promises and VMs.
    measure: Box<dyn Fn() -> Room + Send + Sync>,
    /// Bytes of memory of the VMs that run and are not in the ledger: they were promised no more.
    settled: OnceLock<Box<dyn Fn() -> u64 + Send + Sync>>,
    ledger: Mutex<Ledger>,
    /// Told when a VM has ended, or a promise is not needed any more.
    freed: Notify,
}

#[derive(Default)]
struct Ledger {
    next: u64,
    promises: BTreeMap<u64, Promised>,
    queue: Vec<Waiter>,
}

struct Promised {
    kind: Kind,
    bytes: u64,
    /// VM that takes the promised memory, if it has been started.
    vm: Option<Arc<dyn Vm>>,
}

/// Memory that is set aside for a VM; given back when dropped.
pub struct Promise {
    id: u64,
    rooms: Rooms,
}

impl Rooms {
    /// The room of this machine, whose VMs write to this folder and may use `limit` bytes of memory; None: what the host has.
    #[must_use]
    pub fn new(data: PathBuf, limit: Option<u64>) -> Self {
        Self::measured(move || measure(&data, limit))
    }

    /// The room of a host that is measured by this function.
    pub(crate) fn measured(measure: impl Fn() -> Room + Send + Sync + 'static) -> Self {
        let (settled, ledger) = (OnceLock::new(), Mutex::default());
        Self(Arc::new(Inner { measure: Box::new(measure), settled, ledger, freed: Notify::new() }))
    }

    /// Counts this memory of VMs too. `used` is asked while the ledger is held: it must not ask for room.
    pub(crate) fn count(&self, used: impl Fn() -> u64 + Send + Sync + 'static) {
        // A host has one fleet.
        let _ = self.0.settled.set(Box::new(used));
    }

    /// Tells who waits that a VM has ended.
    pub(crate) fn freed(&self) {
        self.0.freed.notify_waiters();
    }

    /// Room that is left now. Reads a few files of /proc.
    #[must_use]
    pub fn room(&self) -> Room {
        self.left(&self.ledger())
    }

    /// Memory of the VMs of this kind in the ledger, each page that they share counted for its part.
    pub(crate) fn of_kind(&self, kind: Kind) -> MemoryUse {
        let ledger = self.ledger();
        let vms = ledger.promises.values().filter(|promised| promised.kind == kind).filter_map(|p| p.vm.as_ref());
        let mut all = MemoryUse::default();
        for part in vms.map(|vm| vm.memory_part()) {
            (all.private, all.shared) = (all.private + part.private, all.shared + part.shared);
        }
        all
    }

    /// Resources that whoever is next in the queue needs; None: nobody waits.
    pub(crate) fn waiting(&self) -> Option<Need> {
        let ledger = self.ledger();
        ledger.queue.iter().min_by_key(|waiter| (waiter.purpose, waiter.order)).map(|waiter| waiter.need)
    }

    /// Decides by a rule that sees what is left, and sets aside the bytes that it gives; nobody else decides meanwhile.
    pub(crate) fn decide<T>(&self, kind: Kind, rule: impl FnOnce(&Room) -> (T, Option<u64>)) -> (T, Option<Promise>) {
        let mut ledger = self.ledger();
        let (answer, bytes) = rule(&self.left(&ledger));
        (answer, bytes.map(|bytes| self.promise(&mut ledger, kind, bytes)))
    }

    /// Waits until there is room for a VM of this need, and sets its memory aside. `say` is told why it waits.
    ///
    /// # Errors
    /// Why there never will be.
    pub(crate) async fn admit<S: Future<Output = ()>>(
        &self,
        kind: Kind,
        purpose: Purpose,
        need: Need,
        mut say: impl FnMut(String) -> S,
    ) -> Result<Promise, String> {
        let place = Place::take(self, purpose, need);
        let mut said = String::new();
        loop {
            let mut freed = std::pin::pin!(self.0.freed.notified());
            // From now on, and not from when it is waited for.
            freed.as_mut().enable();
            match place.look(kind) {
                Ok(promise) => return Ok(promise),
                Err(Admission::Refuse(why)) => return Err(why),
                Err(Admission::Wait(why)) if why != said => {
                    said.clone_from(&why);
                    say(why).await;
                }
                Err(_) => {}
            }
            // Nobody need be told what has changed: it is looked at again either way.
            let _ = timeout(AGAIN, freed).await;
        }
    }

    fn left(&self, ledger: &Ledger) -> Room {
        let mut room = (self.0.measure)();
        room.memory_used = room.memory_used.saturating_add(self.0.settled.get().map_or(0, |used| used()));
        for Promised { bytes, vm, .. } in ledger.promises.values() {
            let taken = vm.as_ref().map_or(0, |vm| vm.memory().private);
            room.memory_used = room.memory_used.saturating_add(taken);
            room.memory_promised = room.memory_promised.saturating_add(bytes.saturating_sub(taken));
            if vm.is_none() {
                room.descriptors = room.descriptors.saturating_sub(DESCRIPTORS);
            }
        }
        room
    }

    fn promise(&self, ledger: &mut Ledger, kind: Kind, bytes: u64) -> Promise {
        ledger.next += 1;
        ledger.promises.insert(ledger.next, Promised { kind, bytes, vm: None });
        Promise { id: ledger.next, rooms: self.clone() }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").finish_non_exhaustive()
    }
}

impl Promise {
    /// Names the VM that takes what was promised; what it uses counts as used, and no longer as promised. None: it has ended.
    pub(crate) fn set_vm(&self, vm: Option<Arc<dyn Vm>>) {
        if let Some(promised) = self.rooms.ledger().promises.get_mut(&self.id) {
            promised.vm = vm;
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.rooms.ledger().promises.remove(&self.id);
        self.rooms.freed();
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A place in the queue; given up when dropped.
struct Place<'a> {
    rooms: &'a Rooms,
    order: u64,
    need: Need,
}

impl<'a> Place<'a> {
    fn take(rooms: &'a Rooms, purpose: Purpose, need: Need) -> Self {
        let mut ledger = rooms.ledger();
        ledger.next += 1;
        let order = ledger.next;
        ledger.queue.push(Waiter { order, purpose, need, passed: 0 });
        Self { rooms, order, need }
    }

    fn look(&self, kind: Kind) -> Result<Promise, Admission> {
        let mut ledger = self.rooms.ledger();
        let room = self.rooms.left(&ledger);
        match queue::may_go(&ledger.queue, self.order, &room) {
            Some(Admission::Admit) => {
                queue::leave(&mut ledger.queue, self.order);
                let promise = self.rooms.promise(&mut ledger, kind, self.need.memory);
                drop(ledger);
                // The next one looks.
                self.rooms.freed();
                Ok(promise)
            }
            // Told so that small changes do not change it.
            Some(answer) => Err(queue::may_go(&ledger.queue, self.order, &coarse(room)).unwrap_or(answer)),
            None => Err(Admission::Refuse("it is not in the queue any more".into())),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let waited = {
            let mut ledger = self.rooms.ledger();
            let before = ledger.queue.len();
            ledger.queue.retain(|waiter| waiter.order != self.order);
            ledger.queue.len() < before
        };
        if waited {
            self.rooms.freed();
        }
    }
}

fn coarse(room: Room) -> Room {
    let down = |bytes: u64| bytes - bytes % STEP;
    Room {
        memory_available: down(room.memory_available),
        memory_used: room.memory_used.checked_next_multiple_of(STEP).unwrap_or(room.memory_used),
        disk_available: down(room.disk_available),
        // Those few that are told of change with each call.
        descriptors: room.descriptors - room.descriptors % 8,
        ..room
    }
}

fn measure(data: &std::path::Path, limit: Option<u64>) -> Room {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let disk = crate::disk::measure(data);
    Room {
        memory_total: kib(&memory, "MemTotal:").unwrap_or(0),
        memory_available: kib(&memory, "MemAvailable:").unwrap_or(0),
        memory_promised: 0,
        memory_limit: limit,
        memory_used: 0,
        // What cannot be measured does not stand in the way.
        disk_total: disk.map_or(u64::MAX, |disk| disk.total),
        disk_available: disk.map_or(u64::MAX, |disk| disk.available),
        descriptors: crate::descriptors::left(),
    }
}
