//! Waits: one step at a time; whole histories in `waiting`.

mod reviews;
mod turns;
mod typed;

use rstest::rstest;

use super::{super::*, read, running, typed as has, types, with};
use crate::{
    Turn, attention,
    checks::CheckState,
    pulls::{Standing, Verdict},
};

fn wait(id: u64, what: WaitFor) -> Input {
    Input::WaitBegan { generation: 3, wait: Wait { id, what, pull: None, since: 100, until: None } }
}

fn wait_of(id: u64, what: WaitFor, number: u64) -> Input {
    Input::WaitBegan { generation: 3, wait: Wait { id, what, pull: Some(number), since: 100, until: None } }
}

fn check(name: &str, state: CheckState) -> CheckSeen {
    let log = if state.is_bad() { "line one\nline two".into() } else { String::new() };
    CheckSeen { name: name.into(), state, summary: String::new(), url: String::new(), log, started_at: 10 }
}

fn review(id: u64) -> ReviewSeen {
    let comments =
        vec![CommentSeen { path: "src/a.rs".into(), line: Some(7), quote: "let x;".into(), body: "why?".into() }];
    ReviewSeen { id, by: "kim".into(), verdict: Verdict::RequestChanges, body: "not yet".into(), comments }
}

/// A pull request whose two checks stand so.
pub(super) fn seen(head: &str, states: [CheckState; 2], reviews: u64) -> Observation {
    let checks: Vec<_> = ["unit", "integration"].iter().zip(states).map(|(name, state)| check(name, state)).collect();
    let passed = states.iter().filter(|state| **state == CheckState::Passed).count();
    let bad = checks.iter().find(|check| check.state.is_bad());
    Observation {
        own: vec![5],
        pull: Pull {
            number: 5,
            fate: Fate::Open,
            head: head.into(),
            passed: u32::try_from(passed).unwrap(),
            total: 2,
            failed: bad.map(|check| Failure { name: check.name.clone(), at: 0 }),
            standing: Standing::Waiting,
            since: 0,
        },
        checks,
        reviews: (1..=reviews).map(review).collect(),
    }
}

fn observed(head: &str, states: [CheckState; 2]) -> Input {
    Input::Observed(Some(Box::new(seen(head, states, 0))))
}

/// Two checks, the second of which was run again at this time.
fn again(states: [CheckState; 2], at: i64) -> Input {
    let mut seen = seen("a", states, 0);
    seen.checks[1].started_at = at;
    Input::Observed(Some(Box::new(seen)))
}

use CheckState::{Failed, Passed, Running as Runs};

fn all(session: Session, inputs: impl IntoIterator<Item = Input>) -> (Session, Vec<Effect>) {
    let mut effects = vec![];
    let session = inputs.into_iter().fold(session, |session, input| {
        let (next, did) = step(&session, input, 200).unwrap();
        effects.extend(did);
        next
    });
    (session, effects)
}

fn tells(effects: &[Effect]) -> Vec<(u64, &Answer)> {
    let tell = |effect: &'_ Effect| matches!(effect, Effect::Deliver { .. });
    effects
        .iter()
        .filter(|e| tell(e))
        .map(|e| match e {
            Effect::Deliver { wait, answer, .. } => (*wait, answer),
            _ => unreachable!(),
        })
        .collect()
}

#[test]
fn a_wait_reads_the_forge_and_is_answered_once_the_checks_are_done() {
    let inputs = [wait(1, WaitFor::Checks), observed("a", [Passed, Runs]), observed("a", [Passed, Passed])];
    let (s, effects) = all(running(), inputs);
    assert_eq!(effects[0], Effect::Observe);
    let told = tells(&effects);
    assert!(matches!(told[..], [(1, Answer::Checks { outcome, head, .. })] if outcome == "passed" && head == "a"));
    let (s, _) = all(s, [Input::Delivered { generation: 3 }, observed("a", [Passed, Passed])]);
    assert_eq!((s.wait, s.answer, s.activity), (None, None, Activity::Working));
}

