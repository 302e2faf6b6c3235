//! Tables of single steps here; whole histories in `histories`.

use rstest::rstest;

use super::*;
use crate::{Turn, attention, profile::Answers, recipe::Egress, signs::Sign, usage::Spending};

mod answers;
mod checkpoints;
mod histories;
mod limits;
mod reports;
mod waiting;
mod waits;

pub(crate) fn new() -> (Session, Vec<Effect>) {
    Session::new(asked_for(), 100)
}

fn asked_for() -> NewSession {
    NewSession {
        id: "01J0000000000000000000TEST".into(),
        slug: "fix-readme".into(),
        title: "Fix the readme".into(),
        task: String::new(),
        environment: "demo".into(),
        build: "0123456789abcdef".into(),
        owner: "sam".into(),
        command: vec!["agent".into()],
        directory: "/work".into(),
        repository: None,
        size: Size { vcpus: 1, memory: 512 << 20, disk: 8 << 30 },
        typed_events: TypedEvents::default(),
        answers: Answers::default(),
    }
}

fn running() -> Session {
    Session { lifecycle: Lifecycle::Running, generation: 3, ..new().0 }
}

pub(crate) fn with(lifecycle: Lifecycle) -> Session {
    Session { lifecycle, ..running() }
}

fn crashed() -> Lifecycle {
    Lifecycle::Crashed { cause: Cause::LinkLost }
}

fn stopped() -> Lifecycle {
    Lifecycle::Stopped { cause: Cause::PoweredOff }
}

fn message() -> Input {
    Input::Send("go on".into())
}

fn go_on() -> Effect {
    types(1, "go on")
}

/// Types the message of this id.
fn types(id: u64, text: &str) -> Effect {
    Effect::Type { generation: 3, message: Message { id, ..text.into() } }
}

fn typed(id: u64) -> Input {
    Input::Typed { generation: 3, id }
}

fn read(id: u64) -> Input {
    Input::Read { generation: 3, id }
}

fn restart() -> Input {
    Input::Restart { give_up_memory: false }
}

#[rstest]
#[case::admitted(Lifecycle::Queued, Input::Admitted, "starting", vec![Effect::Start { generation: 4 }])]
#[case::admitted_twice(Lifecycle::Starting, Input::Admitted, "starting", vec![])]
#[case::started(Lifecycle::Starting, Input::Started { generation: 3 }, "running", vec![])]
#[case::started_late(Lifecycle::Starting, Input::Started { generation: 2 }, "starting", vec![])]
#[case::start_failed(Lifecycle::Starting, Input::StartFailed { generation: 3, why: "no".into() }, "crashed", vec![])]
#[case::died(Lifecycle::Running, Input::VmEnded { generation: 3, cause: Cause::LinkLost }, "crashed", vec![])]
#[case::died_before(Lifecycle::Running, Input::VmEnded { generation: 2, cause: Cause::LinkLost }, "running", vec![])]
#[case::powered_off(Lifecycle::Running, Input::VmEnded { generation: 3, cause: Cause::PoweredOff }, "stopped", vec![])]
#[case::host_stopped(
    Lifecycle::Running, Input::VmEnded { generation: 3, cause: Cause::HostStopped { in_order: true } }, "stopped", vec![]
)]
#[case::host_stopped_hard(
    Lifecycle::Running, Input::VmEnded { generation: 3, cause: Cause::HostStopped { in_order: false } }, "crashed", vec![]
)]
#[case::suspend(Lifecycle::Running, Input::Suspend, "suspending", vec![Effect::Suspend])]
#[case::suspend_again(Lifecycle::Suspending, Input::Suspend, "suspending", vec![])]
#[case::suspended(Lifecycle::Suspending, Input::Suspended, "suspended", vec![])]
#[case::suspend_failed(Lifecycle::Suspending, Input::SuspendFailed { why: "full".into() }, "running", vec![])]
#[case::resume(Lifecycle::Suspended, Input::Resume, "suspended", vec![Effect::Admit])]
#[case::refused(Lifecycle::Queued, Input::Refused { why: "too large".into() }, "crashed", vec![])]
#[case::fork(Lifecycle::Running, Input::Fork, "running", vec![])]
#[case::fork_suspended(Lifecycle::Suspended, Input::Fork, "suspended", vec![])]
#[case::back_resuming(Lifecycle::Resuming, Input::HostRestarted, "suspended", vec![Effect::Admit])]
#[case::resumed(Lifecycle::Resuming, Input::Resumed { generation: 3, answered: None }, "running", vec![])]
#[case::resume_failed(Lifecycle::Resuming, Input::ResumeFailed { why: "gone".into() }, "suspended", vec![])]
#[case::died_resuming(
    Lifecycle::Resuming, Input::VmEnded { generation: 3, cause: Cause::LinkLost }, "suspended", vec![]
)]
#[case::restart_crashed(crashed(), restart(), "queued", vec![Effect::Admit])]
#[case::restart_stopped(stopped(), restart(), "queued", vec![Effect::Admit])]
#[case::restart_queued(Lifecycle::Queued, restart(), "queued", vec![])]
#[case::back_queued(Lifecycle::Queued, Input::HostRestarted, "queued", vec![Effect::Admit])]
#[case::back_starting(Lifecycle::Starting, Input::HostRestarted, "queued", vec![Effect::Admit])]
#[case::back_running(Lifecycle::Running, Input::HostRestarted, "crashed", vec![])]
#[case::adopting_running(Lifecycle::Running, Input::Adopting, "running", vec![])]
#[case::adopting_suspending(Lifecycle::Suspending, Input::Adopting, "suspending", vec![])]
#[case::adopting_starting(Lifecycle::Starting, Input::Adopting, "starting", vec![])]
#[case::adopted(Lifecycle::Running, Input::Adopted { generation: 3 }, "running", vec![])]
#[case::adopted_another(Lifecycle::Suspending, Input::Adopted { generation: 2 }, "suspending", vec![])]
#[case::adopted_suspending(Lifecycle::Suspending, Input::Adopted { generation: 3 }, "suspending", vec![Effect::Suspend])]
#[case::adopted_suspended(Lifecycle::Suspended, Input::Adopted { generation: 3 }, "suspended", vec![])]
#[case::not_adopted(
    Lifecycle::Running,
    Input::VmEnded { generation: 3, cause: Cause::NotAdopted("its VM had ended by then".into()) },
    "crashed",
    vec![]
)]
#[case::host_stops_running(Lifecycle::Running, Input::HostStops, "suspending", vec![Effect::Suspend])]
#[case::host_stops_suspending(Lifecycle::Suspending, Input::HostStops, "suspending", vec![])]
#[case::host_stops_suspended(Lifecycle::Suspended, Input::HostStops, "suspended", vec![])]
#[case::host_stops_queued(Lifecycle::Queued, Input::HostStops, "queued", vec![])]
#[case::broken_repository(
    Lifecycle::Running, Input::RepositoryBroken { generation: 3, why: "HEAD".into() }, "running", vec![]
)]
#[case::back_stopped(stopped(), Input::HostRestarted, "stopped", vec![])]
#[case::send_running(Lifecycle::Running, message(), "running", vec![go_on()])]
#[case::send_queued(Lifecycle::Queued, message(), "queued", vec![])]
#[case::send_suspended(Lifecycle::Suspended, message(), "suspended", vec![Effect::Admit])]
fn steps(#[case] from: Lifecycle, #[case] input: Input, #[case] to: &str, #[case] effects: Vec<Effect>) {
    let before = with(from);
    let (after, did) = step(&before, input, 200).unwrap();
    assert_eq!((after.lifecycle.word(), did), (to, effects));
    assert_eq!(after.updated_at, if after == before { 100 } else { 200 });
}

