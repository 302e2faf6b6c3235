//! Room on a host: who may start, who waits, and how many warm VMs are kept. Pure: measurements come in, plans go out.

use crate::{
    recipe::Warm,
    session::{Lifecycle, Session},
};

/// Resources that a host has left, as measured just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes of memory that the host has in all.
    pub memory_total: u64,
    /// Bytes of memory that can be had without swapping (`MemAvailable`).
    pub memory_available: u64,
    /// Bytes of memory that starts already under way have yet to take.
    pub memory_promised: u64,
    /// Bytes of memory that all VMs together may use; `None`: whatever the host has.
    pub memory_limit: Option<u64>,
    /// Bytes of memory that VMs use now, each counted once.
    pub memory_used: u64,
    /// Bytes that the file system of the data folder has in all.
    pub disk_total: u64,
    /// Bytes free on the file system of the data folder.
    pub disk_available: u64,
    /// Number of files that hostd could still open, less those of starts already under way.
    pub descriptors: u64,
}

/// The disk of the data folder, as measured just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that the disk's file system has in all.
    pub total: u64,
    /// Bytes free on the disk's file system.
    pub available: u64,
}

impl Disk {
    /// Bytes of disk that are kept free, so that a suspend always finds room.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        DISK_RESERVE.min(self.total / 4)
    }

    /// Bytes of disk that may be given out: what is free beyond the reserve.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.available.saturating_sub(self.reserve())
    }

    /// Why nothing of the disk may be given out, in words for a person; None: something may.
    #[must_use]
    pub fn below_reserve(&self) -> Option<String> {
        let (available, reserve) = (self.available / MIB, self.reserve() / MIB);
        (self.free() == 0).then(|| {
            format!(
                "the host's disk has {available} MiB free, and {reserve} MiB are kept free for suspends; make room \
                 (`pilothouse host show` names who takes it)"
            )
        })
    }
}

/// Resources that a VM will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Most bytes of memory that the VM may take.
    pub memory: u64,
    /// Bytes of disk that the VM needs at once.
    pub disk: u64,
}

/// Answer to whether a VM may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The VM may start now.
    Admit,
    /// The VM may start when something else has ended; the reason, in words for a person.
    Wait(String),
    /// The VM can never start on this host; the reason, in words for a person.
    Refuse(String),
}

/// Warm VMs of one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Name of the environment.
    pub environment: String,
    /// Number of warm VMs that are kept whatever the demand is.
    pub min: u32,
    /// Most warm VMs that are kept.
    pub max: u32,
    /// Number of warm VMs that are ready.
    pub ready: u32,
    /// Number of warm VMs that are being started.
    pub starting: u32,
    /// Whether the last warm VM did not come up; no other is started for now.
    pub paused: bool,
    /// Number of sessions that will be wanted soon; today those dispatched in the last minutes, later a forecast.
    pub demand: u32,
    /// Resources that one more warm VM takes.
    pub need: Need,
}

/// The next step towards the right number of warm VMs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolStep {
    /// Start one warm VM.
    Start {
        /// Name of the VM's environment.
        environment: String,
    },
    /// End one warm VM.
    End {
        /// Name of the VM's environment.
        environment: String,
    },
}

const MIB: u64 = 1 << 20;
/// Least memory kept free for hostd and the host itself, in bytes; a sixteenth of the memory where that is more.
const MEMORY_RESERVE: u64 = 512 * MIB;
/// Most disk space kept free so that a suspend always finds room, in bytes; a quarter of the disk where that is less.
const DISK_RESERVE: u64 = 2048 * MIB;
/// File descriptors of hostd's that are kept for each VM that is started, and for the programs run for it.
pub const DESCRIPTORS: u64 = 32;
/// Most VMs without a guest that stand by.
const STANDBYS: usize = 4;
/// Bytes of memory that must be free for each VM that stands by: some ten times what it takes.
const STANDBY_MEMORY: u64 = 256 * MIB;

impl Room {
    /// Bytes of memory that are kept free for the host itself.
    #[must_use]
    pub fn memory_reserve(&self) -> u64 {
        (self.memory_total / 16).max(MEMORY_RESERVE).min(self.memory_total / 2)
    }

    /// Bytes of disk that are kept free, so that a suspend always finds room.
    #[must_use]
    pub fn disk_reserve(&self) -> u64 {
        self.disk_measured().reserve()
    }

