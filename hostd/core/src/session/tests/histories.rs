//! Whatever comes, in whatever order: no panic, no lost message, no illegal state.

use proptest::{collection::vec, prelude::*};

use super::super::{Activity, Cause, Effect, Input, Lifecycle, Message, Session, Status, step};
use crate::{
    attention,
    reports::{Kind, Report, Source, State},
};

/// The parts of the world that answer effects; generations are those of the effects or one off.
pub(super) fn input() -> impl Strategy<Value = Input> {
    let generation = 0_u64..6;
    let restart = any::<bool>().prop_map(|give_up_memory| Input::Restart { give_up_memory });
    let id = 0_u64..9;
    let cause = prop_oneof![
        Just(Cause::PoweredOff),
        Just(Cause::LinkLost),
        Just(Cause::HostStopped { in_order: true }),
        any::<String>().prop_map(Cause::GuestReset),
    ];
    let activity = prop_oneof![
        2 => Just(Activity::Idle),
        1 => prop_oneof![
            Just(Activity::Working), Just(Activity::NeedsInput), Just(Activity::Done), Just(Activity::Failed),
        ],
    ];
    prop_oneof![
        1 => Just(Input::Delete),
        4 => prop_oneof![restart, Just(Input::Suspend), Just(Input::Resume), Just(Input::Fork)],
        2 => Just(Input::Forked),
        1 => Just(Input::Checkpoint),
        1 => Just(Input::Checkpointed { number: 1, stood: 1, by: crate::Actor::Host }),
        1 => any::<String>().prop_map(|why| Input::NotCheckpointed { why }),
        1 => Just(Input::Restore { number: 1, then: Box::new(super::running()), at: 0 }),
        2 => any::<String>().prop_map(|why| Input::Waits { why }),
        1 => any::<String>().prop_map(|why| Input::Refused { why }),
        5 => Just(Input::Send("".into())),
        1 => Just(Input::Send(Message { keys: vec!["Up".parse().unwrap()], ..Message::default() })),
        6 => Just(Input::Admitted),
        6 => generation.clone().prop_map(|generation| Input::Started { generation }),
        1 => (generation.clone(), any::<bool>()).prop_map(|(generation, typed)| Input::BeganAnew { generation, typed }),
        1 => generation.clone().prop_map(|generation| Input::Booted { generation, why: "no template".into() }),
        2 => (generation.clone(), any::<String>()).prop_map(|(generation, why)| Input::StartFailed { generation, why }),
        3 => Just(Input::Suspended),
        2 => any::<String>().prop_map(|why| Input::SuspendFailed { why }),
        4 => generation.clone().prop_map(|generation| Input::Resumed { generation, answered: None }),
        2 => any::<String>().prop_map(|why| Input::ResumeFailed { why }),
        3 => (generation.clone(), cause).prop_map(|(generation, cause)| Input::VmEnded { generation, cause }),
        1 => Just(Input::HostRestarted),
        1 => Just(Input::Adopting),
        2 => generation.clone().prop_map(|generation| Input::Adopted { generation }),
        1 => Just(Input::HostStops),
        1 => generation.clone().prop_map(|generation| Input::RepositoryBroken { generation, why: "HEAD".into() }),
        4 => (generation.clone(), id.clone()).prop_map(|(generation, id)| Input::Typed { generation, id }),
        4 => (generation.clone(), id.clone()).prop_map(|(generation, id)| Input::Read { generation, id }),
        1 => (generation.clone(), id).prop_map(|(generation, id)| Input::NotTyped { generation, id }),
        3 => (generation.clone(), activity, any::<String>()).prop_map(|(generation, activity, text)| {
            Input::AgentStatus { generation, status: Status { activity, choices: vec![text.clone()], text } }
        }),
        2 => (generation.clone(), 0_i64..900, any::<String>()).prop_map(|(generation, at, text)| {
            Input::Seen { generation, sign: crate::signs::Sign::Called { at, text, by: Default::default() } }
        }),
        6 => (generation.clone(), source(), prop::option::of((state(), any::<String>(), 0_i64..900))).prop_map(
            |(generation, source, report)| {
                let report = report.map(|(state, text, at)| Box::new(Report { text, ..Report::new(state, at) }));
                Input::Reported { generation, source, report }
            }
        ),
        1 => (generation.clone(), 0_i64..900, any::<bool>()).prop_map(|(generation, at, entered)| {
            Input::Answered { generation, at, entered }
        }),
        1 => (generation.clone(), any::<String>()).prop_map(|(generation, name)| Input::OomKilled { generation, name }),
        1 => (generation.clone(), any::<Option<String>>()).prop_map(|(generation, full)| {
            Input::GuestDisk { generation, full }
        }),
        2 => (generation, 0..3, any::<String>()).prop_map(|(generation, code, last)| {
            Input::AgentExited { generation, code, last }
        }),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    prop::sample::select(Source::ALL.to_vec())
}

fn state() -> impl Strategy<Value = State> {
    let asks = State::Blocked(Some(Kind::Permission));
    prop::sample::select(vec![State::Idle, State::Working, State::Done, asks, State::Error, State::Limited])
}

/// What must be true of every session.
pub(super) fn legal(s: &Session) {
    assert!(!s.typing || (s.lifecycle == Lifecycle::Running && !s.inbox.is_empty()), "types nothing: {s:?}");
    assert!(!s.unread || (!s.typing && s.exited.is_none() && !s.inbox.is_empty()), "unread: {s:?}");
    assert!(!s.unread || !matches!(s.lifecycle, Lifecycle::Queued | Lifecycle::Starting), "unread: {s:?}");
    assert!(!s.delivering || (s.lifecycle == Lifecycle::Running && s.wait.is_some() && s.answer.is_some()), "{s:?}");
    assert!(s.answer.is_none() || s.wait.is_some() || s.ended_turn(), "answers nothing: {s:?}");
    assert!(!s.forking || (s.lifecycle == Lifecycle::Running && !s.typing), "forked: {s:?}");
    assert!(!s.wanted || s.lifecycle == Lifecycle::Suspended, "wanted: {s:?}");
    assert!(s.waiting.is_empty() || s.lifecycle == Lifecycle::Queued || s.wanted, "waits: {s:?}");
    assert!(s.inbox.len() <= Session::INBOX);
    // Refused before its first start, at the earliest.
    assert!(s.generation > 0 || matches!(s.lifecycle, Lifecycle::Queued | Lifecycle::Crashed { .. }));
    let seen = attention(s, 0);
    assert!(!seen.reason.trim().is_empty() && !seen.reason.contains(char::is_control), "{seen:?}");
}

/// What must be true of every step.
pub(super) fn lawful(before: &Session, after: &Session, input: &Input, effects: &[Effect]) {
    assert!(after.generation >= before.generation && after.updated_at >= before.updated_at);
    assert!(after.deleting >= before.deleting);
    for effect in effects {
        match effect {
            Effect::Start { generation } => {
                assert!(after.lifecycle == Lifecycle::Starting && *generation == after.generation);
            }
            Effect::Resume { generation } => {
                assert!(after.lifecycle == Lifecycle::Resuming && *generation == after.generation);
            }
            Effect::Type { generation, message } => {
                assert!(after.typing || after.unread);
                assert!(*generation == after.generation && after.inbox.first() == Some(message) && message.id > 0);
            }
            Effect::Press { generation, message } => {
                assert!(after.lifecycle == Lifecycle::Running && *generation == after.generation);
                assert!(message.id == after.sent && !message.keys.is_empty());
            }
            Effect::Admit => assert!(after.lifecycle == Lifecycle::Queued || after.wanted),
            Effect::Observe => {}
            Effect::Deliver { generation, wait, answer } => {
                assert!(after.delivering && *generation == after.generation);
                assert!(
                    after.wait.as_ref().map(|wait| wait.id) == Some(*wait) && after.answer.as_ref() == Some(answer)
                );
            }
            Effect::Suspend => assert!(after.lifecycle == Lifecycle::Suspending),
            Effect::Remove => assert!(after.deleting),
            Effect::End => assert!(!after.lifecycle.has_vm()),
        }
    }
    // A second VM of a session may never come up beside the first.
    if before.lifecycle.has_vm() && after.lifecycle == Lifecycle::Queued && !matches!(input, Input::HostRestarted) {
        assert!(effects.contains(&Effect::End));
    }
}

proptest! {
    #[test]
    fn no_history_breaks_the_rules(inputs in vec(input(), 0..120)) {
        let (mut session, _) = super::new();
        let mut sent = 0_usize;
        let mut typed = 0_usize;
        for (now, mut input) in inputs.into_iter().enumerate() {
            if let Input::Send(message) = &mut input {
                message.text = format!("message {sent}");
            }
            // 0 means the one that is under way, so that histories get somewhere.
            if let Input::Typed { id, .. } | Input::Read { id, .. } | Input::NotTyped { id, .. } = &mut input
                && *id == 0
            {
                *id = session.inbox.first().map_or(0, |message| message.id);
            }
            let Ok((next, effects)) = step(&session, input.clone(), 200 + i64::try_from(now).unwrap()) else {
                let command =
                    matches!(input, Input::Send(_) | Input::Restart { .. } | Input::Suspend | Input::Resume | Input::Fork);
                let of_checkpoints = matches!(input, Input::Checkpoint | Input::Restore { .. });
                prop_assert!(command || of_checkpoints);
                continue;
            };
            legal(&next);
            lawful(&session, &next, &input, &effects);
            match &input {
                Input::Send(_) if matches!(effects[..], [Effect::Press { .. }]) => {}
                Input::Send(_) => sent += 1,
                Input::Read { .. } => typed += session.inbox.len() - next.inbox.len(),
                _ => {}
            }
            // Every message is typed or still waits, in order.
            let waiting: Vec<String> = (typed..sent).map(|n| format!("message {n}")).collect();
            prop_assert_eq!(next.inbox.iter().map(|message| message.text.clone()).collect::<Vec<_>>(), waiting);
            session = next;
        }
    }

    #[test]
    fn a_repeated_command_changes_nothing(inputs in vec(input(), 0..60), command in 0..4) {
        let (mut session, _) = super::new();
        for input in inputs {
            session = step(&session, input, 200).map_or(session, |(next, _)| next);
        }
        let command = [Input::Delete, Input::Restart { give_up_memory: false }, Input::Suspend, Input::Resume][command as usize].clone();
        if let Ok((once, _)) = step(&session, command.clone(), 300) {
            prop_assert_eq!(step(&once, command, 400), Ok((once, vec![])));
        }
    }

    #[test]
    fn deleting_is_legal_everywhere_and_final(inputs in vec(input(), 0..60), after in vec(input(), 0..20)) {
        let (mut session, _) = super::new();
        for input in inputs.into_iter().filter(|i| *i != Input::Delete) {
            session = step(&session, input, 200).map_or(session, |(next, _)| next);
        }
        let (mut session, effects) = step(&session, Input::Delete, 300).unwrap();
        prop_assert_eq!(effects, vec![Effect::Remove]);
        for input in after {
            let again = matches!(input, Input::HostRestarted | Input::Adopting);
            if let Ok((next, effects)) = step(&session, input, 400) {
                prop_assert_eq!(&next, &session);
                prop_assert_eq!(effects, if again { vec![Effect::Remove] } else { vec![] });
                session = next;
            }
        }
    }
}