#[rstest]
#[case::restart_at_work(Lifecycle::Running, restart(), "its agent is still at work")]
#[case::restart_suspended(Lifecycle::Suspended, restart(), "it is suspended")]
#[case::suspend_crashed(crashed(), Input::Suspend, "it is crashed")]
#[case::restart_resuming(Lifecycle::Resuming, Input::Restart { give_up_memory: true }, "it is resuming")]
#[case::resume_stopped(stopped(), Input::Resume, "restart it")]
#[case::send_crashed(crashed(), message(), "restart it before")]
#[case::fork_crashed(crashed(), Input::Fork, "it has no memory to fork")]
#[case::fork_starting(Lifecycle::Starting, Input::Fork, "fork it when it runs or is suspended")]
fn denials(#[case] from: Lifecycle, #[case] input: Input, #[case] reason: &str) {
    let denied = step(&with(from), input, 200).unwrap_err();
    assert!(denied.0.contains(reason), "{denied}");
}

#[test]
fn what_cannot_be_resumed_can_be_booted_from_its_disk() {
    let (s, _) = step(&with(Lifecycle::Resuming), Input::ResumeFailed { why: "it is damaged".into() }, 200).unwrap();
    let (s, effects) = step(&s, restart(), 300).unwrap();
    assert_eq!((s.lifecycle.word(), s.notice.as_str(), effects), ("queued", "", vec![Effect::Admit]));
}

#[test]
fn messages_are_typed_one_at_a_time_and_in_order() {
    let (s, effects) = step(&running(), Input::Send("a".into()), 1).unwrap();
    assert_eq!(effects, [types(1, "a")]);
    let (s, effects) = step(&s, Input::Send("b".into()), 2).unwrap();
    assert_eq!(effects, []);
    let (s, effects) = step(&s, typed(1), 3).unwrap();
    assert_eq!((effects, s.inbox.len()), (vec![], 2), "the agent has yet to read it");
    assert!(attention(&s, 0).reason.ends_with("(a message is not read yet)"));
    assert_eq!(step(&s, read(2), 4).unwrap().0, s, "it is not that one");
    let (s, effects) = step(&s, read(1), 4).unwrap();
    assert_eq!(effects, [types(2, "b")]);
    assert_eq!(step(&s, read(1), 5).unwrap().0, s, "nor that one any more");
    let (s, effects) = step(&s, read(2), 5).unwrap();
    assert_eq!((s.inbox.len(), s.typing, s.unread, effects), (0, false, false, vec![]));
}

#[test]
fn keys_do_not_wait_behind_what_nobody_reads() {
    let keys = || Message { keys: vec!["C-c".parse().unwrap()], ..Message::default() };
    let (s, effects) = step(&running(), Input::Send(keys()), 1).unwrap();
    assert!(matches!(&effects[..], [Effect::Type { message, .. }] if message.id == 1), "{effects:?}");
    let (s, _) = step(&s, read(1), 2).unwrap();
    let (s, _) = all(s, [message(), typed(2)]);
    let (s, effects) = step(&s, Input::Send(keys()), 3).unwrap();
    let press = Effect::Press { generation: 3, message: Message { id: 3, ..keys() } };
    assert_eq!((&effects[..], s.inbox.len(), s.unread), (&[press.clone()][..], 1, true));
    assert!(press.answered_by(&typed(3)) && !press.answered_by(&typed(2)));
    assert_eq!(step(&s, read(3), 4).unwrap().0, s, "it is not the message that is read");
}

#[test]
fn a_message_that_its_vm_did_not_get_waits_for_the_next() {
    let (s, _) = step(&running(), message(), 1).unwrap();
    let (s, _) = step(&s, Input::VmEnded { generation: 3, cause: Cause::LinkLost }, 2).unwrap();
    let (s, _) = step(&s, restart(), 3).unwrap();
    let (s, _) = step(&s, Input::Admitted, 4).unwrap();
    let (_, effects) = step(&s, Input::Started { generation: 4 }, 5).unwrap();
    assert_eq!(effects, [Effect::Type { generation: 4, message: Message { id: 1, ..Message::line("go on") } }]);
}

#[test]
fn a_message_that_is_not_read_keeps_no_session_from_its_suspend_and_is_followed_after_it() {
    let idle = Session { activity: Activity::WaitingChecks, ..running() };
    let (s, _) = step(&idle, message(), 1).unwrap();
    let (s, _) = step(&s, typed(1), 2).unwrap();
    assert!(s.waits());
    let (s, _) = step(&s, Input::Suspend, 3).unwrap();
    let (s, effects) = step(&s, Input::Suspended, 4).unwrap();
    assert_eq!((s.lifecycle.word(), s.wanted, effects), ("suspended", false, vec![]));
    let (s, _) = step(&s, Input::HostRestarted, 5).unwrap();
    let (s, _) = step(&s, Input::Resume, 6).unwrap();
    let (s, _) = step(&s, Input::Admitted, 7).unwrap();
    let (s, effects) = step(&s, Input::Resumed { generation: 4, answered: None }, 8).unwrap();
    assert_eq!(effects, [Effect::Type { generation: 4, message: Message { id: 1, ..Message::line("go on") } }]);
    assert_eq!(s.activity, Activity::WaitingChecks, "what it asked since stays asked");
    let (s, _) = step(&s, Input::Read { generation: 4, id: 1 }, 9).unwrap();
    assert!(s.inbox.is_empty());
}

