//! Agents that their model's API has stopped, and that go on.

use proptest::{collection::vec, prelude::*};
use rstest::rstest;

use super::{
    histories::{input, lawful, legal},
    *,
};
use crate::{
    UnixMillis,
    explain::explain,
    profile::AfterRateLimit,
    reports::{Report, Source, State},
    story::of_session,
    usage::{Limit, Refusal},
};

const MINUTE: UnixMillis = 60_000;
const HOST: &str = "api.example.com";

/// An agent that is to go on, at work since 1000.
fn works() -> Session {
    let s = Session { after_rate_limit: AfterRateLimit::Resume, resumes: true, ..running() };
    reports(&s, Source::Program, State::Working, 1000)
}

fn take(s: &Session, source: Source, report: Option<Report>, now: UnixMillis) -> Session {
    step(s, Input::Reported { generation: s.generation, source, report: report.map(Box::new) }, now).unwrap().0
}

fn reports(s: &Session, source: Source, state: State, at: UnixMillis) -> Session {
    take(s, source, Some(Report::new(state, at)), at)
}

fn refused(s: &Session, refusal: Refusal, until: Option<UnixMillis>, at: UnixMillis) -> Session {
    take(s, Source::Gateway, Some(Report::of_limit(&Limit { refusal, until }, HOST, at)), at)
}

fn limited(s: &Session, until: UnixMillis, at: UnixMillis) -> Session {
    refused(s, Refusal::RateLimited, Some(until), at)
}

fn exits(s: &Session, code: i32) -> Session {
    step(s, Input::AgentExited { generation: s.generation, code, last: String::new() }, 3000).unwrap().0
}

fn is_over(s: &Session, now: UnixMillis) -> (Session, Vec<Effect>) {
    step(s, Input::LimitIsOver, now).unwrap()
}

/// An API has begun to answer.
fn begins_to_answer(s: &Session, now: UnixMillis) -> Session {
    take(s, Source::Gateway, Some(Report::new(State::Working, now)), now)
}

fn types_a_key(s: &Session, at: UnixMillis) -> Session {
    step(s, Input::Answered { generation: s.generation, at, entered: false }, at).unwrap().0
}

/// A turn that ended by a limit until minute 5.
fn stopped_until_5() -> Session {
    reports(&limited(&works(), 5 * MINUTE, 2000), Source::Program, State::Idle, 2500)
}

/// Text of the message that is typed; empty: none is.
fn typed(effects: &[Effect]) -> &str {
    match effects {
        [Effect::Type { message, .. }] => &message.text,
        _ => "",
    }
}

#[test]
fn an_agent_at_work_is_shown_as_limited_until_it_is_answered_or_the_time_is_over() {
    let s = limited(&works(), 5 * MINUTE, 2000);
    let seen = attention(&s, 2000);
    assert_eq!((seen.turn, seen.word, &*seen.reason), (Turn::Agent, "limited", "rate limited; it ends in 4 min"));
    assert_eq!(
        (s.activity, s.waits(), s.goes_on_at()),
        (Activity::Working, false, None),
        "its program tries again itself"
    );
    let explained = explain(&s, 2000);
    assert_eq!((explained.decides, explained.said.len()), ("osc-7501", 2));
    let gateway = &explained.said[1];
    assert_eq!((gateway.source, &*gateway.state, &*gateway.app), ("gateway", "limited", HOST));
    assert_eq!((gateway.until, gateway.at), (Some(5 * MINUTE), 2000));
    assert_eq!(attention(&s, 5 * MINUTE).word, "working");
    assert_eq!(attention(&take(&s, Source::Gateway, None, 3000), 3000).word, "working");
    assert_eq!(attention(&begins_to_answer(&s, 3000), 3000).word, "working");
    // Of an agent that says nothing of itself, too.
    let silent = limited(&running(), 5 * MINUTE, 2000);
    assert_eq!((attention(&silent, 2000).word, explain(&silent, 2000).decides), ("limited", "gateway"));
    let over = 5 * MINUTE;
    assert_eq!((attention(&silent, over).word, explain(&silent, over).decides), ("working", ""), "it is over");
    // A question is a person's all the same.
    let asks = reports(&s, Source::Program, State::Blocked(None), 3000);
    assert_eq!(attention(&asks, 3000).word, "asks");
}

