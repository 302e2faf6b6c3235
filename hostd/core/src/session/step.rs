use super::{
    Activity, Cause, Denied, Effect, Input, Lifecycle, Message, Session, Status, how_it_ended, tell,
    types::NOT_SUSPENDED,
};
use crate::{UnixMillis, attention::holder, signs::Sign, text};

/// Longest text of a status or a notice that is kept, in bytes.
const TEXT_MAX: usize = 4096;
/// Most milliseconds by which a status may arrive later than a sign of the terminal that came after it.
const ASIDE: UnixMillis = 2_000;
/// Most choices of a status that are kept, and the longest of them, in bytes.
const CHOICES_MAX: (usize, usize) = (16, 256);

/// Longest last line of an agent that ended badly that is kept, in bytes.
const LAST_LINE_MAX: usize = 256;
/// Longest process name and longest words about a full disk that are kept, in bytes.
const PROCESS_MAX: usize = 64;

/// One step of the machine: returns the session after `input`, and the effects that are to be carried out.
///
/// A repeat is a no-op: the same session and no effects. Reports that come late or from another generation are no-ops too.
///
/// # Errors
/// [`Denied`] for a person's command that makes no sense in this state, with a reason fit for them.
pub fn step(session: &Session, input: Input, now: UnixMillis) -> Result<(Session, Vec<Effect>), Denied> {
    let mut next = session.clone();
    let speaks = matches!(input, Input::AgentStatus { .. } | Input::Send(_));
    let mut effects = if session.deleting { while_deleting(&input)? } else { apply(&mut next, input)? };
    // What is seen is of the pull request that its wait names.
    if names(&next) != names(session) && !effects.contains(&Effect::Observe) {
        effects.push(Effect::Observe);
    }
    if speaks && next != *session {
        // What was seen before is answered by it.
        (next.sign, next.spoke_at) = (Sign::Nothing, now.max(session.spoke_at));
    }
    if next != *session {
        next.updated_at = now.max(session.updated_at);
        if holder(&next, now) != holder(session, now) {
            next.turned_at = now.max(session.turned_at);
        }
    }
    Ok((next, effects))
}

fn names(s: &Session) -> Option<u64> {
    s.wait.as_ref().and_then(|wait| wait.pull)
}

fn while_deleting(input: &Input) -> Result<Vec<Effect>, Denied> {
    match input {
        Input::HostRestarted => Ok(vec![Effect::Remove]),
        Input::Restart { .. } | Input::Suspend | Input::Resume | Input::Fork | Input::Send(_) => {
            Err(Denied("the session is being deleted".into()))
        }
        _ => Ok(vec![]),
    }
}

fn apply(s: &mut Session, input: Input) -> Result<Vec<Effect>, Denied> {
    match input {
        Input::Delete => {
            s.deleting = true;
            Ok(vec![Effect::Remove])
        }
        Input::Restart { give_up_memory } => restart(s, give_up_memory),
        Input::Suspend => suspend(s),
        Input::Resume => resume(s),
        Input::Fork => fork(s).map(|()| vec![]),
        Input::Send(message) => send(s, message),
        report => Ok(reported(s, report)),
    }
}