#[test]
fn the_first_failure_answers_with_its_log_before_all_are_done() {
    let (_, effects) = all(running(), [wait(1, WaitFor::Checks), observed("a", [Runs, Failed])]);
    let told = tells(&effects);
    let [(1, Answer::Checks { outcome, checks, .. })] = &told[..] else { panic!("{told:?}") };
    assert_eq!((outcome.as_str(), checks[1].log.as_str()), ("failed", "line one\nline two"));
}

#[test]
fn an_answer_brings_a_suspended_session_back_and_is_told_then() {
    let (s, _) = all(running(), [wait(1, WaitFor::Checks), Input::Suspend, Input::Suspended]);
    assert_eq!(s.lifecycle, Lifecycle::Suspended);
    let (s, effects) = all(s, [observed("a", [Passed, Runs])]);
    assert_eq!((s.lifecycle.clone(), effects), (Lifecycle::Suspended, vec![]));
    let (s, _) = all(s, [observed("a", [Passed, Passed])]);
    let s = Session { lifecycle: Lifecycle::Resuming, generation: 4, ..s };
    let due = s.due().map(Box::new);
    let resumed = |answered| Input::Resumed { generation: 4, answered };
    let (_, effects) = all(s.clone(), [resumed(None)]);
    assert_eq!(tells(&effects).len(), 1);
    // What its guest took with the handshake is not told again, also where something newer came meanwhile.
    let (taken, effects) = all(s.clone(), [observed("a", [Failed, Passed]), resumed(due.clone())]);
    assert_eq!((tells(&effects).len(), &taken.wait, taken.activity), (0, &None, Activity::Working));
    let told = &taken.delivered.last().unwrap().checks;
    assert_eq!(told, "a passed", "of what it took");
    // Of another wait, or of another life, it is nothing.
    let other = due.clone().map(|due| Box::new(Due { wait: 9, ..*due }));
    assert_eq!(tells(&all(s.clone(), [resumed(other)]).1).len(), 1);
    let (late, effects) = all(s.clone(), [Input::Resumed { generation: 3, answered: due }]);
    assert_eq!((late, effects), (s, vec![]));
}

#[test]
fn what_could_not_be_resumed_is_not_tried_again_for_the_same_answer() {
    let inputs = [wait(1, WaitFor::Checks), Input::Suspend, Input::Suspended, observed("a", [Failed, Runs])];
    let (s, _) = all(running(), inputs);
    assert!(s.wanted);
    let failed = Input::ResumeFailed { why: "another QEMU".into() };
    let (s, _) = all(s, [Input::Admitted, failed]);
    let (same, effects) = all(s, [observed("a", [Failed, Runs])]);
    assert_eq!((same.notice.as_str(), effects.len(), same.wanted), ("could not be resumed: another QEMU", 0, false));
    // Something else may be worth another try, and so may a person's word.
    let (_, effects) = all(same.clone(), [observed("b", [Failed, Runs])]);
    assert_eq!(effects, [Effect::Admit]);
    assert_eq!(all(same, [Input::Resume]).1, [Effect::Admit]);
}

#[test]
fn an_answer_while_it_is_put_down_is_not_lost() {
    let inputs = [wait(1, WaitFor::Checks), Input::Suspend, observed("a", [Passed, Passed])];
    let (s, _) = all(running(), inputs);
    assert!(s.wake && s.answer.is_some());
    let (s, effects) = all(s, [Input::Suspended]);
    assert!(!effects.is_empty() && s.answer.is_some());
}

#[test]
fn a_push_before_the_answer_is_told_takes_it_back() {
    let inputs = [wait(1, WaitFor::Checks), Input::Suspend, observed("a", [Failed, Runs]), observed("b", [Runs, Runs])];
    let (s, _) = all(running(), inputs);
    assert_eq!(s.answer, None);
}

/// A pull request of a session that has the fifth and the sixth.
fn of_two(number: u64, states: [CheckState; 2]) -> Input {
    let mut seen = seen("a", states, 1);
    (seen.own, seen.pull.number) = (vec![5, 6], number);
    Input::Observed(Some(Box::new(seen)))
}