#[rstest]
#[case::of_the_program(Source::Program, State::Idle)]
#[case::in_error(Source::Program, State::Error)]
#[case::of_a_hook(Source::Hook, State::Limited)]
#[case::of_a_title(Source::Terminal, State::Idle)]
fn a_turn_that_a_limit_ended_goes_on_once_when_that_is_over(#[case] source: Source, #[case] state: State) {
    let begun = Session { after_rate_limit: AfterRateLimit::Resume, ..running() };
    let s = limited(&reports(&begun, source, State::Working, 1000), 5 * MINUTE, 2000);
    let s = reports(&s, source, state, 2500);
    let seen = attention(&s, MINUTE);
    assert_eq!((seen.turn, seen.word, s.goes_on_at()), (Turn::Agent, "limited", Some(5 * MINUTE)));
    assert!(seen.reason.ends_with("; it ends in 4 min; the agent goes on by itself in 4 min"), "{seen:?}");
    assert_eq!(is_over(&s, 5 * MINUTE - 1), (s.clone(), vec![]));
    let (told, effects) = is_over(&s, 5 * MINUTE);
    assert!(typed(&effects).starts_with("You were stopped by a limit of your model, which is over."), "{effects:?}");
    assert_eq!(is_over(&told, 9 * MINUTE), (told.clone(), vec![]), "it is told once");
    assert_eq!((attention(&told, 5 * MINUTE).turn, told.activity), (Turn::Agent, Activity::Working));
    // What is heard before the program says that it works is no news of it.
    let answered = take(&begins_to_answer(&told, 5 * MINUTE), Source::Gateway, None, 5 * MINUTE);
    assert_eq!(answered.activity, Activity::Working);
    let input = Input::LimitIsOver;
    let events = of_session(&s, &input, &told, &input.reporter(&s), 5 * MINUTE);
    assert_eq!((&*events[0].what, &*events[0].text), ("went-on", "after it was stopped: rate limited"));
}

#[rstest]
#[case::answered_since(|s: &Session| take(s, Source::Gateway, None, 3000))]
#[case::is_answered_now(|s: &Session| begins_to_answer(s, 3000))]
#[case::typed_since(|s: &Session| types_a_key(s, 3000))]
#[case::sent_something_that_was_read(|s: &Session| {
    let (sent, _) = step(s, message(), 3000).unwrap();
    let read = step(&sent, Input::Read { generation: 3, id: sent.inbox[0].id }, 3100).unwrap().0;
    // Its program has said nothing new.
    reports(&read, Source::Hook, State::Idle, 3200)
})]
#[case::begun_again(|s: &Session| reports(s, Source::Program, State::Working, 3000))]
#[case::sent_something(|s: &Session| step(s, message(), 3000).unwrap().0)]
#[case::waits_for_a_person(|s: &Session| Session { after_rate_limit: AfterRateLimit::Wait, ..s.clone() })]
#[case::types_nothing(|s: &Session| Session { typed_events: TypedEvents::Never, ..s.clone() })]
#[case::without_a_budget(|s: &Session| Session { budget: Some(0), ..s.clone() })]
#[case::crashed(|s: &Session| Session { lifecycle: crashed(), ..s.clone() })]
#[case::ended_well(|s: &Session| exits(s, 0))]
#[case::out_of_quota(|s: &Session| refused(s, Refusal::OutOfQuota, None, 2400))]
#[case::limited_after_its_end(|s: &Session| limited(s, 9 * MINUTE, 2600))]
#[case::limited_before_its_turn(|s: &Session| {
    let next = reports(s, Source::Program, State::Working, 3000);
    reports(&next, Source::Program, State::Idle, 4000)
})]
fn it_does_not_go_on_by_itself(#[case] change: fn(&Session) -> Session) {
    let s = change(&stopped_until_5());
    assert_eq!((s.goes_on_at(), is_over(&s, 99 * MINUTE)), (None, (s.clone(), vec![])));
}