/// Applies a report, which cannot be denied.
fn reported(s: &mut Session, input: Input) -> Vec<Effect> {
    match input {
        Input::Admitted => admitted(s),
        Input::Waits { why } if s.waits_for_room() => {
            s.waiting = text::one_line(&text::clean(&why, TEXT_MAX));
            vec![]
        }
        Input::Refused { why } => refused(s, why),
        Input::Forked if s.forking => {
            s.forking = false;
            on(s)
        }
        Input::Started { generation } => up(s, &Lifecycle::Starting, generation),
        Input::Booted { generation, why } if s.lifecycle == Lifecycle::Running && s.generation == generation => {
            s.notice = format!("booted instead of being cloned: {}", text::clean(&why, TEXT_MAX));
            vec![]
        }
        Input::StartFailed { generation, why } => ended(s, generation, Cause::StartFailed(why)),
        Input::Suspended => suspended(s),
        Input::SuspendFailed { why } => suspend_failed(s, &why),
        Input::Resumed { generation } => up(s, &Lifecycle::Resuming, generation),
        Input::ResumeFailed { why } => resume_failed(s, &why),
        Input::VmEnded { generation, cause } => ended(s, generation, cause),
        Input::HostRestarted => host_restarted(s),
        Input::HostStops => host_stops(s),
        Input::OomKilled { generation, name } if s.generation == generation && s.lifecycle.has_vm() => {
            s.oom_killed = text::one_line(&text::clean(&name, PROCESS_MAX));
            vec![]
        }
        Input::GuestDisk { generation, full } if s.generation == generation && s.lifecycle.has_vm() => {
            s.guest_disk_full = full.map(|left| text::one_line(&text::clean(&left, PROCESS_MAX))).unwrap_or_default();
            vec![]
        }
        Input::RepositoryBroken { generation, why } if s.generation == generation && s.lifecycle.has_vm() => {
            s.notice = format!("its repository is broken: {}", text::clean(&why, TEXT_MAX));
            vec![]
        }
        // Its VM may have ended meanwhile, but these are still true of it.
        Input::Typed { generation, id } if s.generation == generation => typed(s, id),
        Input::Read { generation, id } if s.generation == generation => read(s, id),
        Input::NotTyped { generation, id } if s.generation == generation => not_typed(s, id),
        Input::AgentStatus { generation, status } if s.generation == generation => agent_status(s, status),
        Input::Seen { generation, sign } if s.generation == generation => seen(s, sign),
        Input::WaitBegan { generation, wait } if s.generation == generation => tell::began(s, wait),
        Input::WaitWithdrawn { generation, id } if s.generation == generation => tell::withdrawn(s, id),
        Input::Told { generation } if s.generation == generation => tell::told(s),
        Input::NotTold { generation } if s.generation == generation => tell::not_told(s),
        Input::TimeIsUp { id } => tell::time_is_up(s, id),
        Input::Observed(seen) => tell::observed(s, seen.map(|seen| *seen)),
        Input::AgentExited { generation, code, last } if s.generation == generation => agent_exited(s, code, &last),
        _ => vec![],
    }
}

fn restart(s: &mut Session, give_up_memory: bool) -> Result<Vec<Effect>, Denied> {
    match s.lifecycle {
        _ if s.forking => Err(forked_now()),
        Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } => Ok(again(s, vec![Effect::Admit])),
        // Its memory is given up where it cannot be brought back, where no agent is in it, or where somebody says so.
        Lifecycle::Suspended if give_up_memory || !s.notice.is_empty() || s.exited.is_some() => {
            Ok(again(s, vec![Effect::Admit]))
        }
        Lifecycle::Suspended => Err(Denied(
            "it is suspended, and its memory is kept; resume it, or say that its memory may be given up".into(),
        )),
        Lifecycle::Running if s.exited.is_some() => Ok(again(s, vec![Effect::End, Effect::Admit])),
        Lifecycle::Queued | Lifecycle::Starting => Ok(vec![]),
        Lifecycle::Running => {
            Err(Denied("its agent is still at work; delete the session, or let its agent end".into()))
        }
        _ => Err(Denied(format!("it is {}; only a stopped or crashed session can be restarted", s.lifecycle.word()))),
    }
}

fn again(s: &mut Session, effects: Vec<Effect>) -> Vec<Effect> {
    s.lifecycle = Lifecycle::Queued;
    (s.typing, s.unread) = (false, false);
    s.wanted = false;
    s.waiting.clear();
    s.notice.clear();
    s.sign = Sign::Nothing;
    s.oom_killed.clear();
    s.guest_disk_full.clear();
    set_activity(s, Activity::Working, String::new());
    effects
}

fn suspend(s: &mut Session) -> Result<Vec<Effect>, Denied> {
    match s.lifecycle {
        Lifecycle::Running if s.typing => Err(Denied("a message is being typed into it; try again".into())),
        Lifecycle::Running if s.forking => Err(forked_now()),
        Lifecycle::Running if s.telling => Err(Denied("it is being told what it waits for; try again".into())),
        Lifecycle::Running => {
            s.lifecycle = Lifecycle::Suspending;
            s.wake = s.has_something();
            s.notice.clear();
            Ok(vec![Effect::Suspend])
        }
        Lifecycle::Suspending => {
            // What is there for the agent must reach it whatever a person says.
            s.wake = s.has_something();
            Ok(vec![])
        }
        Lifecycle::Suspended => {
            if !s.has_something() {
                s.wanted = false;
                s.waiting.clear();
            }
            Ok(vec![])
        }
        _ => Err(Denied(format!("it is {}; only a running session can be suspended", s.lifecycle.word()))),
    }
}

