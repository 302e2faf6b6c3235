//! What is reported of an agent, and what becomes of it.

use rstest::rstest;

use super::*;
use crate::{
    UnixMillis,
    reports::{Kind, Report, Source, State},
    story::of_session,
};

const MINUTE: UnixMillis = 60_000;

fn report(source: Source, state: State, text: &str, at: UnixMillis) -> Input {
    let report = Report { text: text.into(), ..Report::new(state, at) };
    Input::Reported { generation: 3, source, report: Some(Box::new(report)) }
}

fn program(state: State, text: &str, at: UnixMillis) -> Input {
    report(Source::Program, state, text, at)
}

fn after(inputs: &[Input]) -> Session {
    inputs.iter().fold(running(), |s, input| step(&s, input.clone(), 1000).unwrap().0)
}

fn blocked(kind: Option<Kind>) -> State {
    State::Blocked(kind)
}

#[rstest]
#[case::permission(
    blocked(Some(Kind::Permission)),
    "Bash(ls)",
    Turn::You,
    "permission",
    "needs a permission: Bash(ls)"
)]
#[case::question(blocked(Some(Kind::Question)), "which?", Turn::You, "asks", "asks: which?")]
#[case::auth(blocked(Some(Kind::Auth)), "", Turn::You, "sign in", "needs you to sign in")]
#[case::blocked(blocked(None), "", Turn::You, "asks", "waits for you")]
#[case::error(State::Error, "no such model", Turn::You, "failed", "failed: no such model")]
#[case::limited(State::Limited, "out of quota", Turn::You, "limited", "out of quota")]
#[case::working(State::Working, "Reading", Turn::Agent, "working", "working: Reading")]
#[case::idle(State::Idle, "", Turn::You, "idle", "finished its turn, 5 min ago")]
#[case::done(State::Done, "3 files changed", Turn::You, "idle", "finished its turn, 5 min ago: 3 files changed")]
fn what_a_program_says_is_whose_turn_it_is(
    #[case] state: State,
    #[case] text: &str,
    #[case] turn: Turn,
    #[case] word: &str,
    #[case] reason: &str,
) {
    let s = after(&[program(State::Working, "", 1), program(state, text, 1000)]);
    let seen = attention(&s, 1000 + 5 * MINUTE);
    assert_eq!((seen.turn, seen.word, &*seen.reason), (turn, word, reason));
}

#[test]
fn a_program_that_has_only_begun_has_finished_nothing() {
    let s = after(&[program(State::Idle, "", 1000)]);
    assert_eq!((&*attention(&s, 2000).reason, s.reports.turn_ended()), ("waits for its task", None));
}

#[test]
fn a_program_that_was_given_a_task_and_has_not_begun_is_at_work() {
    let given = Session { given_task: true, ..running() };
    let idle = step(&given, program(State::Idle, "", 1000), 1000).unwrap().0;
    assert_eq!((idle.activity, idle.waits(), idle.ended_turn()), (Activity::Working, false, false));
    assert_eq!(attention(&idle, 2000).reason, "working: begins its task");
    let all = [program(State::Working, "", 1001), program(State::Idle, "", 1002)];
    let ended = all.into_iter().fold(idle, |s, input| step(&s, input, 1002).unwrap().0);
    assert!(ended.ended_turn() && ended.waits());
}

#[rstest]
#[case::argument(&["codex", "--", "fix it"], true)]
#[case::within_an_argument(&["claude", "--prompt=fix it"], true)]
#[case::elsewhere(&["my-agent"], false)]
fn a_task_is_given_by_the_command(#[case] command: &[&str], #[case] given: bool) {
    let command = command.iter().map(ToString::to_string).collect();
    let new = NewSession { command, task: "fix it".into(), ..asked_for() };
    assert_eq!(Session::new(new, 1).0.given_task, given);
}

#[test]
fn progress_and_the_part_that_asks_are_said() {
    let with = |state, progress, id: &str| {
        let report = Report { progress, id: id.into(), text: "Tests".into(), ..Report::new(state, 1) };
        Input::Reported { generation: 3, source: Source::Program, report: Some(Box::new(report)) }
    };
    let reason = |s: &Session| attention(s, 1000).reason;
    assert_eq!(reason(&after(&[with(State::Working, Some(40), "")])), "working: Tests, 40 %");
    assert_eq!(reason(&after(&[with(blocked(Some(Kind::Question)), None, "deploy/a")])), "asks: Tests (deploy/a)");
}

#[test]
fn a_limit_says_when_it_ends() {
    let until = Some(1000 + 30 * MINUTE);
    let limited = Report { until, text: "rate limited".into(), ..Report::new(State::Limited, 1000) };
    let input = Input::Reported { generation: 3, source: Source::Hook, report: Some(Box::new(limited)) };
    let s = after(&[input]);
    assert_eq!(attention(&s, 1000).reason, "rate limited; it ends in 30 min");
    assert_eq!(attention(&s, 1000 + 32 * MINUTE).reason, "rate limited; it ended 2 min ago");
}