    /// Bytes of memory that may be given out now.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let of_host = self.memory_available.saturating_sub(self.memory_reserve());
        let of_limit = self.memory_limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.memory_used));
        of_host.min(of_limit).saturating_sub(self.memory_promised)
    }

    /// Most bytes of memory that a VM can ever have on this host.
    #[must_use]
    pub fn memory_most(&self) -> u64 {
        self.memory_total.saturating_sub(self.memory_reserve()).min(self.memory_limit.unwrap_or(u64::MAX))
    }

    /// Bytes of disk that may be given out now.
    #[must_use]
    pub fn disk(&self) -> u64 {
        self.disk_measured().free()
    }

    fn disk_measured(&self) -> Disk {
        Disk { total: self.disk_total, available: self.disk_available }
    }

    /// Whether a VM with this need may start now.
    #[must_use]
    pub fn admit(&self, need: Need) -> Decision {
        let most = self.memory_most();
        if need.memory > most {
            let (need, most) = (need.memory / MIB, most / MIB);
            return Decision::Refuse(format!(
                "it needs {need} MiB of memory, and this host gives at most {most} MiB; lower `size.memory` of its environment"
            ));
        }
        if need.memory > self.memory() {
            let (need, free) = (need.memory / MIB, self.memory() / MIB);
            return Decision::Wait(format!("waits for memory: needs {need} MiB, {free} MiB free"));
        }
        if self.descriptors < DESCRIPTORS {
            return Decision::Wait(format!(
                "waits for file descriptors: hostd may open {} more, and keeps {DESCRIPTORS} for a VM; raise its limit \
                 (LimitNOFILE= of its service, `ulimit -n`)",
                self.descriptors
            ));
        }
        let disk = self.disk_measured();
        if let Some(why) = disk.below_reserve() {
            return Decision::Wait(format!("waits for disk space: {why}"));
        }
        if need.disk > disk.free() {
            let (need, free, reserve) = (need.disk / MIB, disk.available / MIB, disk.reserve() / MIB);
            return Decision::Wait(format!(
                "waits for disk space: needs {need} MiB beside the reserve of {reserve} MiB, {free} MiB free"
            ));
        }
        Decision::Admit
    }
}

/// Plans the next step towards the right number of warm VMs; `None`: the number is right, or a start is under way.
///
/// Warm VMs go before anything else suffers: where the room is gone, or is too small for the session that is `waiting` for it,
/// one is ended, and none is started while a session waits. Otherwise the environment that lacks most
/// of what it wants gets one more, if it fits. One at a time: each step is planned on what the last one left.
#[must_use]
pub fn plan_pool(stocks: &[Stock], room: &Room, waiting: Option<Need>) -> Option<PoolStep> {
    let surplus = |s: &&Stock| i64::from(s.ready) - i64::from(s.wanted());
    let in_the_way = waiting.is_some_and(|need| matches!(room.admit(need), Decision::Wait(_)));
    if in_the_way || room.memory() == 0 || room.disk() == 0 {
        let most = stocks.iter().filter(|s| s.ready > 0).max_by_key(surplus)?;
        return Some(PoolStep::End { environment: most.environment.clone() });
    }
    if let Some(over) = stocks.iter().filter(|s| s.ready > 0 && surplus(s) > 0).max_by_key(surplus) {
        return Some(PoolStep::End { environment: over.environment.clone() });
    }
    if waiting.is_some() || stocks.iter().any(|s| s.starting > 0) {
        return None;
    }
    let lacking = stocks.iter().filter(|s| !s.paused && s.ready < s.wanted() && room.admit(s.need) == Decision::Admit);
    lacking.min_by_key(surplus).map(|s| PoolStep::Start { environment: s.environment.clone() })
}

/// Whether a VM may stand by for this session: it is suspended, and its environment keeps warm VMs.
#[must_use]
pub fn may_have_standby(session: &Session, warm: Warm) -> bool {
    session.lifecycle == Lifecycle::Suspended && !session.deleting && warm.max > 0
}

/// Chooses the kinds of suspended sessions for which a VM without a guest stands by: those of most sessions, and none where
/// memory is short, or too little for the session that is `waiting` for it. `sessions` has the number of sessions of each kind;
/// the kinds come back as places in it. `held` are the bytes that the VMs take which stand by already.
#[must_use]
pub fn plan_standby(sessions: &[usize], room: &Room, held: u64, waiting: Option<Need>) -> Vec<usize> {
    let in_the_way = waiting.is_some_and(|need| matches!(room.admit(need), Decision::Wait(_)));
    if in_the_way || room.memory() == 0 {
        return Vec::new();
    }
    let fit = usize::try_from(room.memory().saturating_add(held) / STANDBY_MEMORY).unwrap_or(usize::MAX);
    let mut kinds: Vec<usize> = (0..sessions.len()).filter(|&kind| sessions[kind] > 0).collect();
    kinds.sort_by_key(|&kind| std::cmp::Reverse(sessions[kind]));
    kinds.truncate(STANDBYS.min(fit));
    kinds
}