#[test]
fn what_an_ended_agent_did_not_read_is_told_and_goes_to_the_next() {
    let (s, _) = step(&running(), message(), 1).unwrap();
    let (s, _) = step(&s, typed(1), 2).unwrap();
    let (s, _) = step(&s, Input::AgentExited { generation: 3, code: 0, last: String::new() }, 3).unwrap();
    assert_eq!(attention(&s, 0).reason, "done (a message was not read)");
    let (s, _) = step(&s, restart(), 4).unwrap();
    let (s, _) = step(&s, Input::Admitted, 5).unwrap();
    let (_, effects) = step(&s, Input::Started { generation: 4 }, 6).unwrap();
    assert!(matches!(&effects[..], [Effect::Type { message, .. }] if message.text == "go on"), "{effects:?}");
}

#[rstest]
#[case::text(Message { enter: false, ..Message::line("2") }, false)]
#[case::choosing("Down", false)]
#[case::deciding("2", true)]
fn what_may_be_an_answer_closes_the_question(#[case] message: impl Into<Sent>, #[case] closes: bool) {
    let asks = Session { activity: Activity::NeedsInput, text: "which?".into(), ..running() };
    let (s, effects) = step(&asks, Input::Send(message.into().0), 1).unwrap();
    assert_eq!((s.activity == Activity::Working, effects.len()), (closes, 1));
}

/// A message, or the key of this name.
struct Sent(Message);

impl From<Message> for Sent {
    fn from(message: Message) -> Self {
        Self(message)
    }
}

impl From<&str> for Sent {
    fn from(key: &str) -> Self {
        Self(Message { keys: vec![key.parse().unwrap()], ..Message::default() })
    }
}

#[test]
fn what_an_earlier_hostd_kept_of_deliveries_is_known() {
    let delivered = Delivered { number: 7, review: 3, over: true, ..Delivered::default() };
    let session = Session { delivering: true, delivered: vec![delivered], ..running() };
    let mut json = serde_json::to_value(&session).unwrap();
    let fields = json.as_object_mut().unwrap();
    for (now, before) in [("delivering", "telling"), ("delivered", "told")] {
        let value = fields.remove(now).unwrap();
        fields.insert(before.into(), value);
    }
    assert_eq!(serde_json::from_value::<Session>(json).unwrap(), session);
}

#[test]
fn messages_of_before_there_were_keys_are_typed_each() {
    let mut json = serde_json::to_value(Session { inbox: vec!["a".into(), "b".into()], ..running() }).unwrap();
    json["inbox"] = serde_json::json!(["a", "b"]);
    let old: Session = serde_json::from_value(json).unwrap();
    let (s, effects) = step(&with_inbox(old), Input::Resumed { generation: 3, answered: None }, 1).unwrap();
    assert_eq!(effects, [types(1, "a")]);
    let (_, effects) = step(&s, read(1), 2).unwrap();
    assert_eq!(effects, [types(2, "b")]);
}

fn with_inbox(s: Session) -> Session {
    Session { lifecycle: Lifecycle::Resuming, ..s }
}

#[test]
fn a_message_that_was_typed_as_its_agent_ended_is_kept_for_the_next() {
    let exited = Input::AgentExited { generation: 3, code: 0, last: String::new() };
    let (s, _) = all(running(), [Input::Send("go on".into()), exited, typed(1)]);
    assert_eq!((s.inbox.len(), s.typing, s.unread), (1, false, false));
}

#[test]
fn an_answer_closes_the_question() {
    let status =
        Status { activity: Activity::NeedsInput, text: "which?".into(), choices: vec!["a".into(), "b".into()] };
    let (s, _) = step(&running(), Input::AgentStatus { generation: 3, status }, 1).unwrap();
    assert_eq!(attention(&s, 0).reason, "asks: which?");
    let (s, _) = step(&s, message(), 2).unwrap();
    assert_eq!((attention(&s, 0).turn, s.choices.len()), (Turn::Agent, 0));
}

#[rstest]
#[case::on_disk(Lifecycle::Suspended)]
#[case::on_its_way_down(Lifecycle::Suspending)]
#[case::on_its_way_up(Lifecycle::Resuming)]
fn an_answer_that_cannot_be_typed_yet_closes_the_question_too(#[case] lifecycle: Lifecycle) {
    let choices = vec!["a".into(), "b".into()];
    let asks = Session { activity: Activity::NeedsInput, text: "which?".into(), choices, ..with(lifecycle) };
    let (s, _) = step(&asks, message(), 1).unwrap();
    assert_eq!((attention(&s, 0).turn, s.choices.len(), s.inbox.len()), (Turn::Agent, 0, 1));
}

#[rstest]
#[case::done(0, Activity::Done, Turn::Nobody, "done")]
#[case::failed(3, Activity::Failed, Turn::You, "failed: the agent ended with exit code 3: no such model")]
#[case::killed(137, Activity::Failed, Turn::You, "failed: the agent was killed by signal 9: no such model")]
fn an_ended_agent(#[case] code: i32, #[case] activity: Activity, #[case] turn: Turn, #[case] reason: &str) {
    let last = "no such  model\n".into();
    let (s, _) = step(&running(), Input::AgentExited { generation: 3, code, last }, 1).unwrap();
    let seen = attention(&s, 0);
    assert_eq!((s.activity, seen.turn, seen.reason.as_str()), (activity, turn, reason));
    assert!(step(&s, message(), 2).is_err());
    let (s, effects) = step(&s, restart(), 3).unwrap();
    assert_eq!((s.lifecycle, effects), (Lifecycle::Queued, vec![Effect::End, Effect::Admit]));
}