fn resume(s: &mut Session) -> Result<Vec<Effect>, Denied> {
    match s.lifecycle {
        Lifecycle::Suspended => Ok(want(s)),
        Lifecycle::Suspending => {
            s.wake = true;
            Ok(vec![])
        }
        Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } => {
            Err(Denied(format!("it is {}; restart it to boot it again from its disk", s.lifecycle.word())))
        }
        _ => Ok(vec![]),
    }
}

/// Denies a fork where the session has no memory that could be shared, or not yet.
fn fork(s: &mut Session) -> Result<(), Denied> {
    match s.lifecycle {
        _ if s.forking => Err(forked_now()),
        Lifecycle::Running if s.typing => Err(Denied("a message is being typed into it; try again".into())),
        Lifecycle::Running if s.telling => Err(Denied("it is being told what it waits for; try again".into())),
        Lifecycle::Running => {
            s.forking = true;
            Ok(())
        }
        Lifecycle::Suspended => Ok(()),
        Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } => {
            Err(Denied(format!("it is {}: it has no memory to fork; restart it first", s.lifecycle.word())))
        }
        _ => Err(Denied(format!("it is {}; fork it when it runs or is suspended", s.lifecycle.word()))),
    }
}

fn forked_now() -> Denied {
    Denied("it is being forked at this moment; try again".into())
}

fn send(s: &mut Session, message: Message) -> Result<Vec<Effect>, Denied> {
    may_send(s)?;
    // It is answered, however long it takes until that can be typed: what is sent after it answers another question.
    if s.activity == Activity::NeedsInput && message.answers() {
        set_activity(s, Activity::Working, String::new());
    }
    // Keys may be what ends a program that reads nothing.
    let at_once = s.lifecycle == Lifecycle::Running && !message.keys.is_empty() && (s.typing || s.unread);
    if at_once {
        s.sent += 1;
        let message = Message { id: s.sent, ..message };
        return Ok(vec![Effect::Press { generation: s.generation, message }]);
    }
    s.post(message);
    match s.lifecycle {
        Lifecycle::Running => Ok(tell::go_on(s)),
        Lifecycle::Suspended => Ok(want(s)),
        Lifecycle::Suspending => {
            s.wake = true;
            Ok(vec![])
        }
        _ => Ok(vec![]),
    }
}

fn may_send(s: &Session) -> Result<(), Denied> {
    match s.lifecycle {
        Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } => {
            Err(Denied(format!("it is {}; restart it before you send to it", s.lifecycle.word())))
        }
        // One that waits for its start has another agent then.
        Lifecycle::Running | Lifecycle::Suspending | Lifecycle::Suspended | Lifecycle::Resuming
            if s.exited.is_some() =>
        {
            Err(Denied("its agent has ended; restart the session before you send to it".into()))
        }
        _ if s.inbox.len() >= Session::INBOX => {
            Err(Denied(format!("{} messages wait for it already; wait until they are read", Session::INBOX)))
        }
        _ => Ok(()),
    }
}

/// Types the oldest message, unless another is not read yet or nobody would read it.
pub(super) fn type_next(s: &mut Session) -> Vec<Effect> {
    if s.typing || s.unread || s.forking || s.lifecycle != Lifecycle::Running || s.exited.is_some() {
        return vec![];
    }
    let Some(mut message) = s.inbox.first().cloned() else { return vec![] };
    if message.id == 0 {
        // Of a record of before messages had one.
        s.sent += 1;
        message.id = s.sent;
        s.inbox[0].id = s.sent;
    }
    s.typing = true;
    // An answer has been given: the question is no longer open.
    if matches!(s.activity, Activity::NeedsInput | Activity::Idle) && message.answers() {
        set_activity(s, Activity::Working, String::new());
    }
    vec![Effect::Type { generation: s.generation, message }]
}