#[test]
fn it_waits_for_a_person_where_nobody_knows_when_a_limit_ends() {
    // At work, too, whether it says so or nothing.
    for s in [works(), running()] {
        let s = refused(&s, Refusal::OutOfQuota, None, 2000);
        let seen = attention(&s, MINUTE);
        assert_eq!((seen.turn, seen.word, &*seen.reason), (Turn::You, "limited", "out of quota"));
        let (told, _) = step(&s, message(), 3000).unwrap();
        assert_eq!(attention(&told, 3000).turn, Turn::Agent, "somebody has seen to it");
    }
    let asks = Input::Seen {
        generation: 3,
        sign: crate::signs::Sign::Called { at: 3000, text: "which?".into(), by: crate::signs::Call::Osc9 },
    };
    let asks = step(&refused(&running(), Refusal::OutOfQuota, None, 2000), asks, 3000).unwrap().0;
    assert_eq!((attention(&asks, 3000).word, explain(&asks, 3000).decides), ("calls", "osc-9"));
    let s = reports(&refused(&works(), Refusal::OutOfQuota, None, 2000), Source::Program, State::Idle, 2500);
    let seen = attention(&s, MINUTE);
    assert_eq!((seen.turn, seen.word, &*seen.reason), (Turn::You, "limited", "out of quota"));
}

#[test]
fn a_suspended_agent_is_brought_back_to_go_on() {
    let s = stopped_until_5();
    assert!(s.waits(), "it takes no memory meanwhile");
    let (s, effects) = is_over(&Session { lifecycle: Lifecycle::Suspended, ..s }, 5 * MINUTE);
    assert_eq!((effects, s.inbox.len(), s.wanted), (vec![Effect::Admit], 1, true));
}

#[rstest]
#[case::running(Lifecycle::Running, vec![Effect::End, Effect::Admit])]
#[case::suspended(Lifecycle::Suspended, vec![Effect::Admit])]
fn a_program_that_a_limit_ended_is_started_again(#[case] lifecycle: Lifecycle, #[case] expected: Vec<Effect>) {
    let s = Session { lifecycle, ..exits(&limited(&works(), 5 * MINUTE, 2000), 1) };
    let input = Input::LimitIsOver;
    let seen = attention(&s, MINUTE);
    let why = "failed: the agent ended with exit code 1; rate limited, started again in 4 min";
    assert_eq!((seen.turn, seen.word, &*seen.reason), (Turn::Agent, "limited", why));
    let (again, effects) = is_over(&s, 5 * MINUTE);
    assert_eq!((again.lifecycle.clone(), effects, again.inbox.len()), (Lifecycle::Queued, expected, 1));
    let events = of_session(&s, &input, &again, &input.reporter(&s), 5 * MINUTE);
    assert!(events.iter().any(|event| event.what == "went-on"), "{events:?}");
    // One whose conversation is not known would begin anew: that is a person's to say.
    let unknown = Session { resumes: false, ..s };
    let seen = attention(&unknown, MINUTE);
    assert_eq!((seen.turn, &*seen.reason), (Turn::You, "failed: the agent ended with exit code 1"));
    assert_eq!(is_over(&unknown, 5 * MINUTE), (unknown.clone(), vec![]));
}