#[test]
fn a_bell_says_nothing_where_the_program_does() {
    let rang =
        Input::Seen { generation: 3, sign: Sign::Called { at: 900, text: String::new(), by: Default::default() } };
    let s = after(&[program(State::Working, "", 500), rang.clone()]);
    assert_eq!((attention(&s, 1000).turn, attention(&s, 1000).word), (Turn::Agent, "working"));
    assert_eq!(attention(&after(&[rang]), 1000).word, "calls");
    let quiet = Input::Seen { generation: 3, sign: Sign::Quiet { since: 1000 } };
    let s = after(&[program(State::Working, "", 500), quiet]);
    assert_eq!(attention(&s, 1000 + 3 * MINUTE).reason, "working; last output 3 min ago");
}

#[test]
fn a_title_that_says_nothing_any_more_is_of_a_program_at_work() {
    let idle = report(Source::Terminal, State::Idle, "", 2);
    let unknown = || Input::Reported { generation: 3, source: Source::Terminal, report: None };
    let s = after(&[report(Source::Terminal, State::Working, "", 1), idle.clone()]);
    assert_eq!((s.activity, s.ended_turn()), (Activity::Idle, true));
    let s = step(&s, unknown(), 1000).unwrap().0;
    assert_eq!((s.activity, attention(&s, 1000).word), (Activity::Working, "working"));
    // Where somebody else says more, that stands.
    let s = after(&[
        report(Source::Hook, State::Working, "", 1),
        report(Source::Hook, State::Idle, "", 2),
        idle,
        unknown(),
    ]);
    assert_eq!(s.activity, Activity::Idle);
}

#[test]
fn an_agents_own_wait_counts_more_until_it_is_over() {
    let wait = Wait { id: 1, what: WaitFor::Checks, pull: None, since: 1000, until: None };
    let began = Input::WaitBegan { generation: 3, wait };
    let s = after(&[program(State::Working, "Bash", 1), began, program(State::Working, "session wait checks", 2)]);
    assert_eq!((s.activity, s.ended_turn()), (Activity::WaitingChecks, false));
    // Somebody breaks the command off: the program's turn has ended.
    let idle = step(&s, program(State::Idle, "", 3), 1000).unwrap().0;
    let s = step(&idle, Input::WaitWithdrawn { generation: 3, id: 1 }, 1000).unwrap().0;
    assert_eq!((s.activity, s.ended_turn()), (Activity::Idle, true));
}

#[test]
fn a_turn_has_ended_until_something_is_sent() {
    let s = after(&[program(State::Working, "", 1), program(State::Idle, "", 2)]);
    assert!(s.ended_turn() && s.waits());
    let sent = step(&s, message(), 1000).unwrap().0;
    assert_eq!((sent.activity, sent.ended_turn()), (Activity::Working, false));
}

#[test]
fn what_does_not_decide_ends_no_turn_that_something_was_sent_for() {
    let hook = |state, text, at| report(Source::Hook, state, text, at);
    let s = after(&[
        program(State::Working, "", 1),
        hook(State::Idle, "Fixed.", 2),
        program(State::Idle, "", 3),
        message(),
    ]);
    assert_eq!(s.activity, Activity::Working);
    // Claude Code reminds of a prompt that nobody has used for a minute, also where it was on disk meanwhile; then it has the message.
    let s = step(&s, hook(State::Idle, "Fixed.", 1000), 1000).unwrap().0;
    assert_eq!((s.activity, s.ended_turn()), (Activity::Working, false));
    let s = step(&s, hook(State::Working, "", 1100), 1100).unwrap().0;
    assert_eq!((s.activity, s.ended_turn()), (Activity::Working, false));
    let s = step(&s, program(State::Working, "", 1200), 1200).unwrap().0;
    let s = step(&s, program(State::Idle, "", 1300), 1300).unwrap().0;
    assert!(s.ended_turn(), "{:?}", s.activity);
    // A program whose hooks alone are heard says by them that it rests.
    let s = after(&[hook(State::Working, "", 1), hook(State::Idle, "", 2), message(), hook(State::Idle, "", 1000)]);
    assert!(s.ended_turn(), "{:?}", s.activity);
}

#[test]
fn a_permission_is_not_taken_for_answered_by_a_message() {
    let asks = blocked(Some(Kind::Permission));
    let s = after(&[program(State::Working, "", 1), program(asks, "Bash(ls)", 2), message()]);
    assert_eq!((s.reported().map(|(_, report)| report.state), attention(&s, 1000).word), (Some(asks), "permission"));
    let s = step(&s, program(State::Working, "", 3), 1000).unwrap().0;
    assert_eq!(attention(&s, 1000).turn, Turn::Agent);
}