#[rstest]
#[case::running(Lifecycle::Running)]
#[case::suspending(Lifecycle::Suspending)]
#[case::suspended(Lifecycle::Suspended)]
#[case::resuming(Lifecycle::Resuming)]
fn nothing_is_sent_to_an_ended_agent(#[case] lifecycle: Lifecycle) {
    let ended = Session { exited: Some(0), activity: Activity::Done, ..with(lifecycle) };
    let denied = step(&ended, message(), 2).unwrap_err();
    assert_eq!(denied.0, "its agent has ended; restart the session before you send to it");
}

#[rstest]
#[case::at_work(None, false, false)]
#[case::given_up(None, true, true)]
#[case::ended(Some(1), false, true)]
fn a_suspended_session_is_restarted_where_its_memory_may_go(
    #[case] exited: Option<i32>,
    #[case] give_up_memory: bool,
    #[case] may: bool,
) {
    let s = Session { exited, activity: Activity::Failed, ..with(Lifecycle::Suspended) };
    let after = step(&s, Input::Restart { give_up_memory }, 2);
    assert_eq!(
        after.map(|(s, effects)| (s.lifecycle, effects)).ok(),
        may.then(|| (Lifecycle::Queued, vec![Effect::Admit]))
    );
}

#[test]
fn the_time_of_a_turn_is_since_it_changed() {
    let status = Status { activity: Activity::NeedsInput, text: "which?".into(), choices: vec![] };
    let (s, _) = step(&running(), Input::AgentStatus { generation: 3, status }, 1000).unwrap();
    assert_eq!((s.turn_since(), attention(&s, 0).word), (1000, "asks"));
    let failed = Input::SuspendFailed { why: "no".into() };
    let (s, _) = all(s, [Input::Suspend, failed, Input::Suspend, Input::Suspended]);
    assert_eq!((s.updated_at, s.turn_since(), attention(&s, 0).word), (2000, 1000, "asks"), "however it is kept");
    let (s, _) = step(&s, message(), 3000).unwrap();
    assert_eq!((s.turn_since(), attention(&s, 0).turn), (3000, Turn::Agent));
    let (s, _) = step(&s, message(), 4000).unwrap();
    assert_eq!((s.updated_at, s.turn_since()), (4000, 3000), "a second message hands nothing on");
}

/// To put an agent at work to disk and to bring it back hands its turn to nobody.
#[test]
fn the_time_of_a_turn_is_also_that_of_a_session_on_disk() {
    let status = Status { activity: Activity::Working, text: "tests".into(), choices: vec![] };
    let asks = Status { activity: Activity::NeedsInput, ..status.clone() };
    for (status, turn) in [(status, Turn::Agent), (asks, Turn::You)] {
        let (s, _) = step(&running(), Input::AgentStatus { generation: 3, status }, 1000).unwrap();
        let since = s.turn_since();
        let (s, _) = all(s, [Input::Suspend, Input::Suspended]);
        assert_eq!((s.updated_at, s.turn_since()), (2000, since));
        let word = if turn == Turn::Agent { (Turn::Nobody, "suspended") } else { (Turn::You, "asks") };
        assert_eq!((attention(&s, 0).turn, attention(&s, 0).word), word);
        let (s, _) = all(s, [Input::Resume, Input::Waits { why: "no room".into() }]);
        assert_eq!((attention(&s, 0).word, s.turn_since()), ("queued", since));
        let (s, _) = all(s, [Input::Admitted, Input::Resumed { generation: 4, answered: None }]);
        assert_eq!((s.turn_since(), attention(&s, 0).turn), (since, turn));
    }
    // One that cannot be brought back is a person's.
    let (s, _) = all(running(), [Input::Suspend, Input::Suspended, Input::Resume]);
    let (s, _) = step(&s, Input::Refused { why: "no".into() }, 3000).unwrap();
    assert_eq!((attention(&s, 0).turn, s.turn_since()), (Turn::You, 3000));
}

#[rstest]
#[case::queued(Lifecycle::Queued, Activity::Working, "not-started")]
#[case::starting(Lifecycle::Starting, Activity::Working, "not-started")]
#[case::never_came_up(Lifecycle::Crashed { cause: Cause::StartFailed("no".into()) }, Activity::Working, "not-started")]
#[case::running(Lifecycle::Running, Activity::Working, "working")]
#[case::suspended(Lifecycle::Suspended, Activity::Working, "working")]
#[case::asked(Lifecycle::Resuming, Activity::NeedsInput, "needs-input")]
#[case::cut_off(crashed(), Activity::Working, "ended")]
#[case::asked_before(crashed(), Activity::NeedsInput, "ended")]
#[case::powered_off(stopped(), Activity::Idle, "ended")]
#[case::was_done(stopped(), Activity::Done, "done")]
#[case::had_failed(crashed(), Activity::Failed, "failed")]
fn what_an_agent_does_is_said_as_it_is(#[case] lifecycle: Lifecycle, #[case] said: Activity, #[case] does: &str) {
    assert_eq!(Session { activity: said, ..with(lifecycle) }.doing(), does);
}

fn all(session: Session, inputs: impl IntoIterator<Item = Input>) -> (Session, Vec<Effect>) {
    let mut effects = vec![];
    let session = inputs.into_iter().fold(session, |session, input| {
        let (next, did) = step(&session, input, 2000).unwrap();
        effects.extend(did);
        next
    });
    (session, effects)
}

#[test]
fn what_is_the_matter_in_the_guest_is_a_reason_until_it_is_over() {
    let seen = |s: &Session| attention(s, 0);
    let (s, _) = step(&running(), Input::OomKilled { generation: 3, name: "node\u{7}".into() }, 1).unwrap();
    assert_eq!(seen(&s).reason, "working (out of memory: the guest's kernel killed `node`)");
    assert_eq!(seen(&s).turn, Turn::Agent);
    let full = Input::GuestDisk { generation: 3, full: Some("0 of 2048 MiB left".into()) };
    let (both, _) = step(&s, full, 2).unwrap();
    assert_eq!(seen(&both).turn, Turn::You);
    let expected =
        "the guest's disk is full, 0 of 2048 MiB left: working (out of memory: the guest's kernel killed `node`)";
    assert_eq!(seen(&both).reason, expected);
    let status = Status { activity: Activity::Working, text: String::new(), choices: vec![] };
    let (s, _) = step(&both, Input::AgentStatus { generation: 3, status }, 3).unwrap();
    assert_eq!(seen(&s).reason, "the guest's disk is full, 0 of 2048 MiB left: working");
    let (s, _) = step(&s, Input::GuestDisk { generation: 3, full: None }, 4).unwrap();
    assert_eq!((seen(&s).turn, seen(&s).reason.as_str()), (Turn::Agent, "working"));
    let earlier = Input::OomKilled { generation: 2, name: "node".into() };
    assert_eq!(step(&running(), earlier, 1).unwrap(), (running(), vec![]));
    // A new boot begins anew.
    let (ended, _) = step(&both, Input::VmEnded { generation: 3, cause: Cause::LinkLost }, 5).unwrap();
    let (s, _) = step(&ended, restart(), 6).unwrap();
    assert!(s.oom_killed.is_empty() && s.guest_disk_full.is_empty());
}