#[rstest]
#[case::by_a_signal(|s: &Session| exits(s, 130))]
#[case::after_a_key(|s: &Session| exits(&types_a_key(s, 2500), 1))]
#[case::after_an_answer(|s: &Session| exits(&begins_to_answer(s, 2500), 1))]
#[case::refused_after_its_end(|s: &Session| {
    limited(&exits(&take(s, Source::Gateway, None, 2500), 1), 5 * MINUTE, 4000)
})]
#[case::in_a_later_turn(|s: &Session| {
    let rests = reports(s, Source::Program, State::Idle, 2500);
    exits(&reports(&rests, Source::Program, State::Working, 2900), 1)
})]
#[case::long_after(|s: &Session| {
    let exit = Input::AgentExited { generation: 3, code: 1, last: String::new() };
    step(s, exit, 9 * MINUTE).unwrap().0
})]
fn a_program_that_something_else_ended_is_not_started_again(#[case] end: fn(&Session) -> Session) {
    let s = end(&limited(&works(), 5 * MINUTE, 2000));
    assert_eq!((s.goes_on_at(), attention(&s, MINUTE).turn), (None, Turn::You));
    assert_eq!(is_over(&s, 99 * MINUTE), (s.clone(), vec![]));
}

#[rstest]
#[case::answered_to_the_end(|s: &Session| take(s, Source::Gateway, None, 2400))]
#[case::being_answered(|s: &Session| begins_to_answer(s, 2400))]
#[case::by_a_person(|s: &Session| types_a_key(s, 2400))]
fn a_turn_that_ended_otherwise_was_stopped_by_no_limit(#[case] change: fn(&Session) -> Session) {
    let s = reports(&change(&limited(&works(), 5 * MINUTE, 2000)), Source::Program, State::Idle, 2500);
    assert_eq!((s.ended_turn(), s.stopped_by(), attention(&s, 3000).word), (true, None, "idle"));
}

#[test]
fn who_types_into_a_stopped_agent_has_it_in_hand() {
    let s = types_a_key(&stopped_until_5(), 3000);
    let seen = attention(&s, MINUTE);
    assert_eq!((seen.turn, &*seen.reason), (Turn::You, "rate limited; it ends in 4 min"));
    // Another limit is another matter.
    let works = reports(&s, Source::Program, State::Working, 9000);
    let again = reports(&limited(&works, 7 * MINUTE, 9500), Source::Program, State::Idle, 9600);
    assert_eq!(again.goes_on_at(), Some(7 * MINUTE));
}

#[test]
fn a_turn_begins_a_moment_before_it_is_seen() {
    let rests = reports(&works(), Source::Program, State::Idle, 2000);
    // Refused at 9000, seen to work at 9100.
    let s = reports(&limited(&rests, 5 * MINUTE, 9000), Source::Program, State::Working, 9100);
    let s = reports(&s, Source::Program, State::Idle, 9200);
    assert_eq!((attention(&s, 9300).word, s.goes_on_at()), ("limited", Some(5 * MINUTE)));
    // Of one that was over before anybody looked, a hook tells the end.
    let begun = Session { after_rate_limit: AfterRateLimit::Resume, ..running() };
    let rests = reports(&reports(&begun, Source::Hook, State::Working, 1000), Source::Hook, State::Idle, 2000);
    let s = reports(&limited(&rests, 5 * MINUTE, 9000), Source::Hook, State::Idle, 9100);
    assert_eq!((attention(&s, 9300).word, s.goes_on_at()), ("limited", Some(5 * MINUTE)));
}

#[test]
fn of_two_ends_of_a_limit_the_later_one_counts() {
    let s = limited(&reports(&works(), Source::Program, State::Idle, 1500), 5 * MINUTE, 2000);
    let s = Session { reports: crate::reports::Reports { program: None, turn_at: 1000, ..s.reports }, ..s };
    let of_hook = |until| {
        let report = Report { until: Some(until), ..Report::new(State::Limited, 2500) };
        take(&s, Source::Hook, Some(report), 2500)
    };
    let (sooner, later) = (of_hook(3 * MINUTE), of_hook(9 * MINUTE));
    assert_eq!((sooner.goes_on_at(), later.goes_on_at()), (Some(5 * MINUTE), Some(9 * MINUTE)));
    assert_eq!(sooner.reported().unwrap().1.until, Some(5 * MINUTE), "it is what is shown");
}