#[rstest]
#[case::checks(WaitFor::Checks)]
#[case::review(WaitFor::Review)]
fn a_wait_that_names_a_pull_request_is_answered_by_that_one(#[case] what: WaitFor) {
    let (s, effects) = all(running(), [of_two(6, [Passed, Passed]), wait_of(1, what, 5), of_two(6, [Passed, Passed])]);
    assert_eq!(effects, [Effect::Observe], "of another it says nothing");
    let (s, effects) = all(s, [of_two(5, [Passed, Passed])]);
    let told = tells(&effects);
    assert!(matches!(told[..], [(1, Answer::Checks { number: 5, .. } | Answer::Review { number: 5, .. })]), "{told:?}");
    // Afterwards people are shown the newest again.
    let (s, effects) = all(s, [Input::Delivered { generation: 3 }]);
    assert_eq!((effects, s.activity), (vec![Effect::Observe], Activity::Working));
}

#[rstest]
#[case(Input::WaitWithdrawn { generation: 3, id: 1 })]
#[case(Input::AgentExited { generation: 3, code: 0, last: String::new() })]
#[case(Input::VmEnded { generation: 3, cause: Cause::LinkLost })]
#[case(wait(2, WaitFor::Message))]
#[case(wait(2, WaitFor::Checks))]
#[case(wait_of(2, WaitFor::Checks, 6))]
fn the_newest_is_seen_again_however_such_a_wait_ends(#[case] end: Input) {
    let (s, _) = all(running(), [wait_of(1, WaitFor::Checks, 5), of_two(5, [Runs, Passed])]);
    let (_, effects) = all(s, [end]);
    assert_eq!(effects, [Effect::Observe]);
}

#[test]
fn a_pull_request_of_another_is_refused_with_those_that_there_are() {
    let (_, effects) = all(running(), [wait_of(1, WaitFor::Review, 7), of_two(6, [Passed, Passed])]);
    let told = tells(&effects);
    let [(1, Answer::Refused { why })] = &told[..] else { panic!("{told:?}") };
    let says = "#7 is no pull request of this session; wait for one of #6, #5, or without --pr for the newest";
    assert_eq!(why, says);
    let (_, effects) = all(running(), [wait_of(1, WaitFor::Review, 7), Input::Observed(None)]);
    let told = tells(&effects);
    let [(1, Answer::Refused { why })] = &told[..] else { panic!("{told:?}") };
    assert!(why.ends_with("nor any other; open one with `session pr open --title TEXT`"), "{why}");
}

#[test]
fn a_fork_has_no_pull_request_of_the_session_that_it_was_made_from() {
    let (s, _) = all(running(), [wait_of(1, WaitFor::Checks, 5), Input::Suspend, Input::Suspended]);
    let new = NewFork { id: "02".into(), slug: "b".into(), title: "b".into(), owner: "sam".into(), budget: None };
    let (fork, effects) = s.fork(new, 300);
    assert!(effects.contains(&Effect::Observe));
    let (fork, _) = all(fork, [Input::Observed(None)]);
    assert!(matches!(fork.answer, Some(Answer::Refused { .. })), "{fork:?}");
}

#[test]
fn a_record_of_before_knows_the_reviews_of_the_pull_request_last_seen() {
    let mut json = serde_json::to_value(running()).unwrap();
    json["reviews_told"] = 2.into();
    json["pull"] = serde_json::to_value(seen("a", [Passed, Passed], 0).pull).unwrap();
    json.as_object_mut().unwrap().remove("told");
    let old: Session = serde_json::from_value(json).unwrap();
    let review = |count| Input::Observed(Some(Box::new(seen("a", [Passed, Passed], count))));
    let (s, effects) = all(old, [wait(1, WaitFor::Review), review(2)]);
    assert!(tells(&effects).is_empty());
    let (_, effects) = all(s, [review(3)]);
    assert!(matches!(tells(&effects)[..], [(1, Answer::Review { reviews, .. })] if reviews.len() == 1));
}