#[test]
fn what_an_earlier_agent_says_is_ignored() {
    let status = Status { activity: Activity::Done, text: String::new(), choices: vec![] };
    for input in [
        Input::AgentStatus { generation: 2, status },
        Input::AgentExited { generation: 2, code: 1, last: String::new() },
    ] {
        assert_eq!(step(&running(), input, 1).unwrap(), (running(), vec![]));
    }
}

#[test]
fn foreign_text_is_cleaned_and_bounded() {
    let status = Status {
        activity: Activity::Working,
        text: format!("\x1b]0;x\x07{}", "y".repeat(10_000)),
        choices: vec!["\u{202e}z".repeat(200); 40],
    };
    let (s, _) = step(&running(), Input::AgentStatus { generation: 3, status }, 1).unwrap();
    assert!(s.text.starts_with("]0;xy") && s.text.len() == 4096);
    assert!(s.choices.len() == 16 && s.choices.iter().all(|c| c.len() <= 256 && !c.contains('\u{202e}')));
    let cause = Cause::GuestReset("\x1bpanic\r\n".repeat(1000));
    let (s, _) = step(&s, Input::VmEnded { generation: 3, cause }, 2).unwrap();
    let reason = attention(&s, 0).reason;
    assert!(reason.len() <= 512 && !reason.contains(char::is_control), "{reason}");
}

#[test]
fn a_failed_suspend_keeps_the_question_and_says_why() {
    let asks = Session { activity: Activity::NeedsInput, text: "which?".into(), ..with(Lifecycle::Suspending) };
    let (s, _) = step(&asks, Input::SuspendFailed { why: "the disk is full".into() }, 1).unwrap();
    assert_eq!(attention(&s, 0).reason, "asks: which? (could not be suspended)");
    assert_eq!(s.notice, "could not be suspended: the disk is full");
}

#[rstest]
#[case::done(Input::Suspended, None)]
#[case::failed(
    Input::SuspendFailed { why: "the guest did not freeze".into() },
    Some("the guest did not freeze; it runs on; suspend it again")
)]
#[case::advised(Input::SuspendFailed { why: "it stands still; make room".into() }, Some("it stands still; make room"))]
#[case::ended(
    Input::VmEnded { generation: 3, cause: Cause::VmDied("killed".into()) },
    Some("its VM died: killed; restart it to boot it from its disk")
)]
fn who_asked_for_a_suspend_is_told_why_there_was_none(#[case] input: Input, #[case] why: Option<&str>) {
    let (s, _) = step(&with(Lifecycle::Suspending), input, 1).unwrap();
    assert_eq!(s.not_suspended().as_deref(), why);
    let (moves, _) = step(&running(), Input::Suspend, 1).unwrap();
    assert_eq!((running().not_suspended(), moves.not_suspended()), (None, None));
}

#[test]
fn a_repeated_suspend_wakes_nobody_for_a_message_that_was_there_before() {
    let (left, _) = step(&running(), message(), 1).unwrap();
    let (left, _) = step(&left, Input::NotTyped { generation: 3, id: 1 }, 2).unwrap();
    let (first, _) = step(&left, Input::Suspend, 3).unwrap();
    assert_eq!(step(&first, Input::Suspend, 4).unwrap(), (first.clone(), vec![]));
    let (sent, _) = step(&first, message(), 5).unwrap();
    assert!(step(&sent, Input::Suspend, 6).unwrap().0.wake, "one that came meanwhile is typed");
}

#[test]
fn who_boots_instead_of_being_cloned_says_why() {
    let booted = |generation| Input::Booted { generation, why: "another QEMU".into() };
    let (s, effects) = step(&running(), booted(3), 1).unwrap();
    assert!(attention(&s, 0).reason.ends_with("(booted instead of being cloned)"), "{s:?}");
    assert_eq!(s.notice, "booted instead of being cloned: another QEMU");
    assert_eq!(effects, []);
    assert_eq!(step(&running(), booted(2), 1).unwrap().0, running());
}

#[test]
fn a_wanted_session_waits_for_room_and_says_so() {
    let (s, effects) = step(&with(Lifecycle::Suspended), Input::Resume, 1).unwrap();
    assert_eq!((s.wanted, s.moves(), effects), (true, true, vec![Effect::Admit]));
    assert_eq!(step(&s, Input::Resume, 2).unwrap(), (s.clone(), vec![]));
    let why = "waits for memory: needs 512 MiB, 300 MiB free";
    let (waits, _) = step(&s, Input::Waits { why: why.into() }, 3).unwrap();
    let seen = attention(&waits, 0);
    assert_eq!((seen.turn, seen.reason.as_str(), waits.moves()), (Turn::Nobody, why, false));
    let (s, effects) = step(&waits, Input::Admitted, 4).unwrap();
    assert_eq!((s.waiting.as_str(), s.wanted, effects), ("", false, vec![Effect::Resume { generation: 4 }]));
    // Who suspends it again takes the wish back; who restarts hostd does not.
    let (s, effects) = step(&waits, Input::HostRestarted, 4).unwrap();
    assert_eq!((s.wanted, effects), (true, vec![Effect::Admit]));
    let (s, _) = step(&waits, Input::Suspend, 4).unwrap();
    assert_eq!(step(&s, Input::Admitted, 5).unwrap(), (s, vec![]));
    let (s, _) = step(&waits, Input::Refused { why: "it is too large".into() }, 4).unwrap();
    assert_eq!((s.wanted, s.notice.as_str()), (false, "could not be resumed: it is too large"));
}

