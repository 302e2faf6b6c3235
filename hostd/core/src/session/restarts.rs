//! A session that starts again by itself after its VM has crashed: by the policy of its recipe, after ever longer pauses, and not for
//! ever.

use serde::{Deserialize, Serialize};

use super::{Cause, Effect, Lifecycle, Session, step};
use crate::UnixMillis;

/// A VM that has run so long was no part of a row of crashes, in milliseconds.
const STEADY: UnixMillis = 10 * 60_000;
/// Longest pause before a restart, in milliseconds.
const LONGEST: UnixMillis = 3_600_000;

/// Whether and how a session starts again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// Seconds before the first restart after a crash; each further one in a row waits twice as long, at most an hour.
    pub backoff: u64,
    /// Most restarts in a row; from 1 to [`RestartPolicy::MOST`].
    pub most: u32,
}

impl RestartPolicy {
    /// The largest [`RestartPolicy::most`].
    pub const MOST: u32 = 32;
}

impl Session {
    /// When the session starts again by itself; None: it does not, as while its budget is used up.
    #[must_use]
    pub fn restarts_at(&self) -> Option<UnixMillis> {
        let (policy, cause) = self.restart.zip(self.crash())?;
        let tries = u32::try_from(self.crashes.len()).unwrap_or(u32::MAX);
        let last = *self.crashes.last()?;
        let pause = i64::try_from(policy.backoff).unwrap_or(i64::MAX).saturating_mul(1000);
        let pause = pause.saturating_mul(1 << tries.saturating_sub(1).min(30)).min(LONGEST);
        let may = tries <= policy.most && cause.may_pass() && self.used_up().is_none();
        may.then(|| last.saturating_add(pause))
    }

    /// How often the session has crashed in a row, and in how many milliseconds, where that was more often than it starts again for; None:
    /// it was not.
    #[must_use]
    pub fn crash_loop(&self) -> Option<(usize, UnixMillis)> {
        let (policy, _) = self.restart.zip(self.crash())?;
        let (first, last) = self.crashes.first().zip(self.crashes.last())?;
        let more = u32::try_from(self.crashes.len()).unwrap_or(u32::MAX) > policy.most;
        more.then(|| (self.crashes.len(), last.saturating_sub(*first)))
    }

    /// The cause of a crash that has ended an agent which was not done.
    fn crash(&self) -> Option<&Cause> {
        match &self.lifecycle {
            Lifecycle::Crashed { cause } if self.exited.is_none() && !self.activity.is_over() && !self.deleting => {
                Some(cause)
            }
            _ => None,
        }
    }
}

/// Notes a crash.
pub(super) fn crashed(s: &mut Session, now: UnixMillis) {
    let Some(policy) = s.restart else { return };
    if s.up_at > 0 && now.saturating_sub(s.up_at) >= STEADY {
        s.crashes.clear();
    }
    s.crashes.push(now);
    // One more than it restarts for is what tells that it does not.
    let most = usize::try_from(policy.most.min(RestartPolicy::MOST)).unwrap_or(0) + 1;
    s.crashes.drain(..s.crashes.len().saturating_sub(most));
}

