//! The queue for room on a host: who goes next. Pure.
//!
//! Somebody waits for a resume, so those go before starts, starts before copies, and copies before builds; among equals
//! whoever came first goes first. So that none waits for ever, who was passed [`PASSES`] times goes before all that came later,
//! whatever they are.
//! A resume that does not fit yet is not passed by later resumes nor by starts: a large one gets its room too.

use crate::capacity::{Decision, Need, Room};

/// Number of later ones that may go before one that waits; then it goes before all that came later.
pub const PASSES: u32 = 8;

/// What somebody waits for room for; earlier variants go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A session is to be resumed.
    Resume,
    /// A session is to be started.
    Start,
    /// What a suspended session changed is to be read, in a copy of its VM.
    Copy,
    /// An environment is to be built.
    Build,
}

/// One that waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Place in the order of coming; lower ones came first.
    pub order: u64,
    /// What the room is for.
    pub purpose: Purpose,
    /// Resources that are waited for.
    pub need: Need,
    /// How often one that came later went before this one.
    pub passed: u32,
}

impl Waiter {
    /// Place in the queue; lower ones go first.
    fn place(&self) -> (Purpose, u64) {
        let purpose = if self.passed >= PASSES { Purpose::Resume } else { self.purpose };
        (purpose, self.order)
    }
}

/// Whether the waiter of this order may go now; `None`: there is no such waiter.
#[must_use]
pub fn may_go(queue: &[Waiter], order: u64, room: &Room) -> Option<Decision> {
    let own = queue.iter().find(|waiter| waiter.order == order)?;
    let before = queue.iter().filter(|waiter| waiter.place() < own.place()).count();
    Some(match room.admit(own.need) {
        Decision::Admit if before == 1 => Decision::Wait("waits for room: another waits for it already".into()),
        Decision::Admit if before > 0 => Decision::Wait(format!("waits for room: {before} others wait for it already")),
        answer => answer,
    })
}

/// Removes the waiter of this order, which goes: those that came before it were passed once more.
pub fn leave(queue: &mut Vec<Waiter>, order: u64) {
    queue.retain(|waiter| waiter.order != order);
    for passed in queue.iter_mut().filter(|waiter| waiter.order < order) {
        passed.passed = passed.passed.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn room() -> Room {
        Room {
            memory_total: 16 * GIB,
            memory_available: 4 * GIB,
            memory_promised: 0,
            memory_limit: None,
            memory_used: 0,
            disk_total: 200 * GIB,
            disk_available: 100 * GIB,
            descriptors: 1024,
        }
    }

    fn waiter(order: u64, purpose: Purpose, gib: u64) -> Waiter {
        Waiter { order, purpose, need: Need { memory: gib * GIB, disk: 0 }, passed: 0 }
    }

    fn goes(queue: &[Waiter], order: u64) -> bool {
        may_go(queue, order, &room()) == Some(Decision::Admit)
    }

    #[test]
    fn a_resume_that_fits_passes_starts_and_builds_and_nobody_passes_it() {
        use Purpose::{Build, Resume, Start};
        let queue = [waiter(1, Start, 8), waiter(2, Resume, 1), waiter(3, Start, 1), waiter(4, Resume, 1)];
        assert_eq!([1, 2, 3, 4].map(|order| goes(&queue, order)), [false, true, false, false]);
        let queue = [waiter(1, Build, 1), waiter(2, Start, 1)];
        assert_eq!([1, 2].map(|order| goes(&queue, order)), [false, true]);
        let queue = [waiter(1, Resume, 8), waiter(2, Resume, 1), waiter(3, Start, 1)];
        assert_eq!([1, 2, 3].map(|order| goes(&queue, order)), [false; 3]);
        assert_eq!(may_go(&queue, 7, &room()), None);
    }

    #[test]
    fn who_never_fits_is_told_so_whoever_is_before_it() {
        let queue = [waiter(1, Purpose::Start, 8), waiter(2, Purpose::Start, 64)];
        assert!(matches!(may_go(&queue, 2, &room()), Some(Decision::Refuse(_))));
    }

    proptest! {
        /// However many come after it, it goes after at most so many of them, and after all that were there before.
        #[test]
        fn nobody_waits_for_ever(before in 0u64..5, later in prop::collection::vec(0u8..4, 40)) {
            let purpose = |of: u8| [Purpose::Resume, Purpose::Start, Purpose::Copy, Purpose::Build][usize::from(of)];
            let mut queue: Vec<Waiter> = (0..before).map(|order| waiter(order, Purpose::Start, 1)).collect();
            queue.push(waiter(before, Purpose::Build, 1));
            let mut gone = 0;
            for (order, of) in (before + 1..).zip(later) {
                queue.push(waiter(order, purpose(of), 1));
                let next = queue.iter().map(|waiter| waiter.order).find(|&order| goes(&queue, order)).unwrap();
                leave(&mut queue, next);
                if next == before {
                    return Ok(());
                }
                gone += 1;
                prop_assert!(gone <= before + u64::from(PASSES) * (before + 1), "{queue:?}");
            }
            prop_assert!(false, "it never went");
        }
    }
}