#[test]
fn a_key_and_output_end_what_a_hook_said() {
    let asks = report(Source::Hook, blocked(Some(Kind::Permission)), "Bash(ls)", 500);
    let s = after(&[report(Source::Hook, State::Working, "", 1), asks]);
    assert_eq!(attention(&s, 1000).word, "permission");
    let s = step(&s, Input::Answered { generation: 3, at: 600, entered: false }, 1000).unwrap().0;
    assert_eq!((attention(&s, 1000).turn, s.activity), (Turn::Agent, Activity::Working));
    let status = Status { activity: Activity::NeedsInput, text: "which?".into(), choices: vec![] };
    let s = step(&running(), Input::AgentStatus { generation: 3, status }, 500).unwrap().0;
    let s = step(&s, Input::Answered { generation: 3, at: 600, entered: true }, 1000).unwrap().0;
    assert_eq!((attention(&s, 1000).turn, s.activity), (Turn::Agent, Activity::Working));
}

#[test]
fn reports_of_another_life_and_of_an_agent_that_ended_count_no_more() {
    let old = Input::Reported { generation: 2, source: Source::Program, report: Some(Box::default()) };
    assert_eq!(after(&[old]), running());
    let exited = Input::AgentExited { generation: 3, code: 0, last: String::new() };
    let s = after(&[program(State::Working, "", 1), exited, program(State::Working, "", 2)]);
    assert_eq!((s.activity, &s.reports.program), (Activity::Done, &None));
    let s = step(&s, Input::Restart { give_up_memory: false }, 1000).unwrap().0;
    assert_eq!(s.reports, crate::reports::Reports::default());
}

#[test]
fn the_story_tells_turns_and_permissions() {
    let told = |before: &Session, input: Input| {
        let after = step(before, input.clone(), 1000).unwrap().0;
        let actor = input.reporter(before);
        of_session(before, &input, &after, &actor, 1000).into_iter().map(|event| event.what).collect::<Vec<_>>()
    };
    let works = after(&[program(State::Working, "", 1)]);
    assert_eq!(told(&works, program(blocked(Some(Kind::Permission)), "ls", 2)), ["needs-permission"]);
    assert_eq!(told(&works, program(State::Done, "", 2)), ["turn-ended"]);
    assert_eq!(told(&works, program(State::Working, "more", 2)), [""; 0]);
}

#[test]
fn sessions_of_before_there_were_reports_load() {
    let mut json = serde_json::to_value(running()).unwrap();
    json.as_object_mut().unwrap().remove("reports");
    assert_eq!(serde_json::from_value::<Session>(json).unwrap(), running());
    let s = after(&[program(blocked(None), "", 1), report(Source::Hook, State::Limited, "x", 2)]);
    assert_eq!(serde_json::from_value::<Session>(serde_json::to_value(&s).unwrap()).unwrap(), s);
}

#[test]
fn a_turn_that_a_program_ends_waits_for_its_pull_request() {
    let s = Session { repository: Some("widgets".into()), ..after(&[program(State::Working, "", 1)]) };
    let (s, effects) = step(&s, program(State::Done, "opened #1", 2), 1000).unwrap();
    assert!(effects == [Effect::Observe] && s.tells_turns, "{effects:?}");
    assert_eq!(step(&s, program(State::Idle, "opened #1", 3), 1000).unwrap().1, [], "it is the same end");
    let pull = Pull {
        number: 1,
        fate: Fate::Open,
        head: "a".into(),
        passed: 0,
        total: 1,
        failed: None,
        standing: crate::pulls::Standing::Waiting,
        since: 0,
    };
    let seen = attention(&Session { pull: Some(pull), ..s }, 1000 + 5 * MINUTE);
    assert_eq!((seen.turn, seen.word), (Turn::Checks, "checks"));
    assert!(seen.reason.contains("finished its turn, 5 min ago: opened #1"), "{seen:?}");
}

#[test]
fn an_agent_whose_question_is_not_seen_any_more_was_answered() {
    let asks = report(Source::Terminal, blocked(Some(Kind::Question)), "Write? [y/N]", 500);
    let gone = Input::Reported { generation: 3, source: Source::Terminal, report: None };
    let s = after(&[asks.clone(), gone.clone()]);
    assert_eq!((s.activity, s.waits(), &*s.text), (Activity::Working, false, ""));
    // What it says itself is open until it is answered.
    let status = Status { activity: Activity::NeedsInput, text: "which?".into(), choices: vec![] };
    let own = Input::AgentStatus { generation: 3, status };
    assert_eq!(after(&[asks, own, gone]).activity, Activity::NeedsInput);
}