impl Stock {
    /// Number of warm VMs that there are to be: the demand, within `min` and `max`.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        self.demand.clamp(self.min, self.max.max(self.min))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const GIB: u64 = 1 << 30;

    #[test]
    fn most_sessions_have_one_stand_by() {
        let plenty = room(64 * GIB);
        let plan = |sessions: &[usize], room: &Room| plan_standby(sessions, room, 0, None);
        assert!(plan(&[], &plenty).is_empty());
        assert_eq!(plan(&[1, 0, 3], &plenty), [2, 0]);
        assert_eq!(plan(&[1, 9, 2, 8, 7, 7], &plenty), [1, 3, 4, 5]);
        let reserve = plenty.memory_reserve();
        assert_eq!(plan(&[5, 6], &room(reserve + STANDBY_MEMORY)), [1]);
        assert!(plan(&[5, 6], &room(reserve)).is_empty());
    }

    #[test]
    fn one_that_stands_by_is_in_nobodys_way_and_stays() {
        let reserve = room(64 * GIB).memory_reserve();
        let taken = STANDBY_MEMORY / 8;
        let left = room(reserve + STANDBY_MEMORY - taken);
        assert!(plan_standby(&[1], &left, 0, None).is_empty());
        assert_eq!(plan_standby(&[1], &left, taken, None), [0]);
        let need = |memory| Some(Need { memory, disk: 0 });
        assert_eq!(plan_standby(&[1], &left, taken, need(STANDBY_MEMORY / 2)), [0]);
        assert!(plan_standby(&[1], &left, taken, need(STANDBY_MEMORY)).is_empty());
    }

    #[test]
    fn suspended_sessions_of_environments_that_keep_vms_warm_may_have_one_stand_by() {
        let suspended = Session { lifecycle: Lifecycle::Suspended, ..crate::session::tests::new().0 };
        let (warm, cold) = (Warm { min: 0, max: 1 }, Warm::default());
        assert!(may_have_standby(&suspended, warm));
        assert!(!may_have_standby(&suspended, cold));
        assert!(!may_have_standby(&Session { deleting: true, ..suspended.clone() }, warm));
        assert!(!may_have_standby(&Session { lifecycle: Lifecycle::Resuming, ..suspended }, warm));
    }

    pub(crate) fn room(available: u64) -> Room {
        Room {
            memory_total: 16 * GIB,
            memory_available: available,
            memory_promised: 0,
            memory_limit: None,
            memory_used: 2 * GIB,
            disk_total: 200 * GIB,
            disk_available: 100 * GIB,
            descriptors: 1024,
        }
    }

    fn stock(environment: &str, ready: u32, demand: u32) -> Stock {
        let need = Need { memory: GIB / 2, disk: 0 };
        Stock { environment: environment.into(), min: 1, max: 3, ready, starting: 0, paused: false, demand, need }
    }

    #[test]
    fn who_never_fits_is_refused_and_who_does_not_fit_now_waits() {
        let need = |memory| Need { memory, disk: 0 };
        assert_eq!(room(8 * GIB).admit(need(GIB)), Decision::Admit);
        assert!(
            matches!(room(8 * GIB).admit(need(7 * GIB + GIB / 2)), Decision::Wait(why) if why.contains("7680 MiB"))
        );
        assert!(matches!(room(8 * GIB).admit(need(16 * GIB)), Decision::Refuse(_)));
        let promised = Room { memory_promised: 7 * GIB, ..room(8 * GIB) };
        assert!(matches!(promised.admit(need(GIB)), Decision::Wait(_)));
        let full = Room { disk_available: GIB, ..room(8 * GIB) };
        let below = "waits for disk space: the host's disk has 1024 MiB free, and 2048 MiB are kept free for suspends; \
            make room (`pilothouse host show` names who takes it)";
        let few = Room { descriptors: DESCRIPTORS - 1, ..room(8 * GIB) }.admit(need(GIB));
        assert!(matches!(&few, Decision::Wait(why) if why.contains("may open 31 more")), "{few:?}");
        assert_eq!(full.admit(need(GIB)), Decision::Wait(below.into()));
        let short = Room { disk_available: 3 * GIB, ..room(8 * GIB) };
        let why = "waits for disk space: needs 2048 MiB beside the reserve of 2048 MiB, 3072 MiB free";
        assert_eq!(short.admit(Need { memory: GIB, disk: 2 * GIB }), Decision::Wait(why.into()));
        let limited = Room { memory_limit: Some(3 * GIB), ..room(8 * GIB) };
        assert_eq!(limited.admit(need(GIB)), Decision::Admit);
        let wait = Decision::Wait("waits for memory: needs 1024 MiB, 512 MiB free".into());
        assert_eq!(Room { memory_promised: GIB / 2, ..limited }.admit(need(GIB)), wait);
        assert!(matches!(limited.admit(need(4 * GIB)), Decision::Refuse(why) if why.contains("at most 3072 MiB")));
    }

