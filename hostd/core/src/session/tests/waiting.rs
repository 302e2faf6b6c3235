//! Whole histories of waits: every event early, late, twice and in every state.

use std::collections::BTreeSet;

use proptest::{collection::vec, option, prelude::*};

use super::{
    super::*,
    histories::{input, lawful, legal},
    new,
    waits::seen,
};
use crate::checks::CheckState::{Failed, Passed, Running as Runs};

/// In an event: of the VM that is there then, so that histories get somewhere.
const NOW: u64 = 5;

/// A step of a history: what the world says, or what the machine itself asked for and got.
fn event() -> impl Strategy<Value = Input> {
    let state = || prop_oneof![Just(Runs), Just(Passed), Just(Failed)];
    let what = prop_oneof![Just(WaitFor::Checks), Just(WaitFor::Review), Just(WaitFor::Message)];
    let fate = prop_oneof![8 => Just(Fate::Open), 1 => Just(Fate::Merged), 1 => Just(Fate::Closed)];
    let generation = prop_oneof![3 => Just(NOW), 1 => 0..NOW];
    let pull = (5_u64..8, fate, 0_u8..3, 0_u64..4);
    prop_oneof![
        4 => input().prop_map(|input| if input == Input::Delete { Input::Restart { give_up_memory: false } } else { input }),
        // Down and up again, which is what it is about.
        6 => prop_oneof![
            Just(Input::Suspend),
            Just(Input::Suspended),
            Just(Input::Resume),
            Just(Input::Admitted),
            Just(Input::Started { generation: NOW }),
            any::<bool>().prop_map(|takes| {
                let due = Due { wait: 0, answer: Answer::TimedOut };
                Input::Resumed { generation: NOW, answered: takes.then(|| Box::new(due)) }
            }),
        ],
        6 => (generation.clone(), 1_u64..60, what, option::weighted(0.3, 5_u64..9)).prop_map(|(generation, id, what, pull)| {
            Input::WaitBegan { generation, wait: Wait { id, what, pull, since: 0, until: None } }
        }),
        1 => (generation.clone(), 1_u64..30).prop_map(|(generation, id)| Input::WaitWithdrawn { generation, id }),
        6 => (pull, vec(5_u64..8, 0..3), state(), state()).prop_map(|(pull, mut own, unit, integration)| {
            let (number, fate, head, reviews) = pull;
            let mut seen = seen(&head.to_string(), [unit, integration], reviews);
            (seen.pull.number, seen.pull.fate) = (number, fate);
            own.push(number);
            seen.own = own;
            Input::Observed(Some(Box::new(seen)))
        }),
        1 => Just(Input::Observed(None)),
        1 => (1_u64..30).prop_map(|id| Input::TimeIsUp { id }),
        4 => generation.clone().prop_map(|generation| Input::Delivered { generation }),
        1 => generation.prop_map(|generation| Input::NotDelivered { generation }),
    ]
}

/// The event with the session's generation where it has [`NOW`], and with the answer that is due where one is taken.
fn meant(mut event: Input, session: &Session) -> Input {
    let current = session.generation;
    if let Input::Resumed { answered, .. } = &mut event {
        *answered = session.due().filter(|_| answered.is_some()).map(Box::new);
    }
    if let Input::Started { generation }
    | Input::Resumed { generation, .. }
    | Input::Typed { generation, .. }
    | Input::Read { generation, .. }
    | Input::VmEnded { generation, .. }
    | Input::WaitBegan { generation, .. }
    | Input::WaitWithdrawn { generation, .. }
    | Input::Delivered { generation }
    | Input::NotDelivered { generation } = &mut event
        && *generation == NOW
    {
        *generation = current;
    }
    event
}

/// The command that sleeps in the guest, followed beside the machine: until it was answered, ended by itself, or gone with
/// its boot.
fn sleeper(asleep: Option<u64>, before: &Session, after: &Session, event: &Input) -> Option<u64> {
    let booted = after.lifecycle == Lifecycle::Starting && before.lifecycle != Lifecycle::Starting;
    let down = matches!(after.lifecycle, Lifecycle::Queued | Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. });
    // What it goes back to has not waited.
    let back = matches!(event, Input::Restore { .. });
    if booted || down || back || after.exited.is_some() || after.deleting {
        return None;
    }
    match event {
        Input::WaitBegan { generation, wait } if *generation == before.generation && wait.id > before.asked => {
            Some(wait.id)
        }
        Input::WaitWithdrawn { generation, id } if *generation == before.generation => {
            asleep.filter(|asleep| asleep != id)
        }
        Input::Delivered { generation } | Input::NotDelivered { generation }
            if *generation == before.generation && before.delivering =>
        {
            asleep.filter(|asleep| before.wait.as_ref().is_none_or(|wait| wait.id != *asleep))
        }
        event => match took(before, event) {
            Some(due) => asleep.filter(|asleep| *asleep != due.wait),
            None => asleep,
        },
    }
}

/// The answer that the sleeper took with the handshake.
fn took<'a>(before: &Session, event: &'a Input) -> Option<&'a Due> {
    let Input::Resumed { generation, answered: Some(due) } = event else { return None };
    let back = before.lifecycle == Lifecycle::Resuming && *generation == before.generation && !before.deleting;
    Some(&**due).filter(|due| back && before.wait.as_ref().is_some_and(|wait| wait.id == due.wait))
}

/// Pull request and head commit of an answer.
fn of(answer: &Answer) -> Option<(u64, &str)> {
    match answer {
        Answer::Checks { number, head, .. } | Answer::Review { number, head, .. } => Some((*number, head)),
        _ => None,
    }
}