/// Effects for a VM that runs on with another link: the guest's message is followed again, and what waited is given to the
/// agent.
fn on(s: &mut Session) -> Vec<Effect> {
    let followed = s.inbox.first().filter(|_| s.unread).cloned();
    let mut effects: Vec<_> =
        followed.map(|message| Effect::Type { generation: s.generation, message }).into_iter().collect();
    effects.extend(tell::go_on(s));
    effects
}

/// Whether the message with this id is on its way to the guest, or in it unread.
fn is_under_way(s: &Session, id: u64) -> bool {
    (s.typing || s.unread) && s.inbox.first().is_some_and(|message| message.id == id)
}

fn typed(s: &mut Session, id: u64) -> Vec<Effect> {
    if !is_under_way(s, id) || s.unread {
        return vec![];
    }
    (s.typing, s.unread) = (false, true);
    tell::go_on(s)
}

fn read(s: &mut Session, id: u64) -> Vec<Effect> {
    if !is_under_way(s, id) {
        return vec![];
    }
    (s.typing, s.unread) = (false, false);
    s.inbox.remove(0);
    tell::go_on(s)
}

fn not_typed(s: &mut Session, id: u64) -> Vec<Effect> {
    if !is_under_way(s, id) {
        return vec![];
    }
    (s.typing, s.unread) = (false, false);
    if s.answer.is_some() { tell::go_on(s) } else { vec![] }
}

/// Wants the session resumed as soon as there is room.
pub(super) fn want(s: &mut Session) -> Vec<Effect> {
    if std::mem::replace(&mut s.wanted, true) {
        return vec![];
    }
    s.notice.clear();
    vec![Effect::Admit]
}

fn refused(s: &mut Session, why: String) -> Vec<Effect> {
    if s.lifecycle == Lifecycle::Queued {
        s.lifecycle = Lifecycle::Crashed { cause: Cause::StartFailed(why).cleaned(TEXT_MAX) };
    } else if std::mem::take(&mut s.wanted) {
        s.notice = format!("could not be resumed: {}", text::clean(&why, TEXT_MAX));
    }
    s.waiting.clear();
    vec![]
}

fn admitted(s: &mut Session) -> Vec<Effect> {
    if s.wanted {
        return begin_resume(s);
    }
    if s.lifecycle != Lifecycle::Queued {
        return vec![];
    }
    s.waiting.clear();
    s.lifecycle = Lifecycle::Starting;
    s.generation += 1;
    s.exited = None;
    tell::forget(s);
    s.asked = 0;
    vec![Effect::Start { generation: s.generation }]
}

/// The VM of this generation is up: the session runs, and its agent gets what waited for it.
fn up(s: &mut Session, from: &Lifecycle, generation: u64) -> Vec<Effect> {
    if s.lifecycle != *from || s.generation != generation {
        return vec![];
    }
    s.lifecycle = Lifecycle::Running;
    s.notice.clear();
    on(s)
}

fn suspended(s: &mut Session) -> Vec<Effect> {
    if s.lifecycle != Lifecycle::Suspending {
        return vec![];
    }
    s.lifecycle = Lifecycle::Suspended;
    if std::mem::take(&mut s.wake) { want(s) } else { vec![] }
}

fn suspend_failed(s: &mut Session, why: &str) -> Vec<Effect> {
    if s.lifecycle != Lifecycle::Suspending {
        return vec![];
    }
    s.lifecycle = Lifecycle::Running;
    s.wake = false;
    s.notice = format!("{NOT_SUSPENDED}{}", text::clean(why, TEXT_MAX));
    on(s)
}

fn begin_resume(s: &mut Session) -> Vec<Effect> {
    s.lifecycle = Lifecycle::Resuming;
    s.wanted = false;
    s.waiting.clear();
    s.generation += 1;
    s.notice.clear();
    vec![Effect::Resume { generation: s.generation }]
}

/// The session is suspended again, whatever became of the VM: its snapshot is as it was.
fn resume_failed(s: &mut Session, why: &str) -> Vec<Effect> {
    if s.lifecycle == Lifecycle::Resuming {
        s.lifecycle = Lifecycle::Suspended;
        s.notice = format!("could not be resumed: {}", text::clean(why, TEXT_MAX));
    }
    vec![]
}