#[test]
fn a_clock_that_is_set_back_leaves_no_limit_out() {
    let s = Session { went_on: 9 * MINUTE, ..stopped_until_5() };
    assert_eq!(s.goes_on_at(), Some(5 * MINUTE));
}

#[test]
fn limits_that_follow_each_other_are_waited_for_longer_and_not_for_ever() {
    let (mut s, mut now, mut pauses) = (works(), 2000, vec![]);
    while pauses.len() < 20 {
        s = limited(&s, now + 1000, now);
        s = reports(&s, Source::Program, State::Idle, now + 10);
        let Some(at) = s.goes_on_at() else { break };
        pauses.push((at - now) / 1000);
        let (told, _) = is_over(&s, at);
        let id = told.inbox[0].id;
        s = step(&told, Input::Read { generation: 3, id }, at).unwrap().0;
        now = at + 100;
        s = reports(&s, Source::Program, State::Working, now - 50);
        // It begins to answer, and ends in a refusal.
        s = begins_to_answer(&s, now - 20);
    }
    assert_eq!(pauses, [1, 60, 120, 240, 480, 960, 1920, 3840]);
    assert_eq!(attention(&s, now).turn, Turn::You);
    let next = |s: &Session| {
        let next = limited(&reports(s, Source::Program, State::Working, now + 100), now + 900, now + 200);
        reports(&next, Source::Program, State::Idle, now + 300).goes_on_at()
    };
    assert_eq!(next(&s), None);
    assert_eq!(next(&take(&s, Source::Gateway, None, now + 50)), Some(now + 900), "its model had answered");
    let ended_well = reports(&begins_to_answer(&s, now + 20), Source::Program, State::Working, now + 30);
    let ended_well = reports(&ended_well, Source::Program, State::Idle, now + 40);
    assert_eq!(next(&ended_well), Some(now + 900), "a turn had ended well");
}

#[test]
fn a_raised_budget_has_the_agent_go_on_once() {
    let works = Session { budget: Some(5_000_000), ..works() };
    let used_up = step(&works, spent(5_000_000), 1500).unwrap().0;
    let refused = refused(&used_up, Refusal::OverBudget, None, 2000);
    let stopped = reports(&refused, Source::Program, State::Idle, 2500);
    assert_eq!(attention(&stopped, 3000).word, "budget");
    let raise = |s: &Session, micros| step(s, Input::Budget(Budget::Raise(micros)), 3000).unwrap();
    let (raised, effects) = raise(&stopped, 5_000_000);
    assert!(typed(&effects).contains("the session's budget was used up. It was raised"), "{effects:?}");
    assert_eq!(raise(&raised, 1).1, [], "it has been told");
    assert_eq!(raise(&used_up, 5_000_000).1, [], "nothing was refused to it");
    assert_eq!(raise(&refused, 5_000_000).1, [], "its turn goes on");
    assert_eq!(raise(&Session { typed_events: TypedEvents::Never, ..stopped.clone() }, 5_000_000).1, []);
    let suspended = Session { lifecycle: Lifecycle::Suspended, ..stopped.clone() };
    assert_eq!(raise(&suspended, 5_000_000).1, [Effect::Admit]);
    let used_up_still = Session { spending: Spending { micros: 9_000_000, ..Spending::default() }, ..stopped };
    let (still, effects) = raise(&used_up_still, 1_000_000);
    assert_eq!((effects, still.stopped_by().is_some()), (vec![], true), "it would be refused again");
    let (raised, effects) = raise(&still, 5_000_000);
    assert!(typed(&effects).contains("It was raised"), "{effects:?}");
    assert_eq!((raised.reports.gateway, raised.activity), (None, Activity::Working));
    // One that has ended by it is started again with its conversation, where that is known.
    let ended = exits(&refused, 1);
    let (again, effects) = raise(&ended, 5_000_000);
    assert_eq!((again.lifecycle.clone(), effects), (Lifecycle::Queued, vec![Effect::End, Effect::Admit]));
    assert!(matches!(&again.inbox[..], [told] if told.of_restart && told.text.contains("It was raised")));
    let unknown = Session { resumes: false, ..ended.clone() };
    let (left, effects) = raise(&unknown, 5_000_000);
    assert_eq!((effects, left.exited), (vec![], Some(1)), "it would begin anew");
    assert_eq!(raise(&exits(&refused, 130), 5_000_000).1, [], "by a signal");
}