#[test]
fn a_running_session_stands_still_to_be_forked() {
    let (s, _) = step(&running(), Input::Fork, 1).unwrap();
    assert!(s.forking && s.moves() && !s.waits());
    for input in [Input::Fork, Input::Suspend, restart()] {
        assert!(step(&s, input, 2).unwrap_err().0.contains("stands still at this moment"));
    }
    let (s, effects) = step(&s, message(), 2).unwrap();
    assert_eq!(effects, []);
    let (s, effects) = step(&s, Input::Forked, 3).unwrap();
    assert_eq!((s.forking, effects), (false, vec![go_on()]));
    assert_eq!(step(&s, Input::Forked, 4).unwrap(), (s, vec![]));
}

#[test]
fn a_fork_is_the_same_but_for_its_names() {
    let asks =
        Session { activity: Activity::NeedsInput, inbox: vec!["a".into()], unread: true, forking: true, ..running() };
    let new =
        NewFork { id: "F".into(), slug: "fork".into(), title: "fork of fix".into(), owner: "kim".into(), budget: None };
    let (fork, effects) = asks.fork(new, 500);
    assert_eq!(effects, [Effect::Admit]);
    assert_eq!((fork.id.as_str(), fork.branch_prefix().as_str(), fork.owner.as_str()), ("F", "agent/fork/", "kim"));
    assert_eq!((&fork.forked_from, fork.created_at), (&Some(asks.id.clone()), 500));
    assert_eq!((fork.activity, fork.inbox.len(), fork.forking), (Activity::NeedsInput, 0, false));
    let (fork, effects) = step(&fork, Input::Admitted, 501).unwrap();
    assert_eq!((fork.lifecycle, effects), (Lifecycle::Resuming, vec![Effect::Resume { generation: 4 }]));
}

#[test]
fn what_ran_when_hostd_stopped_comes_back_and_what_was_suspended_stays() {
    let next_hostd = |s: &Session| {
        let (s, _) = step(s, Input::Suspended, 3).unwrap();
        step(&s, Input::HostRestarted, 4).unwrap()
    };
    for (typing, delivering) in [(false, false), (true, false), (false, true)] {
        let inbox: Vec<Message> = vec!["go on".into(); typing.into()];
        let ran = Session { typing, delivering, inbox, ..running() };
        let (stops, _) = step(&ran, Input::HostStops, 2).unwrap();
        let (back, effects) = next_hostd(&stops);
        assert!(back.lifecycle == Lifecycle::Suspended && back.wanted && effects == [Effect::Admit], "{back:?}");
        assert_eq!(back.inbox, ran.inbox);
    }
    let (by_a_person, _) = step(&running(), Input::Suspend, 1).unwrap();
    let (stops, _) = step(&by_a_person, Input::HostStops, 2).unwrap();
    let (back, effects) = next_hostd(&stops);
    assert!(!back.wanted && effects.is_empty(), "{back:?}");
}

/// What was on its way into its guest when hostd died goes there again, and nothing else does.
#[test]
fn a_vm_that_is_taken_over_goes_on_with_what_was_under_way() {
    let taken_over = |s: &Session| {
        let (s, _) = step(s, Input::Adopting, 5).unwrap();
        // Once more: hostd died while it took over.
        let (s, _) = step(&s, Input::Adopting, 6).unwrap();
        step(&s, Input::Adopted { generation: 3 }, 7).unwrap()
    };
    let (types_it, effects) = step(&running(), message(), 1).unwrap();
    assert_eq!(effects, [go_on()]);
    let (s, effects) = taken_over(&types_it);
    assert_eq!((s.typing, effects), (true, vec![go_on()]));
    let (s, _) = step(&s, typed(1), 8).unwrap();
    let (unread, effects) = taken_over(&s);
    assert_eq!((unread.unread, effects), (true, vec![go_on()]), "it is followed until it is read");
    let (read_it, _) = step(&unread, read(1), 9).unwrap();
    assert_eq!(taken_over(&read_it).1, []);
    let answered = Session { unread: true, delivering: true, inbox: vec!["go on".into()], ..running() };
    assert!(matches!(taken_over(&answered).1[..], [Effect::Type { .. }]), "also where an answer is handed over");
    // A message that came meanwhile.
    let (s, _) = step(&running(), Input::Adopting, 2).unwrap();
    let (s, effects) = step(&s, message(), 3).unwrap();
    assert_eq!(effects, [go_on()], "which nobody can carry out yet");
    assert_eq!(step(&s, Input::Adopted { generation: 3 }, 4).unwrap().1, [go_on()]);

    let (forked, _) = step(&running(), Input::Fork, 1).unwrap();
    assert!(!taken_over(&forked).0.forking);
    let (stops, _) = step(&running(), Input::HostStops, 1).unwrap();
    let (s, effects) = taken_over(&stops);
    assert_eq!((s.lifecycle, s.wake, effects), (Lifecycle::Running, false, vec![]));
    let (deleted, _) = step(&running(), Input::Delete, 1).unwrap();
    assert_eq!(step(&deleted, Input::Adopting, 2).unwrap().1, [Effect::Remove]);
}

#[test]
fn sessions_survive_json() {
    let session = with(Lifecycle::Crashed { cause: Cause::HostStopped { in_order: false } });
    let json = serde_json::to_string(&session).unwrap();
    assert_eq!(serde_json::from_str::<Session>(&json).unwrap(), session);
}

fn signs(sign: Sign) -> Input {
    Input::Seen { generation: 3, sign }
}

#[rstest]
#[case::silent(Sign::Quiet { since: 0 }, "", Turn::Agent, "quiet", "quiet: last output 14 min ago; it says nothing of itself")]
#[case::silent_at_work(Sign::Quiet { since: 0 }, "tests", Turn::Agent, "working", "working: tests; last output 14 min ago")]
#[case::prompt(
    Sign::Prompt { since: 0, text: "Go on? [y/N]".into() }, "tests", Turn::You, "may ask",
    "may be asking: Go on? [y/N] (last output 14 min ago)"
)]
#[case::bell(Sign::Called { at: 0, text: String::new(), by: Default::default() }, "", Turn::You, "calls", "calls: rang the bell 14 min ago")]
#[case::notification(Sign::Called { at: 0, text: "Approve?".into(), by: Default::default() }, "", Turn::You, "calls", "calls: Approve?")]
fn what_a_terminal_shows(
    #[case] sign: Sign,
    #[case] text: &str,
    #[case] turn: Turn,
    #[case] word: &str,
    #[case] reason: &str,
) {
    let working = Session { text: text.into(), spoke_at: 0, ..running() };
    let (s, _) = step(&working, signs(sign.clone()), 14 * 60_000).unwrap();
    let seen = attention(&s, 14 * 60_000);
    assert_eq!((seen.turn, seen.word, seen.reason.as_str()), (turn, word, reason));
    // Where the agent says what it does, that counts; and nobody is put to disk by a guess.
    let asks = Session { activity: Activity::NeedsInput, sign, ..running() };
    assert_eq!((attention(&asks, 0).word, s.waits()), ("asks", false));
}