fn ended(s: &mut Session, generation: u64, cause: Cause) -> Vec<Effect> {
    if !s.lifecycle.has_vm() || s.generation != generation {
        return vec![];
    }
    let cause = cause.cleaned(TEXT_MAX);
    if s.lifecycle == Lifecycle::Resuming {
        return resume_failed(s, &cause.to_string());
    }
    s.wake = false;
    (s.typing, s.unread) = (false, false);
    s.forking = false;
    tell::forget(s);
    s.lifecycle = if cause.in_order() { Lifecycle::Stopped { cause } } else { Lifecycle::Crashed { cause } };
    vec![]
}

/// A running session is suspended and wanted back, as the next hostd finds it. One that is being suspended already, by a person
/// or by the policy, stays suspended.
fn host_stops(s: &mut Session) -> Vec<Effect> {
    if s.lifecycle != Lifecycle::Running {
        return vec![];
    }
    s.lifecycle = Lifecycle::Suspending;
    s.wake = true;
    s.typing = false;
    s.telling = false;
    s.forking = false;
    s.notice.clear();
    vec![Effect::Suspend]
}

fn host_restarted(s: &mut Session) -> Vec<Effect> {
    s.wake = false;
    s.typing = false;
    s.forking = false;
    s.waiting.clear();
    s.telling = false;
    let mut effects = back(s);
    // What happened on the forge meanwhile told nobody.
    if s.wait.is_some() || s.pull.is_some() {
        effects.push(Effect::Observe);
    }
    effects
}

fn back(s: &mut Session) -> Vec<Effect> {
    match s.lifecycle {
        // The agent had not begun, or nobody was told that it had: begin again.
        Lifecycle::Queued | Lifecycle::Starting => {
            s.lifecycle = Lifecycle::Queued;
            vec![Effect::Admit]
        }
        Lifecycle::Running | Lifecycle::Suspending => {
            s.lifecycle = Lifecycle::Crashed { cause: Cause::HostRestarted };
            s.unread = false;
            tell::forget(s);
            vec![]
        }
        Lifecycle::Resuming => {
            s.lifecycle = Lifecycle::Suspended;
            want(s)
        }
        Lifecycle::Suspended if s.wanted => vec![Effect::Admit],
        Lifecycle::Suspended | Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } => vec![],
    }
}

fn agent_status(s: &mut Session, status: Status) -> Vec<Effect> {
    s.oom_killed.clear();
    set_activity(s, status.activity, text::clean(&status.text, TEXT_MAX));
    s.choices = status.choices.iter().take(CHOICES_MAX.0).map(|c| text::clean(c, CHOICES_MAX.1)).collect();
    vec![]
}

/// Keeps a sign, unless the agent has spoken since or has ended. Output and statuses come by different ways, so a status may
/// arrive late.
fn seen(s: &mut Session, sign: Sign) -> Vec<Effect> {
    let over = |at: UnixMillis| at.saturating_add(ASIDE) < s.spoke_at;
    s.sign = match sign.cleaned() {
        Sign::Prompt { since, .. } if over(since) => Sign::Nothing,
        Sign::Called { at, .. } if over(at) => Sign::Nothing,
        _ if s.exited.is_some() => Sign::Nothing,
        sign => sign,
    };
    vec![]
}

fn agent_exited(s: &mut Session, code: i32, last: &str) -> Vec<Effect> {
    s.exited = Some(code);
    s.sign = Sign::Nothing;
    s.unread = false;
    if code == 0 {
        if !s.activity.is_over() {
            set_activity(s, Activity::Done, String::new());
        }
    } else if s.activity != Activity::Failed {
        let last = text::one_line(&text::clean(last, LAST_LINE_MAX));
        let said = if last.is_empty() { String::new() } else { format!(": {last}") };
        set_activity(s, Activity::Failed, format!("the agent {}{said}", how_it_ended(code)));
    }
    s.choices.clear();
    tell::forget(s);
    vec![]
}

pub(super) fn set_activity(s: &mut Session, activity: Activity, text: String) {
    s.activity = activity;
    s.text = text;
    s.choices.clear();
}