/// An agent whose turn the gateway ended since its budget was used up.
fn stopped_by_budget() -> Session {
    let works = Session { budget: Some(5_000_000), ..works() };
    let used_up = step(&works, spent(5_000_000), 1500).unwrap().0;
    reports(&refused(&used_up, Refusal::OverBudget, None, 2000), Source::Program, State::Idle, 2500)
}

#[test]
fn a_raised_budget_ends_no_other_limit() {
    let raise = |s: &Session| step(s, Input::Budget(Budget::Raise(5_000_000)), 3000).unwrap();
    let budget = |spent| {
        let spending = Spending { micros: spent, ..Spending::default() };
        Session { budget: Some(5_000_000), spending, ..stopped_until_5() }
    };
    for s in [budget(1), budget(5_000_000)] {
        let (raised, effects) = raise(&s);
        assert_eq!((effects, raised.goes_on_at()), (vec![], Some(5 * MINUTE)), "{} spent", s.spending.micros);
    }
    // Who is not told is shown as it is.
    let (quiet, _) = raise(&Session { typed_events: TypedEvents::Never, ..stopped_by_budget() });
    assert_eq!((attention(&quiet, 3000).word, quiet.activity), ("idle", Activity::Idle));
}

#[test]
fn a_fork_hears_of_limits_itself() {
    let new = NewFork { id: "F".into(), slug: "f".into(), title: "f".into(), owner: "kim".into(), budget: None };
    let (fork, _) = Session { went_on: 7, limit_tries: 3, ..stopped_until_5() }.fork(new, 4000);
    assert_eq!((fork.reports.gateway.clone(), fork.went_on, fork.limit_tries, fork.goes_on_at()), (None, 0, 0, None));
    let awake = Session { lifecycle: Lifecycle::Running, wanted: false, ..fork };
    assert_eq!((attention(&awake, 5000).word, &*awake.text), ("idle", ""), "nothing was refused to it");
}

#[test]
fn it_is_kept_over_a_restart_of_the_host() {
    let s = stopped_until_5();
    assert_eq!(serde_json::from_str::<Session>(&serde_json::to_string(&s).unwrap()).unwrap(), s);
    let mut old = serde_json::to_value(running()).unwrap();
    for key in ["after_rate_limit", "resumes", "went_on", "limit_tries"] {
        old.as_object_mut().unwrap().remove(key);
    }
    for key in ["typed_at", "rested_at"] {
        old["reports"].as_object_mut().unwrap().remove(key);
    }
    assert_eq!(serde_json::from_value::<Session>(old).unwrap(), running());
}

proptest! {
    #[test]
    fn no_history_with_limits_breaks_the_rules(inputs in vec(prop_oneof![6 => input(), 1 => Just(Input::LimitIsOver)], 0..120)) {
        let mut session = Session { after_rate_limit: AfterRateLimit::Resume, resumes: true, ..new().0 };
        for (now, input) in inputs.into_iter().enumerate() {
            let now = 200 + i64::try_from(now).unwrap();
            let Ok((next, effects)) = step(&session, input.clone(), now) else { continue };
            legal(&next);
            lawful(&session, &next, &input, &effects);
            if let (Some(at), Input::LimitIsOver) = (session.goes_on_at(), &input) {
                prop_assert!(at > now || next.goes_on_at().is_none(), "it would be told for ever");
            }
            session = next;
        }
    }
}