    #[test]
    fn the_pool_fills_shrinks_and_yields() {
        let start = |name: &str| Some(PoolStep::Start { environment: name.into() });
        let end = |name: &str| Some(PoolStep::End { environment: name.into() });
        assert_eq!(plan_pool(&[stock("a", 1, 0), stock("b", 0, 0)], &room(8 * GIB), None), start("b"));
        assert_eq!(plan_pool(&[stock("a", 1, 9), stock("b", 0, 0)], &room(8 * GIB), None), start("a"));
        assert_eq!(plan_pool(&[stock("a", 3, 9), stock("b", 1, 0)], &room(8 * GIB), None), None);
        assert_eq!(plan_pool(&[stock("a", 3, 0), stock("b", 1, 0)], &room(8 * GIB), None), end("a"));
        assert_eq!(plan_pool(&[stock("a", 1, 0), stock("b", 1, 0)], &room(GIB), None), end("b"));
        assert_eq!(
            plan_pool(&[Stock { starting: 1, ..stock("a", 0, 0) }, stock("b", 0, 0)], &room(8 * GIB), None),
            None
        );
    }

    #[test]
    fn an_environment_that_does_not_come_up_holds_up_no_other() {
        let broken = Stock { paused: true, ..stock("a", 0, 0) };
        let plan = plan_pool(&[broken.clone(), stock("b", 0, 0)], &room(8 * GIB), None);
        assert_eq!(plan, Some(PoolStep::Start { environment: "b".into() }));
        assert_eq!(plan_pool(&[broken], &room(8 * GIB), None), None);
    }

    #[test]
    fn a_session_that_waits_goes_before_the_pool() {
        let need = |memory| Some(Need { memory, disk: 0 });
        let end = Some(PoolStep::End { environment: "a".into() });
        assert_eq!(plan_pool(&[stock("a", 1, 0)], &room(2 * GIB), need(3 * GIB)), end, "it does not fit beside them");
        assert_eq!(plan_pool(&[stock("a", 0, 0)], &room(2 * GIB), need(3 * GIB)), None);
        assert_eq!(plan_pool(&[stock("a", 0, 0)], &room(8 * GIB), need(GIB)), None, "it fits, and comes first");
        assert_eq!(plan_pool(&[stock("a", 1, 0)], &room(8 * GIB), need(GIB)), None);
    }

    proptest! {
        /// Checks that from any stock the steps come to an end, within bounds and without a start that does not fit.
        #[test]
        fn the_plan_converges(ready in prop::collection::vec((0u32..6, 0u32..6, 0u32..4), 1..5), free in 0u64..16) {
            let mut stocks: Vec<Stock> = ready
                .iter()
                .enumerate()
                .map(|(i, &(ready, demand, min))| Stock { min, ..stock(&i.to_string(), ready, demand) })
                .collect();
            let mut room = room(free * GIB);
            for _ in 0..100 {
                let Some(plan) = plan_pool(&stocks, &room, None) else { return Ok(()) };
                let (name, more) = match &plan {
                    PoolStep::Start { environment } => (environment, true),
                    PoolStep::End { environment } => (environment, false),
                };
                let stock = stocks.iter_mut().find(|s| s.environment == *name).unwrap();
                if more {
                    prop_assert_eq!(room.admit(stock.need), Decision::Admit);
                    room.memory_available -= stock.need.memory;
                    stock.ready += 1;
                    prop_assert!(stock.ready <= stock.max.max(stock.min));
                } else {
                    // What the host itself uses does not shrink: ending frees, but a full host stays full here.
                    stock.ready -= 1;
                }
            }
            prop_assert!(false, "no end: {stocks:?}");
        }
    }
}