/// What a history's test follows beside the machine.
#[derive(Default)]
struct Shadow {
    /// Pull request and head as last seen.
    head: Option<(u64, String)>,
    /// The session's pull requests, as last seen.
    own: Vec<u64>,
    /// Boot and id of the waits that have their answer.
    done: BTreeSet<(u64, u64)>,
    /// Pull request and id of the reviews that the agent has.
    reviews: BTreeSet<(u64, u64)>,
    boots: u64,
    asleep: Option<u64>,
}

impl Shadow {
    /// What was put into the inbox of results.
    fn follow_typed(&mut self, before: &Session, after: &Session) {
        let new = after.inbox.iter().filter(|message| message.of_forge && message.id > before.sent);
        let number = match new.count() {
            0 => return,
            count => self.head.as_ref().map(|(number, _)| (*number, count)),
        };
        let (number, count) = number.expect("of a pull request that is not known");
        let at_end = count == 1 && after.typing && after.inbox[0].of_forge;
        assert!(match after.typed_events {
            TypedEvents::Never => false,
            TypedEvents::AtTurnsEnd => at_end,
            TypedEvents::All => at_end || !before.tells_turns,
        });
        let (old, new) = (before.delivered_of(number), after.delivered_of(number));
        assert_ne!(old, new, "it would be told again");
        assert!((old.review + 1..=new.review).all(|id| self.reviews.insert((number, id))), "told twice");
    }

    fn follow(&mut self, before: &Session, after: &Session, event: &Input, effects: &[Effect]) {
        if let Input::Observed(seen) = event
            && !before.deleting
        {
            self.head = seen.as_ref().map(|seen| (seen.pull.number, seen.pull.head.clone()));
            self.own = seen.as_ref().map_or_else(Vec::new, |seen| seen.own.clone());
        }
        if matches!(event, Input::Restore { .. }) && !before.deleting {
            // What the agent was told since, it has never heard.
            self.boots += 1;
            self.reviews.clear();
        }
        if after.lifecycle == Lifecycle::Starting && before.lifecycle != Lifecycle::Starting {
            self.boots += 1;
        }
        for effect in effects {
            let Effect::Deliver { answer, wait, .. } = effect else { continue };
            let named = after.wait.as_ref().and_then(|wait| wait.pull);
            // What was on its way when hostd died goes there again, whatever was seen since.
            let again = matches!(event, Input::Adopted { .. }) && before.delivering;
            if let Some((number, head)) = of(answer).filter(|_| !again) {
                assert_eq!(self.head, Some((number, head.to_owned())), "of another head");
                assert!(named.is_none_or(|named| named == number), "of another pull request");
            }
            if let Answer::Refused { .. } = answer {
                assert!(named.is_some_and(|named| !self.own.contains(&named)), "its own is refused");
            }
            assert!(!self.done.contains(&(self.boots, *wait)), "a second time");
        }
        // An answer that was handed over is over; one that was not may be handed over again after a resume.
        if let Input::Delivered { generation } = event
            && before.delivering
            && before.generation == *generation
        {
            self.done.insert((self.boots, before.wait.as_ref().unwrap().id));
            if let Some(Answer::Review { number, reviews, .. }) = &before.answer {
                assert!(reviews.iter().all(|review| self.reviews.insert((*number, review.id))), "told twice");
            }
        }
        if let Some(due) = took(before, event) {
            assert!(self.done.insert((self.boots, due.wait)), "a second time");
            if let Answer::Review { number, reviews, .. } = &due.answer {
                assert!(reviews.iter().all(|review| self.reviews.insert((*number, review.id))), "told twice");
            }
        }
        self.follow_typed(before, after);
        let named = |session: &Session| session.wait.as_ref().and_then(|wait| wait.pull);
        assert!(named(before) == named(after) || effects.contains(&Effect::Observe), "the other is not looked at");
        self.asleep = sleeper(self.asleep, before, after, event);
        let known = [&after.wait, &after.next_wait].into_iter().flatten().any(|wait| Some(wait.id) == self.asleep);
        assert!(self.asleep.is_none() || known, "sleeps for ever: {:?} of {after:?}", self.asleep);
    }
}

proptest! {
    #[test]
    fn no_wait_is_lost_none_fires_twice_none_of_another_head(events in vec(event(), 0..150), typed in 0..3_usize) {
        let typed_events = [TypedEvents::Never, TypedEvents::AtTurnsEnd, TypedEvents::All][typed];
        let mut session = Session { typed_events, ..new().0 };
        let mut shadow = Shadow::default();
        for (now, event) in events.into_iter().enumerate() {
            let event = meant(event, &session);
            let Ok((next, effects)) = step(&session, event.clone(), 200 + i64::try_from(now).unwrap()) else { continue };
            legal(&next);
            lawful(&session, &next, &event, &effects);
            shadow.follow(&session, &next, &event, &effects);
            // What is there for a running agent is on its way to it.
            let free = next.lifecycle == Lifecycle::Running
                && next.exited.is_none()
                && !next.typing
                && !next.deleting
                && !next.forking;
            // A message that is there for it goes before, where its terminal is needed.
            let terminal = next.wait.is_none() && (next.unread || !next.inbox.is_empty());
            prop_assert!(!free || next.answer.is_none() || next.delivering || terminal, "lost: {next:?}");
            // And what came while it slept wakes it, unless it was tried and did not work.
            let asleep = next.lifecycle == Lifecycle::Suspended && session.lifecycle == Lifecycle::Suspended;
            let tried = !session.notice.is_empty() && session.answer == next.answer || terminal && next.unread;
            if asleep && !next.deleting && matches!(event, Input::Observed(_)) && next.answer.is_some() {
                prop_assert!(next.wanted || tried, "sleeps on: {next:?}");
            }
            session = next;
        }
    }
}