#[test]
fn what_an_agent_says_answers_what_was_seen_before() {
    let called = |at| signs(Sign::Called { at, text: "Approve?".into(), by: Default::default() });
    let (s, _) = step(&running(), called(5_000), 5_000).unwrap();
    assert_eq!(attention(&s, 0).turn, Turn::You);
    let status = Status { activity: Activity::Working, text: "on it".into(), choices: vec![] };
    let (s, _) = step(&s, Input::AgentStatus { generation: 3, status }, 10_000).unwrap();
    let (s, _) = step(&s, called(5_000), 10_100).unwrap();
    assert_eq!((attention(&s, 0).turn, s.turn_since()), (Turn::Agent, 10_000), "it is over");
    let (s, _) = step(&s, called(9_900), 10_200).unwrap();
    assert_eq!(attention(&s, 0).turn, Turn::You, "a status may be late by a moment");
    let (s, _) = step(&s, message(), 20_000).unwrap();
    assert_eq!(attention(&s, 0).turn, Turn::Agent);
    let (s, _) = all(
        Session { sign: Sign::Called { at: 0, text: String::new(), by: Default::default() }, ..running() },
        [Input::Suspend],
    );
    let (s, _) = step(&s, Input::Suspended, 3000).unwrap();
    assert_eq!((attention(&s, 0).turn, attention(&s, 0).word), (Turn::You, "calls"), "also on disk");
}

#[rstest]
#[case::status(Input::AgentStatus { generation: 3, status: Status { activity: Activity::Idle, text: String::new(), choices: vec![] } }, "session")]
#[case::terminal(signs(Sign::Nothing), "session")]
#[case::withdrawn(Input::WaitWithdrawn { generation: 3, id: 1 }, "session")]
#[case::exit(Input::AgentExited { generation: 3, code: 0, last: String::new() }, "session")]
#[case::forge(Input::Observed(None), "forge")]
#[case::place(Input::Admitted, "host")]
#[case::vm(Input::VmEnded { generation: 3, cause: Cause::LinkLost }, "host")]
#[case::disk(Input::GuestDisk { generation: 3, full: None }, "host")]
#[case::time(Input::TimeIsUp { id: 1 }, "host")]
#[case::policy(Input::Suspend, "host")]
fn who_reports(#[case] input: Input, #[case] kind: &str) {
    let session = running();
    let reporter = input.reporter(&session);
    assert_eq!(reporter.kind(), kind);
    // An agent acts for whoever dispatched it.
    let (name, behalf) = if kind == "session" { (&*session.slug, &*session.owner) } else { (reporter.name(), "") };
    assert_eq!((reporter.name(), reporter.behalf()), (name, behalf));
}

#[rstest]
#[case::crashed(crashed(), None, Activity::Working, true)]
#[case::crashed_in_its_wait(crashed(), None, Activity::WaitingChecks, true)]
#[case::crashed_after_its_turn(crashed(), None, Activity::Idle, false)]
#[case::crashed_with_a_question(crashed(), None, Activity::NeedsInput, false)]
#[case::program_crashed(Lifecycle::Running, Some(139), Activity::Failed, true)]
#[case::left(Lifecycle::Running, Some(0), Activity::Done, false)]
#[case::runs(Lifecycle::Running, None, Activity::Working, false)]
#[case::queued_again(Lifecycle::Queued, None, Activity::Working, false)]
fn who_was_interrupted(
    #[case] lifecycle: Lifecycle,
    #[case] exited: Option<i32>,
    #[case] activity: Activity,
    #[case] interrupted: bool,
) {
    let s = Session { began: true, exited, activity, ..with(lifecycle) };
    assert_eq!(s.was_interrupted(), interrupted);
    // Nothing had begun that could be interrupted.
    assert!(exited.is_some() || !Session { began: false, ..s }.was_interrupted());
}

#[test]
fn an_agent_has_begun_once_it_was_started() {
    let (s, _) = step(&with(Lifecycle::Starting), Input::Started { generation: 3 }, 1).unwrap();
    let (s, _) = step(&s, Input::VmEnded { generation: 3, cause: Cause::LinkLost }, 2).unwrap();
    assert!(s.began && step(&s, restart(), 3).unwrap().0.began);
}

fn spent(micros: u64) -> Input {
    Input::Answers { spending: Spending { answers: 1, micros, ..Spending::default() } }
}

#[test]
fn a_budget_is_set_raised_and_taken_off() {
    let set = |s: &Session, change| step(s, Input::Budget(change), 300).map(|(s, effects)| (s, effects.len()));
    let start = running();
    assert!(set(&start, Budget::Raise(5)).unwrap_err().to_string().contains("no budget that could be raised"));
    let (five, effects) = set(&start, Budget::Set(5_000_000)).unwrap();
    assert_eq!((five.budget, effects, five.updated_at), (Some(5_000_000), 0, 300));
    assert_eq!(set(&five, Budget::Set(5_000_000)).unwrap().0, five, "a repeat is a no-op");
    let (seven, _) = set(&five, Budget::Raise(2_000_000)).unwrap();
    assert_eq!(seven.budget, Some(7_000_000));
    assert_eq!(set(&seven, Budget::Off).unwrap().0.budget, None);
    let restarted =
        step(&Session { lifecycle: stopped(), ..seven.clone() }, Input::Restart { give_up_memory: false }, 300);
    assert_eq!(restarted.unwrap().0.budget, seven.budget);
    let new = |budget| NewFork { id: "F".into(), slug: "f".into(), title: "f".into(), owner: "kim".into(), budget };
    let (seven, _) = step(&seven, spent(7_000_000), 300).unwrap();
    let (fork, _) = seven.fork(new(None), 400);
    assert_eq!((fork.budget, fork.spending), (Some(7_000_000), Spending::default()), "as much once more");
    assert_eq!(seven.fork(new(Some(0)), 400).0.budget, None);
    assert!(set(&Session { deleting: true, ..five }, Budget::Off).is_err());
}

