//! Room on this host: one ledger of what was reserved for whom, and one queue for more. Sessions, warm VMs, CI and builds all
//! ask here. The rules are [`hostd_core::capacity`]'s and [`hostd_core::queue`]'s; here are measurements and reservations.

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
    capacity::{DESCRIPTORS, Decision, Need, Room},
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

/// Admits VMs to a host: the ledger of the room that is reserved, and the queue for more. Clones share it.
#[derive(Clone)]
pub struct Admission(Arc<Inner>);

struct Inner {
    /// Measures what the host has, without reservations and VMs.
    measure: Box<dyn Fn() -> Room + Send + Sync>,
    /// Bytes of memory of the VMs that run and are not in the ledger: nothing is reserved for them any more.
    settled: OnceLock<Box<dyn Fn() -> u64 + Send + Sync>>,
    ledger: Mutex<Ledger>,
    /// Why no VM is let in; None: those that there is room for are.
    closed: Mutex<Option<String>>,
    /// Told when a VM has ended, or a reservation is not needed any more.
    freed: Notify,
}

#[derive(Default)]
struct Ledger {
    next: u64,
    reservations: BTreeMap<u64, Reserved>,
    queue: Vec<Waiter>,
}

struct Reserved {
    kind: Kind,
    bytes: u64,
    /// VM that takes the reserved memory; None: the VM has not been started.
    vm: Option<Arc<dyn Vm>>,
}

/// Memory that is reserved for a VM; given back when the reservation is dropped.
pub struct Reservation {
    id: u64,
    admission: Admission,
}

impl Admission {
    /// The room of this machine, whose VMs write to this folder and may use `limit` bytes of memory; None: what the host has.
    #[must_use]
    pub fn new(data: PathBuf, limit: Option<u64>) -> Self {
        Self::measured(move || measure(&data, limit))
    }

    /// The room of a host that is measured by this function.
    pub(crate) fn measured(measure: impl Fn() -> Room + Send + Sync + 'static) -> Self {
        let (settled, ledger, closed) = (OnceLock::new(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { measure: Box::new(measure), settled, ledger, closed, freed: Notify::new() }))
    }

    /// Counts this memory of VMs too. `used` is asked while the ledger is held: it must not ask for room.
    pub(crate) fn count(&self, used: impl Fn() -> u64 + Send + Sync + 'static) {
        // A host has one fleet.
        let _ = self.0.settled.set(Box::new(used));
    }

    /// Lets no VM in from now on but copies that are read, for this reason; None: lets them in again.
    pub(crate) fn close(&self, why: Option<String>) {
        *self.0.closed.lock().unwrap_or_else(PoisonError::into_inner) = why;
        self.freed();
    }

    /// Why no VM of this kind is let in.
    fn closed(&self, kind: Kind) -> Option<String> {
        let closed = self.0.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.clone().filter(|_| kind != Kind::Copy)
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
        let vms = ledger.reservations.values().filter(|reserved| reserved.kind == kind).filter_map(|p| p.vm.as_ref());
        let mut all = MemoryUse::default();
        for part in vms.map(|vm| vm.memory_part()) {
            (all.private, all.shared) = (all.private + part.private, all.shared + part.shared);
        }
        all
    }

    /// How many VMs of this kind are in the ledger, and the bytes of memory that are theirs alone.
    pub(crate) fn vms(&self, kind: Kind) -> (u64, u64) {
        let ledger = self.ledger();
        let vms = ledger.reservations.values().filter(|reserved| reserved.kind == kind).filter_map(|r| r.vm.as_ref());
        vms.fold((0, 0), |(count, bytes), vm| (count + 1, bytes + vm.memory().private))
    }

    /// Resources that whoever is next in the queue needs; None: nobody waits.
    pub(crate) fn waiting(&self) -> Option<Need> {
        let ledger = self.ledger();
        ledger.queue.iter().min_by_key(|waiter| (waiter.purpose, waiter.order)).map(|waiter| waiter.need)
    }

