//! Memory that runs short although everybody was admitted: clones share what they have not yet written. Who goes to disk, so
//! that the kernel does not choose whom to kill. Pure.

use crate::capacity::Room;

/// A session whose VM is in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Id of the session.
    pub id: String,
    /// Bytes of memory that are the VM's alone, and are won by its suspend.
    pub memory: u64,
    /// Whether the agent waits for something or has ended.
    pub waits: bool,
    /// Whether somebody is attached to the session, or uses it otherwise; it is not suspended then.
    pub used: bool,
    /// Whether an answer to the guest is under way, see [`crate::streams`]; it is not cut.
    pub streams: bool,
}

/// A session that is to be suspended for its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relief {
    /// Id of the session.
    pub id: String,
    /// Whether the agent was at work: then the session is resumed when there is room for it.
    pub at_work: bool,
    /// Reason of the suspend, in words for a person.
    pub why: String,
}

const MIB: u64 = 1 << 20;

/// Whether the host has less memory than it keeps for itself, or VMs use more than they may.
#[must_use]
pub fn is_short(room: &Room) -> bool {
    room.memory_available < room.memory_reserve() || room.memory_limit.is_some_and(|limit| room.memory_used > limit)
}

/// Chooses the next session to suspend, one at a time: each step is planned on what the last one left. `None`: nobody has to,
/// or nobody may. Warm VMs go first; then the largest of the sessions that wait, then the largest at work. A session that is
/// used stays, and one into which an answer streams.
#[must_use]
pub fn plan(residents: &[Resident], room: &Room, warm: u32) -> Option<Relief> {
    if !is_short(room) || warm > 0 {
        return None;
    }
    let free = residents.iter().filter(|resident| !resident.used && !resident.streams && resident.memory > 0);
    let gone = free.max_by_key(|resident| (resident.waits, resident.memory))?;
    let (available, reserve) = (room.memory_available / MIB, room.memory_reserve() / MIB);
    let why = match room.memory_limit {
        Some(limit) if room.memory_available >= room.memory_reserve() => {
            format!("VMs used {} MiB of the {} MiB that they may", room.memory_used / MIB, limit / MIB)
        }
        _ => format!("{available} MiB were available, and {reserve} MiB are kept for the host"),
    };
    let why = format!("suspended because the host's memory ran short: {why}");
    Some(Relief { id: gone.id.clone(), at_work: !gone.waits, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::tests::{GIB, room};

    fn resident(id: &str, gib: u64, waits: bool, used: bool) -> Resident {
        Resident { id: id.into(), memory: gib * GIB, waits, used, streams: false }
    }

    fn gone(residents: &[Resident], room: &Room, warm: u32) -> Option<(String, bool)> {
        plan(residents, room, warm).map(|relief| (relief.id, relief.at_work))
    }

    #[test]
    fn nobody_goes_while_there_is_the_reserve_or_a_warm_vm() {
        let all = [resident("a", 1, true, false)];
        assert_eq!(gone(&all, &room(GIB), 0), None);
        assert_eq!(gone(&all, &room(GIB - 1), 1), None);
        assert_eq!(gone(&all, &room(GIB - 1), 0), Some(("a".into(), false)));
        let limited = Room { memory_limit: Some(5 * GIB), memory_used: 6 * GIB, ..room(8 * GIB) };
        let relief = plan(&all, &limited, 0).unwrap();
        assert!(relief.why.ends_with("VMs used 6144 MiB of the 5120 MiB that they may"), "{}", relief.why);
    }

    #[test]
    fn who_waits_goes_first_then_the_largest_and_never_who_is_used() {
        let (small, waits) = (resident("small", 1, false, false), resident("waits", 1, true, false));
        let (large, used) = (resident("large", 4, false, false), resident("used", 8, true, true));
        let short = room(GIB / 2);
        assert_eq!(
            gone(&[small.clone(), waits, large.clone(), used.clone()], &short, 0),
            Some(("waits".into(), false))
        );
        assert_eq!(gone(&[small, large, used.clone()], &short, 0), Some(("large".into(), true)));
        assert_eq!(gone(&[used], &short, 0), None);
    }

    #[test]
    fn an_answer_that_streams_is_not_cut() {
        let streams = |id, gib, waits| Resident { streams: true, ..resident(id, gib, waits, false) };
        let (large, waits, small) =
            (streams("large", 4, false), streams("waits", 2, true), resident("small", 1, false, false));
        let short = room(GIB / 2);
        assert_eq!(gone(&[large.clone(), waits.clone(), small], &short, 0), Some(("small".into(), true)));
        assert_eq!(gone(&[large, waits], &short, 0), None);
    }
}