#[test]
fn a_destination_is_allowed_to_a_session_and_taken_back() {
    let of = |to: &str, private| Egress { to: to.into(), private };
    let allow = |s: &Session, to: &str, private| step(s, Input::Allow(of(to, private)), 300).map(|(s, _)| s);
    let start = running();
    let one = allow(&start, "a.example:443", false).unwrap();
    assert_eq!((&one.allowed[..], one.updated_at), (&[of("a.example:443", false)][..], 300));
    assert_eq!(allow(&one, "a.example:443", false).unwrap(), one, "a repeat is a no-op");
    let two = allow(&allow(&one, "db.lan:5432", false).unwrap(), "a.example:443", true).unwrap();
    assert_eq!(two.allowed, [of("a.example:443", true), of("db.lan:5432", false)]);
    // It is the session's, in each of its lives and in its forks.
    let restarted =
        step(&Session { lifecycle: stopped(), ..two.clone() }, Input::Restart { give_up_memory: false }, 300);
    assert_eq!(restarted.unwrap().0.allowed, two.allowed);
    let new = NewFork { id: "F".into(), slug: "f".into(), title: "f".into(), owner: "kim".into(), budget: None };
    assert_eq!(two.fork(new, 400).0.allowed, two.allowed);
    let disallow = |s: &Session, to: &str| step(s, Input::Disallow { to: to.into() }, 400).map(|(s, _)| s);
    assert_eq!(disallow(&two, "db.lan:5432").unwrap().allowed, [of("a.example:443", true)]);
    assert!(disallow(&two, "b.lan:1").unwrap_err().to_string().contains("that is a.example:443, db.lan:5432"));
    let many = (1..).try_fold(start, |s, port| allow(&s, &format!("a.example:{port}"), false));
    assert!(many.unwrap_err().to_string().contains("64 destinations are allowed to it already"));
    assert!(allow(&Session { deleting: true, ..one }, "b.example:443", false).is_err());
}

#[test]
fn what_models_answered_changes_whose_turn_it_is_where_it_uses_a_budget_up() {
    let start = Session { budget: Some(5_000_000), updated_at: 200, turned_at: 200, ..running() };
    let (most, _) = step(&start, spent(4_999_999), 300).unwrap();
    assert_eq!((most.updated_at, most.turned_at, most.spending.micros), (200, 200, 4_999_999), "it is no news");
    assert_eq!(attention(&most, 300).turn, Turn::Agent);
    let (all, _) = step(&most, spent(5_000_000), 400).unwrap();
    let turn = attention(&all, 400);
    assert_eq!((turn.turn, turn.word, &*turn.reason), (Turn::You, "budget", "budget of $5 used up; raise it to go on"));
    assert_eq!(all.turned_at, 400);
    let with = |change: fn(&mut Session)| {
        let mut session = all.clone();
        change(&mut session);
        let said = attention(&session, 400);
        (said.word, said.reason)
    };
    let failed = with(|s| s.activity = Activity::Failed);
    assert_eq!(failed.0, "budget", "its program has told of an error, which is that");
    let asks = with(|s| (s.activity, s.text) = (Activity::NeedsInput, "which?".into()));
    assert_eq!(asks, ("asks", "asks: which? (budget of $5 used up)".into()));
    assert_eq!(with(|s| s.activity = Activity::WaitingChecks).0, "checks");
    assert_eq!(with(|s| s.lifecycle = Lifecycle::Suspended).0, "budget");
    assert_eq!(with(|s| s.lifecycle = stopped()).0, "stopped");
    let (raised, _) = step(&all, Input::Budget(Budget::Raise(1)), 500).unwrap();
    assert_eq!((attention(&raised, 500).turn, raised.turned_at), (Turn::Agent, 500));
}

#[test]
fn an_agent_is_told_of_its_last_restart_alone() {
    let mut s = with(Lifecycle::Queued);
    s.post(Message::line("by a person"));
    for _ in 0..3 {
        s = step(&s, Input::Send(Message::of_restart("You were interrupted.")), 1).unwrap().0;
    }
    let inbox: Vec<_> = s.inbox.iter().map(|message| (&*message.text, message.id)).collect();
    assert_eq!(inbox, [("by a person", 1), ("You were interrupted.", 4)]);
}

#[test]
fn an_agent_that_begins_anew_is_given_its_task_and_not_told_of_what_it_does_not_know() {
    let starting = |task: &str, command: &str| {
        let mut s =
            Session { task: task.into(), command: vec![command.into()], began: true, ..with(Lifecycle::Starting) };
        s.post(Message::line("by a person"));
        s.post(Message::of_restart("You were interrupted."));
        s
    };
    let anew = |s: &Session, typed| step(s, Input::BeganAnew { generation: 3, typed }, 1).unwrap().0;
    let inbox = |s: &Session| s.inbox.iter().map(|message| message.text.clone()).collect::<Vec<_>>();
    let s = starting("fix it", "agent fix it");
    assert_eq!((s.given_task, inbox(&s).len()), (false, 2));
    let given = anew(&s, false);
    assert_eq!((given.given_task, inbox(&given)), (true, vec!["by a person".into()]));
    let typed = anew(&starting("fix it", "agent"), true);
    assert_eq!((typed.given_task, inbox(&typed)), (false, vec!["fix it".into(), "by a person".into()]));
    assert_eq!(anew(&typed, true), typed, "a repeat is a no-op");
    let (started, effects) = step(&typed, Input::Started { generation: 3 }, 2).unwrap();
    assert!(started.typing && matches!(&effects[..], [Effect::Type { message, .. }] if message.text == "fix it"));
    let input = Input::BeganAnew { generation: 3, typed: true };
    let told = crate::story::of_session(&s, &input, &typed, &input.reporter(&s), 1);
    assert_eq!((&*told[0].what, &*told[0].text), ("began-anew", "its conversation was not there to go on with"));
    let other = Input::BeganAnew { generation: 2, typed: true };
    assert_eq!(step(&s, other, 1).unwrap().0, s, "of another start");
}