    /// Decides by a rule that sees what is left, and sets aside the bytes that it gives; nobody else decides meanwhile.
    pub(crate) fn decide<T>(
        &self,
        kind: Kind,
        rule: impl FnOnce(&Room) -> (T, Option<u64>),
    ) -> (T, Option<Reservation>) {
        let mut ledger = self.ledger();
        let mut room = self.left(&ledger);
        // Sessions that are set aside so run already.
        if kind != Kind::Session && self.closed(kind).is_some() {
            room.memory_available = 0;
        }
        let (answer, bytes) = rule(&room);
        (answer, bytes.map(|bytes| self.reservation(&mut ledger, kind, bytes)))
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
    ) -> Result<Reservation, String> {
        let place = Place::take(self, purpose, need);
        let mut said = String::new();
        loop {
            let mut freed = std::pin::pin!(self.0.freed.notified());
            // From now on, and not from when it is waited for.
            freed.as_mut().enable();
            match place.look(kind) {
                Ok(reservation) => return Ok(reservation),
                Err(Decision::Refuse(why)) => return Err(why),
                Err(Decision::Wait(why)) if why != said => {
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
        for Reserved { bytes, vm, .. } in ledger.reservations.values() {
            let taken = vm.as_ref().map_or(0, |vm| vm.memory().private);
            room.memory_used = room.memory_used.saturating_add(taken);
            room.memory_promised = room.memory_promised.saturating_add(bytes.saturating_sub(taken));
            if vm.is_none() {
                room.descriptors = room.descriptors.saturating_sub(DESCRIPTORS);
            }
        }
        room
    }

    fn reservation(&self, ledger: &mut Ledger, kind: Kind, bytes: u64) -> Reservation {
        ledger.next += 1;
        ledger.reservations.insert(ledger.next, Reserved { kind, bytes, vm: None });
        Reservation { id: ledger.next, admission: self.clone() }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

impl Reservation {
    /// Names the VM that takes what was reserved; what it uses counts as used, and no longer as reserved. None: it has ended.
    pub(crate) fn set_vm(&self, vm: Option<Arc<dyn Vm>>) {
        if let Some(reserved) = self.admission.ledger().reservations.get_mut(&self.id) {
            reserved.vm = vm;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.admission.ledger().reservations.remove(&self.id);
        self.admission.freed();
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A place in the queue; given up when dropped.
struct Place<'a> {
    admission: &'a Admission,
    order: u64,
    need: Need,
}

impl<'a> Place<'a> {
    fn take(admission: &'a Admission, purpose: Purpose, need: Need) -> Self {
        let mut ledger = admission.ledger();
        ledger.next += 1;
        let order = ledger.next;
        ledger.queue.push(Waiter { order, purpose, need, passed: 0 });
        Self { admission, order, need }
    }

    fn look(&self, kind: Kind) -> Result<Reservation, Decision> {
        if let Some(why) = self.admission.closed(kind) {
            return Err(Decision::Wait(format!("waits: {why}")));
        }
        let mut ledger = self.admission.ledger();
        let room = self.admission.left(&ledger);
        match queue::may_go(&ledger.queue, self.order, &room) {
            Some(Decision::Admit) => {
                queue::leave(&mut ledger.queue, self.order);
                let reservation = self.admission.reservation(&mut ledger, kind, self.need.memory);
                drop(ledger);
                // The next one looks.
                self.admission.freed();
                Ok(reservation)
            }
            // Told so that small changes do not change it.
            Some(answer) => Err(queue::may_go(&ledger.queue, self.order, &coarse(room)).unwrap_or(answer)),
            None => Err(Decision::Refuse("it is not in the queue any more".into())),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let waited = {
            let mut ledger = self.admission.ledger();
            let before = ledger.queue.len();
            ledger.queue.retain(|waiter| waiter.order != self.order);
            ledger.queue.len() < before
        };
        if waited {
            self.admission.freed();
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
