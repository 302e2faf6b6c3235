//! Checkpoints: taken while a session runs, and gone back to.

use super::*;

fn checkpointed() -> Input {
    Input::Checkpointed { number: 1, stood: 40, by: crate::Actor::Host }
}

#[test]
fn one_is_taken_of_a_session_that_runs() {
    let (stands, effects) = step(&running(), Input::Checkpoint, 200).unwrap();
    assert_eq!((stands.forking, effects), (true, vec![]));
    for busy in [
        stands.clone(),
        Session { typing: true, ..running() },
        Session { delivering: true, ..running() },
        with(Lifecycle::Suspended),
        with(Lifecycle::Resuming),
        with(crashed()),
        with(stopped()),
    ] {
        assert!(step(&busy, Input::Checkpoint, 200).is_err(), "{busy:?}");
    }
    // What came meanwhile is typed when it runs on.
    let (stands, effects) = step(&stands, message(), 210).unwrap();
    assert_eq!(effects, []);
    let (runs, effects) = step(&stands, checkpointed(), 220).unwrap();
    assert_eq!((runs.forking, effects), (false, vec![types(1, "go on")]));
}

#[test]
fn one_that_fails_is_told_until_one_is_taken() {
    let stands = Session { forking: true, ..running() };
    let (told, _) = step(&stands, Input::NotCheckpointed { why: "no room".into() }, 200).unwrap();
    assert_eq!((told.forking, told.notice.as_str()), (false, "no checkpoint could be taken: no room"));
    let (well, _) = step(&Session { forking: true, ..told }, checkpointed(), 210).unwrap();
    assert_eq!(well.notice, "");
    let broken = Session { notice: "its repository is broken: HEAD".into(), ..running() };
    let (told, _) = step(&broken, Input::NotCheckpointed { why: "no room".into() }, 200).unwrap();
    assert_eq!(told, broken);
}

#[test]
fn it_goes_back_to_what_its_agent_was_and_stays_who_it_is() {
    let then = Session { text: "then".into(), sent: 1, forking: true, updated_at: 150, ..running() };
    let later = Message { id: 2, ..Message::from("since") };
    let now = Session {
        generation: 7,
        title: "another".into(),
        text: "now".into(),
        inbox: vec![
            Message { id: 1, ..Message::from("read since") },
            later.clone(),
            Message { id: 3, of_forge: true, ..Message::from("checks passed") },
        ],
        sent: 3,
        spending: Spending { answers: 3, ..Spending::default() },
        budget: Some(5),
        ..with(crashed())
    };
    let back = Input::Restore { number: 4, then: Box::new(then.clone()), at: 150 };
    let (restored, effects) = step(&now, back.clone(), 300).unwrap();
    assert_eq!(
        (restored.lifecycle.clone(), restored.wanted, effects),
        (Lifecycle::Suspended, true, vec![Effect::Admit])
    );
    assert_eq!((restored.text.as_str(), restored.title.as_str(), restored.generation), ("then", "another", 8));
    assert_eq!((restored.inbox.clone(), restored.sent), (vec![later], 3));
    assert_eq!((restored.spending.answers, restored.budget, restored.forking), (3, Some(5), false));
    let (resumes, effects) = step(&restored, Input::Admitted, 310).unwrap();
    assert_eq!((resumes.lifecycle, effects), (Lifecycle::Resuming, vec![Effect::Resume { generation: 9 }]));
    // What is said yet of the life that was given up, or how it ended, is not of this one.
    for late in [
        Input::VmEnded { generation: 7, cause: Cause::LinkLost },
        Input::AgentExited { generation: 7, code: 1, last: String::new() },
    ] {
        assert_eq!(step(&restored, late, 305).unwrap(), (restored.clone(), vec![]));
    }
    // One that runs is ended first.
    let (_, effects) = step(&running(), back.clone(), 300).unwrap();
    assert_eq!(effects, [Effect::End, Effect::Admit]);
    for moves in [with(Lifecycle::Suspending), with(Lifecycle::Resuming), with(Lifecycle::Starting)] {
        assert!(step(&moves, back.clone(), 300).is_err());
    }
    assert!(step(&Session { forking: true, ..running() }, back.clone(), 300).is_err());
    assert!(step(&Session { deleting: true, ..now }, back, 300).is_err());
}