/// The time of a restart may have come.
pub(super) fn is_due(s: &mut Session, now: UnixMillis) -> Vec<Effect> {
    match s.restarts_at() {
        Some(at) if at <= now => step::again(s, vec![Effect::Admit]),
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        Turn, attention,
        session::{Input, NoAgent, step, tests::with},
    };

    const POLICY: RestartPolicy = RestartPolicy { backoff: 10, most: 3 };

    fn running(policy: Option<RestartPolicy>) -> Session {
        Session { restart: policy, ..with(Lifecycle::Running) }
    }

    fn did(s: &Session, input: Input, now: UnixMillis) -> Session {
        step(s, input, now).unwrap().0
    }

    /// The session after its VM has died.
    fn died(s: &Session, now: UnixMillis) -> Session {
        let cause = Cause::QemuKilled { signal: 9, by: String::new() };
        did(s, Input::VmEnded { generation: s.generation, cause }, now)
    }

    /// The session after it has come up again.
    fn came_up(s: &Session, now: UnixMillis) -> Session {
        let s = did(s, Input::Admitted, now);
        did(&s, Input::Started { generation: s.generation }, now)
    }

    #[test]
    fn pauses_double_and_a_row_of_crashes_ends_with_a_person() {
        let (mut s, mut now) = (running(Some(POLICY)), 1_000_000);
        for (tries, pause) in [(1, 10_000), (2, 20_000), (3, 40_000)] {
            s = died(&s, now);
            assert_eq!(s.restarts_at(), Some(now + pause));
            let why = attention(&s, now);
            assert_eq!(why.turn, Turn::Agent);
            assert!(
                why.reason.ends_with(&format!("; restarted in {} s ({tries} of 3)", pause / 1000)),
                "{}",
                why.reason
            );
            assert_eq!(step(&s, Input::RestartIsDue, now + pause - 1).unwrap(), (s.clone(), vec![]), "not before");
            let (queued, effects) = step(&s, Input::RestartIsDue, now + pause).unwrap();
            assert_eq!((&queued.lifecycle, effects), (&Lifecycle::Queued, vec![Effect::Admit]));
            assert_eq!(step(&queued, Input::RestartIsDue, now + pause).unwrap().1, [], "once");
            now += pause + 5000;
            s = came_up(&queued, now);
            now += 5000;
        }
        s = died(&s, now);
        assert_eq!((s.restarts_at(), s.crash_loop()), (None, Some((4, 100_000))));
        let why = attention(&s, now);
        assert_eq!((why.turn, why.word), (Turn::You, "crashed"));
        let said = "crashed 4 times in 1 min: its QEMU was killed by signal 9 (SIGKILL), sent by somebody on the host; it is not restarted \
            any more";
        assert!(why.reason.starts_with(said), "{}", why.reason);
        assert_eq!(step(&s, Input::RestartIsDue, now + LONGEST).unwrap().1, []);
        // A person's restart begins anew.
        s = did(&s, Input::Restart { give_up_memory: false }, now);
        s = died(&came_up(&s, now), now + 1000);
        assert_eq!(s.restarts_at(), Some(now + 11_000));
    }

    #[test]
    fn what_has_run_for_long_begins_a_new_row() {
        let first = died(&running(Some(POLICY)), 1000);
        let again = came_up(&did(&first, Input::RestartIsDue, 20_000), 20_000);
        let second = died(&again, 20_000 + STEADY);
        assert_eq!((second.crashes.len(), second.restarts_at()), (1, Some(20_000 + STEADY + 10_000)));
        assert_eq!(died(&again, 19_999 + STEADY).crashes.len(), 2);
    }

    #[test]
    fn crashes_of_starts_after_a_long_life_are_one_row() {
        let (mut s, mut now) =
            (came_up(&did(&died(&running(Some(POLICY)), 1000), Input::RestartIsDue, 20_000), 20_000), 20_000);
        now += STEADY + 60_000;
        s = died(&s, now);
        for tries in 2..=4 {
            now = s.restarts_at().unwrap();
            s = did(&did(&s, Input::RestartIsDue, now), Input::Admitted, now);
            assert_eq!(s.lifecycle, Lifecycle::Starting);
            s = died(&s, now);
            assert_eq!(s.crashes.len(), tries);
        }
        assert_eq!((s.restarts_at(), s.crash_loop().map(|(times, _)| times)), (None, Some(4)));
    }

    #[test]
    fn nothing_is_started_again_while_its_budget_is_used_up() {
        let mut s = Session { budget: Some(5), ..running(Some(POLICY)) };
        s.spending.micros = 5;
        let s = died(&s, 1000);
        assert_eq!((s.restarts_at(), attention(&s, 1000).turn), (None, Turn::You));
        assert_eq!(step(&s, Input::RestartIsDue, 1000 + LONGEST).unwrap().1, []);
        let raised = did(&s, Input::Budget(crate::session::Budget::Raise(1)), 2000);
        assert_eq!(raised.restarts_at(), Some(11_000));
    }

    #[rstest]
    #[case::no_policy(None, Cause::EndedUnseen, false)]
    #[case::unseen(Some(POLICY), Cause::EndedUnseen, true)]
    #[case::rebooted(Some(POLICY), Cause::HostRebooted, true)]
    #[case::panicked(Some(POLICY), Cause::GuestPanic(vec![]), true)]
    #[case::in_order(Some(POLICY), Cause::PoweredOff, false)]
    #[case::no_program(Some(POLICY), Cause::AgentNotStarted { program: "x".into(), why: NoAgent::NotFound }, false)]
    #[case::no_start(Some(POLICY), Cause::StartFailed("no kernel".into()), false)]
    fn only_what_may_pass_is_tried_again(
        #[case] policy: Option<RestartPolicy>,
        #[case] cause: Cause,
        #[case] again: bool,
    ) {
        let s = running(policy);
        let ended = did(&s, Input::VmEnded { generation: s.generation, cause }, 1000);
        assert_eq!(ended.restarts_at().is_some(), again, "{ended:?}");
        let gone = Session { exited: Some(1), ..ended };
        assert_eq!(gone.restarts_at(), None, "an agent that had ended is not begun again");
    }

    #[test]
    fn pauses_have_an_end_and_crashes_a_bound() {
        let mut s = running(Some(RestartPolicy { backoff: 3000, most: RestartPolicy::MOST }));
        for number in 1..100 {
            s = Session { lifecycle: Lifecycle::Running, ..died(&s, number) };
        }
        assert_eq!(s.crashes.len(), 33);
        let s = died(&Session { crashes: vec![1; 31], ..s }, 1000);
        assert_eq!(s.restarts_at(), Some(1000 + LONGEST));
    }
}