#[test]
fn a_message_answers_a_wait_for_one_and_is_not_typed_as_well() {
    let send = |text: &str| Input::Send(text.into());
    let (s, effects) = all(running(), [wait(1, WaitFor::Message), send("a"), send("b")]);
    assert_eq!(tells(&effects), [(1, &Answer::Message { text: "a".into() })]);
    let (s, effects) = all(s, [Input::Delivered { generation: 3 }]);
    assert_eq!(effects, [types(2, "b")]);
    assert_eq!(s.inbox.iter().map(|message| &*message.text).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn what_is_sent_while_one_is_not_read_goes_to_the_wait_and_not_behind_it() {
    let send = |text: &str| Input::Send(text.into());
    let (s, _) = all(running(), [send("a"), has(1), wait(1, WaitFor::Message), send("b")]);
    assert_eq!(s.answer, Some(Answer::Message { text: "b".into() }));
    let (s, effects) = all(s, [Input::Delivered { generation: 3 }, read(1)]);
    assert_eq!((s.inbox.len(), effects), (0, vec![]));
}

#[test]
fn keys_are_no_answer_to_a_wait_for_a_message() {
    let keys = Message { keys: vec!["Esc".parse().unwrap()], ..Message::default() };
    let (_, effects) = all(running(), [wait(1, WaitFor::Message), Input::Send(keys)]);
    assert!(matches!(&effects[..], [Effect::Type { .. }]), "{effects:?}");
}

#[test]
fn a_message_does_not_end_a_wait_for_checks() {
    let (s, effects) = all(running(), [wait(1, WaitFor::Checks), Input::Send("a".into())]);
    assert!(effects.contains(&types(1, "a")));
    let (s, effects) = all(s, [observed("a", [Passed, Passed]), has(1)]);
    assert_eq!((tells(&effects).len(), s.delivering), (1, true));
}

#[test]
fn a_command_that_was_ended_waits_no_more() {
    let gone = Input::WaitWithdrawn { generation: 3, id: 1 };
    let (s, effects) = all(running(), [wait(1, WaitFor::Checks), gone.clone(), observed("a", [Passed, Passed])]);
    assert!(tells(&effects).is_empty() && s.wait.is_none());
    // One that has begun meanwhile goes on.
    let (s, _) = all(running(), [wait(1, WaitFor::Checks), wait(2, WaitFor::Review), gone]);
    assert_eq!(s.wait.map(|wait| wait.id), Some(2));
}

#[rstest]
#[case::time_is_up(Input::TimeIsUp { id: 1 }, Answer::TimedOut)]
#[case::no_pull_request(Input::Observed(None), Answer::NoPullRequest)]
fn ends_without_result(#[case] input: Input, #[case] answer: Answer) {
    let (_, effects) = all(running(), [wait(1, WaitFor::Checks), input]);
    assert_eq!(tells(&effects), [(1, &answer)]);
}

#[test]
fn a_host_that_comes_back_reads_the_forge_again() {
    let (s, _) = all(running(), [wait(1, WaitFor::Checks), Input::Suspend, Input::Suspended]);
    let (s, effects) = all(s, [Input::HostRestarted]);
    assert!(effects.contains(&Effect::Observe) && s.wait.is_some());
    let (s, effects) = all(with(Lifecycle::Running), [wait(1, WaitFor::Checks), Input::HostRestarted]);
    assert!(s.wait.is_none() && !effects.is_empty());
}

#[rstest]
#[case(wait(1, WaitFor::Checks), [Runs, Failed], Turn::Agent, "working")]
#[case(wait(1, WaitFor::Checks), [Runs, Passed], Turn::Checks, "waits on checks: 1 of 2")]
#[case(wait(1, WaitFor::Review), [Passed, Passed], Turn::You, "review of #5 by you since 2 h")]
#[case(wait(1, WaitFor::Review), [Runs, Passed], Turn::Checks, "waits for review of #5 after its checks: 1 of 2")]
fn whose_turn(#[case] wait: Input, #[case] states: [CheckState; 2], #[case] turn: Turn, #[case] reason: &str) {
    let (s, effects) = all(running(), [wait, observed("a", states)]);
    let told = effects.iter().any(|effect| matches!(effect, Effect::Deliver { .. }));
    let (s, _) = if told { all(s, [Input::Delivered { generation: 3 }]) } else { (s, vec![]) };
    let seen = attention(&s, 2 * 3600 * 1000 + 5);
    assert_eq!((seen.turn, seen.reason.as_str()), (turn, reason));
}
