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
    let s = Session { after_rate_limit: AfterRateLimit::Resume, ..running() };
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

fn is_over(s: &Session, resumes: bool, now: UnixMillis) -> (Session, Vec<Effect>) {
    step(s, Input::LimitIsOver { resumes }, now).unwrap()
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
    let explained = explain(&s);
    assert_eq!((explained.decides, explained.said.len()), ("osc-7501", 2));
    let gateway = &explained.said[1];
    assert_eq!((gateway.source, &*gateway.state, &*gateway.app), ("gateway", "limited", HOST));
    assert_eq!((gateway.until, gateway.at), (Some(5 * MINUTE), 2000));
    assert_eq!(attention(&s, 5 * MINUTE).word, "working");
    assert_eq!(attention(&take(&s, Source::Gateway, None, 3000), 3000).word, "working");
    // Of an agent that says nothing of itself, too.
    let silent = limited(&running(), 5 * MINUTE, 2000);
    assert_eq!((attention(&silent, 2000).word, explain(&silent).decides), ("limited", "gateway"));
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
    assert_eq!(is_over(&s, true, 5 * MINUTE - 1), (s.clone(), vec![]));
    let (told, effects) = is_over(&s, true, 5 * MINUTE);
    assert!(typed(&effects).starts_with("You were stopped by a limit of your model, which is over."), "{effects:?}");
    assert_eq!(is_over(&told, true, 9 * MINUTE), (told.clone(), vec![]), "it is told once");
    let input = Input::LimitIsOver { resumes: true };
    let events = of_session(&s, &input, &told, &input.reporter(&s), 5 * MINUTE);
    assert_eq!((&*events[0].what, &*events[0].text), ("went-on", "after it was stopped: rate limited"));
}

#[rstest]
#[case::answered_since(|s: &Session| take(s, Source::Gateway, None, 3000))]
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
    assert_eq!((s.goes_on_at(), is_over(&s, true, 99 * MINUTE)), (None, (s.clone(), vec![])));
}

#[test]
fn it_waits_for_a_person_where_nobody_knows_when_a_limit_ends() {
    let s = reports(&refused(&works(), Refusal::OutOfQuota, None, 2000), Source::Program, State::Idle, 2500);
    let seen = attention(&s, MINUTE);
    assert_eq!((seen.turn, seen.word, &*seen.reason), (Turn::You, "limited", "out of quota"));
}

#[test]
fn a_suspended_agent_is_brought_back_to_go_on() {
    let s = stopped_until_5();
    assert!(s.waits(), "it takes no memory meanwhile");
    let (s, effects) = is_over(&Session { lifecycle: Lifecycle::Suspended, ..s }, true, 5 * MINUTE);
    assert_eq!((effects, s.inbox.len(), s.wanted), (vec![Effect::Admit], 1, true));
}

#[rstest]
#[case::running(Lifecycle::Running, vec![Effect::End, Effect::Admit])]
#[case::suspended(Lifecycle::Suspended, vec![Effect::Admit])]
fn a_program_that_a_limit_ended_is_started_again(#[case] lifecycle: Lifecycle, #[case] expected: Vec<Effect>) {
    let s = Session { lifecycle, ..exits(&limited(&works(), 5 * MINUTE, 2000), 1) };
    let seen = attention(&s, MINUTE);
    let why = "failed: the agent ended with exit code 1; rate limited, started again in 4 min";
    assert_eq!((seen.turn, seen.word, &*seen.reason), (Turn::Agent, "limited", why));
    let (again, effects) = is_over(&s, true, 5 * MINUTE);
    assert_eq!((again.lifecycle, effects, again.inbox.len()), (Lifecycle::Queued, expected, 1));
    // One whose conversation is not known would begin anew: that is a person's to say.
    let (stays, effects) = is_over(&s, false, 5 * MINUTE);
    assert_eq!((stays.goes_on_at(), effects, attention(&stays, 6 * MINUTE).turn), (None, vec![], Turn::You));
}

#[test]
fn a_refusal_that_is_seen_after_the_end_counts_too() {
    let s = limited(&exits(&works(), 1), 5 * MINUTE, 2000);
    assert_eq!(s.goes_on_at(), Some(5 * MINUTE));
    assert_eq!(take(&s, Source::Gateway, None, 4000).goes_on_at(), None);
}

#[test]
fn limits_that_follow_each_other_are_waited_for_longer_and_not_for_ever() {
    let (mut s, mut now, mut pauses) = (works(), 2000, vec![]);
    while pauses.len() < 20 {
        s = limited(&s, now + 1000, now);
        s = reports(&s, Source::Program, State::Idle, now + 10);
        let Some(at) = s.goes_on_at() else { break };
        pauses.push((at - now) / 1000);
        let (told, _) = is_over(&s, true, at);
        let id = told.inbox[0].id;
        s = step(&told, Input::Read { generation: 3, id }, at).unwrap().0;
        now = at + 100;
        s = reports(&s, Source::Program, State::Working, now - 50);
    }
    assert_eq!(pauses, [1, 60, 120, 240, 480, 960, 1920, 3840]);
    assert_eq!(attention(&s, now).turn, Turn::You);
    let answered = take(&s, Source::Gateway, None, now);
    let next = limited(&reports(&answered, Source::Program, State::Working, now + 1), now + 9, now + 2);
    let next = reports(&next, Source::Program, State::Idle, now + 3);
    assert_eq!(next.goes_on_at(), Some(now + 9), "its model had answered");
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
    assert_eq!(raise(&used_up_still, 1_000_000).1, [], "it would be refused again");
}

#[test]
fn a_fork_hears_of_limits_itself() {
    let new = NewFork { id: "F".into(), slug: "f".into(), title: "f".into(), owner: "kim".into(), budget: None };
    let (fork, _) = Session { went_on: 7, limit_tries: 3, ..stopped_until_5() }.fork(new, 4000);
    assert_eq!((fork.reports.gateway.clone(), fork.went_on, fork.limit_tries, fork.goes_on_at()), (None, 0, 0, None));
}

#[test]
fn it_is_kept_over_a_restart_of_the_host() {
    let s = stopped_until_5();
    assert_eq!(serde_json::from_str::<Session>(&serde_json::to_string(&s).unwrap()).unwrap(), s);
    let mut old = serde_json::to_value(running()).unwrap();
    for key in ["after_rate_limit", "went_on", "limit_tries"] {
        old.as_object_mut().unwrap().remove(key);
    }
    assert_eq!(serde_json::from_value::<Session>(old).unwrap(), running());
}

proptest! {
    #[test]
    fn no_history_with_limits_breaks_the_rules(inputs in vec(prop_oneof![6 => input(), 1 => any::<bool>().prop_map(|resumes| Input::LimitIsOver { resumes })], 0..120)) {
        let mut session = Session { after_rate_limit: AfterRateLimit::Resume, ..new().0 };
        for (now, input) in inputs.into_iter().enumerate() {
            let now = 200 + i64::try_from(now).unwrap();
            let Ok((next, effects)) = step(&session, input.clone(), now) else { continue };
            legal(&next);
            lawful(&session, &next, &input, &effects);
            if let (Some(at), Input::LimitIsOver { .. }) = (session.goes_on_at(), &input) {
                prop_assert!(at > now || next.goes_on_at().is_none(), "it would be told for ever");
            }
            session = next;
        }
    }
}
