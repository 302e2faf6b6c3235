use super::{
    Activity, Budget, Cause, Denied, Due, Effect, Input, Lifecycle, Message, Session, adopt, agent, allowed, answer,
    bounds::TEXT_MAX, checkpoint, deliver, exited, go_on, restarts, send, types::NOT_SUSPENDED,
};
use crate::{
    UnixMillis,
    attention::holder,
    reports::{Reports, Source},
    signs::Sign,
    text,
};

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
    let speaks = matches!(
        input,
        Input::AgentStatus { .. }
            | Input::Send(_)
            | Input::AnswerPermission { .. }
            | Input::Reported { source: Source::Agent, .. }
    );
    let counted = matches!(input, Input::Answers { .. });
    let mut effects = if session.deleting { while_deleting(&input)? } else { apply(&mut next, input, now)? };
    // What is seen is of the pull request that its wait names.
    if names(&next) != names(session) && !effects.contains(&Effect::Observe) {
        effects.push(Effect::Observe);
    }
    if speaks && next != *session {
        // What was seen before is answered by it.
        (next.sign, next.spoke_at) = (Sign::Nothing, now.max(session.spoke_at));
    }
    if next != *session {
        // What models answered is counted, and is no news of what the session does.
        if !counted {
            next.updated_at = now.max(session.updated_at);
        }
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
        Input::HostRestarted | Input::Adopting => Ok(vec![Effect::Remove]),
        Input::Restart { .. }
        | Input::Suspend
        | Input::Resume
        | Input::Fork
        | Input::Checkpoint
        | Input::Restore { .. }
        | Input::Budget(_)
        | Input::Allow(_)
        | Input::Disallow { .. }
        | Input::Send(_)
        | Input::AnswerPermission { .. } => Err(Denied("the session is being deleted".into())),
        _ => Ok(vec![]),
    }
}

fn apply(s: &mut Session, input: Input, now: UnixMillis) -> Result<Vec<Effect>, Denied> {
    match input {
        Input::Delete => {
            s.deleting = true;
            Ok(vec![Effect::Remove])
        }
        Input::Restart { give_up_memory } => restart(s, give_up_memory),
        Input::Suspend => suspend(s),
        Input::Resume => resume(s),
        Input::Fork => fork(s).map(|()| vec![]),
        Input::Checkpoint => checkpoint::begin(s),
        Input::Restore { then, .. } => checkpoint::restore(s, *then, now),
        Input::Budget(change) => budget(s, change),
        Input::Allow(egress) => allowed::add(s, egress).map(|()| vec![]),
        Input::Disallow { to } => allowed::remove(s, &to).map(|()| vec![]),
        Input::Send(message) => send::send(s, message),
        Input::AnswerPermission { permission, allow } => answer::answer(s, &permission, allow),
        report => Ok(reported(s, report, now)),
    }
}

/// Applies a report, which cannot be denied.
fn reported(s: &mut Session, input: Input, now: UnixMillis) -> Vec<Effect> {
    match input {
        Input::Admitted => admitted(s),
        Input::Waits { why } if s.waits_for_room() => {
            s.waiting = text::one_line(&text::clean(&why, TEXT_MAX));
            vec![]
        }
        Input::Refused { why } => refused(s, why),
        Input::Forked if s.forking => {
            s.forking = false;
            send::on(s)
        }
        Input::Checkpointed { .. } => checkpoint::taken(s),
        Input::NotCheckpointed { why } => checkpoint::failed(s, &why),
        Input::BeganAnew { generation, typed } if s.lifecycle == Lifecycle::Starting && s.generation == generation => {
            began_anew(s, typed)
        }
        Input::Started { generation } => up(s, &Lifecycle::Starting, generation, None, now),
        Input::Booted { generation, why } if s.lifecycle == Lifecycle::Running && s.generation == generation => {
            s.notice = format!("booted instead of being cloned: {}", text::clean(&why, TEXT_MAX));
            vec![]
        }
        Input::StartFailed { generation, why } => ended(s, generation, Cause::StartFailed(why), now),
        Input::Suspended => suspended(s),
        Input::SuspendFailed { why } => suspend_failed(s, &why),
        Input::Resumed { generation, answered } => up(s, &Lifecycle::Resuming, generation, answered, now),
        Input::ResumeFailed { why } => resume_failed(s, &why),
        Input::VmEnded { generation, cause } => ended(s, generation, cause, now),
        Input::HostRestarted => host_restarted(s),
        Input::Adopting => adopt::begin(s),
        Input::Adopted { generation } if s.generation == generation => adopt::done(s),
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
        Input::Typed { generation, id } if s.generation == generation => send::typed(s, id),
        Input::Read { generation, id } if s.generation == generation => send::read(s, id),
        Input::NotTyped { generation, id } if s.generation == generation => send::not_typed(s, id),
        Input::AgentStatus { generation, status } if s.generation == generation => agent::says(s, status, now),
        Input::Reported { generation, source, report } if s.generation == generation => {
            agent::reports(s, source, report.map(|report| *report))
        }
        Input::Answered { generation, at, entered } if s.generation == generation => agent::answered(s, at, entered),
        Input::Seen { generation, sign } if s.generation == generation => agent::shows(s, sign),
        Input::WaitBegan { generation, wait } if s.generation == generation => deliver::began(s, wait),
        Input::WaitWithdrawn { generation, id } if s.generation == generation => deliver::withdrawn(s, id),
        Input::Delivered { generation } if s.generation == generation => deliver::delivered(s),
        Input::NotDelivered { generation } if s.generation == generation => deliver::not_delivered(s),
        Input::Answers { spending } => {
            s.spending = spending;
            vec![]
        }
        Input::TimeIsUp { id } => deliver::time_is_up(s, id),
        Input::LimitIsOver => go_on::limit_is_over(s, now),
        Input::RestartIsDue => restarts::is_due(s, now),
        Input::Observed(seen) => deliver::observed(s, seen.map(|seen| *seen)),
        Input::AgentExited { generation, code, last } if s.generation == generation => {
            exited::exited(s, code, &last, now)
        }
        _ => vec![],
    }
}

pub(super) fn restart(s: &mut Session, give_up_memory: bool) -> Result<Vec<Effect>, Denied> {
    match s.lifecycle {
        _ if s.forking => Err(forked_now()),
        Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } => {
            s.crashes.clear();
            Ok(again(s, vec![Effect::Admit]))
        }
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

pub(super) fn again(s: &mut Session, effects: Vec<Effect>) -> Vec<Effect> {
    s.lifecycle = Lifecycle::Queued;
    (s.typing, s.unread) = (false, false);
    s.wanted = false;
    s.waiting.clear();
    s.notice.clear();
    s.sign = Sign::Nothing;
    s.reports = Reports::default();
    // Its program may go on with its conversation instead.
    s.given_task = false;
    s.oom_killed.clear();
    s.guest_disk_full.clear();
    s.set_activity(Activity::Working, String::new());
    effects
}

fn suspend(s: &mut Session) -> Result<Vec<Effect>, Denied> {
    match s.lifecycle {
        Lifecycle::Running if s.typing => Err(Denied("a message is being typed into it; try again".into())),
        Lifecycle::Running if s.forking => Err(forked_now()),
        Lifecycle::Running if s.delivering => Err(Denied("it is being told what it waits for; try again".into())),
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
        Lifecycle::Suspended => Ok(s.want()),
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
        Lifecycle::Running => stands_still_for(s),
        Lifecycle::Suspended => Ok(()),
        Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } => {
            Err(Denied(format!("it is {}: it has no memory to fork; restart it first", s.lifecycle.word())))
        }
        _ => Err(Denied(format!("it is {}; fork it when it runs or is suspended", s.lifecycle.word()))),
    }
}

/// The VM of a session that runs is to stand still for a snapshot; denied where something is on its way into the guest.
pub(super) fn stands_still_for(s: &mut Session) -> Result<(), Denied> {
    if s.forking {
        return Err(forked_now());
    }
    if s.typing {
        return Err(Denied("a message is being typed into it; try again".into()));
    }
    if s.delivering {
        return Err(Denied("it is being told what it waits for; try again".into()));
    }
    s.forking = true;
    Ok(())
}

fn budget(s: &mut Session, change: Budget) -> Result<Vec<Effect>, Denied> {
    let used_up = s.used_up().is_some();
    s.budget = match (change, s.budget) {
        (Budget::Off, _) => None,
        (Budget::Set(amount), _) => Some(amount),
        (Budget::Raise(more), Some(budget)) => Some(budget.saturating_add(more)),
        (Budget::Raise(_), None) => return Err(Denied("it has no budget that could be raised; set one".into())),
    };
    Ok(if used_up && s.used_up().is_none() { go_on::budget_raised(s) } else { vec![] })
}

pub(super) fn forked_now() -> Denied {
    Denied("it stands still at this moment, for a fork or a checkpoint; try again".into())
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
    // How long the life before was up says nothing of this one.
    s.up_at = 0;
    s.exited = None;
    deliver::forget(s);
    s.asked = 0;
    vec![Effect::Start { generation: s.generation }]
}

/// The agent has no conversation to go on with: it is not told how that ended, and is given its task again.
fn began_anew(s: &mut Session, typed: bool) -> Vec<Effect> {
    s.inbox.retain(|message| !message.of_restart);
    s.given_task = s.names_task();
    let waits = s.inbox.iter().any(|message| message.text == s.task);
    if typed && !s.task.is_empty() && !waits {
        s.post(Message::line(s.task.clone()));
        s.inbox.rotate_right(1);
    }
    vec![]
}

/// The VM of this generation is up: the session runs, and its agent gets what waited for it.
fn up(s: &mut Session, from: &Lifecycle, generation: u64, answered: Option<Box<Due>>, now: UnixMillis) -> Vec<Effect> {
    if s.lifecycle != *from || s.generation != generation {
        return vec![];
    }
    s.lifecycle = Lifecycle::Running;
    s.began = true;
    s.up_at = now;
    s.notice.clear();
    let mut effects = answered.map(|due| deliver::went_along(s, *due)).unwrap_or_default();
    effects.extend(send::on(s));
    effects
}

fn suspended(s: &mut Session) -> Vec<Effect> {
    if s.lifecycle != Lifecycle::Suspending {
        return vec![];
    }
    s.lifecycle = Lifecycle::Suspended;
    if std::mem::take(&mut s.wake) { s.want() } else { vec![] }
}

fn suspend_failed(s: &mut Session, why: &str) -> Vec<Effect> {
    if s.lifecycle != Lifecycle::Suspending {
        return vec![];
    }
    s.lifecycle = Lifecycle::Running;
    s.wake = false;
    s.notice = format!("{NOT_SUSPENDED}{}", text::clean(why, TEXT_MAX));
    send::on(s)
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

fn ended(s: &mut Session, generation: u64, cause: Cause, now: UnixMillis) -> Vec<Effect> {
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
    deliver::forget(s);
    if !cause.in_order() {
        restarts::crashed(s, now);
    }
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
    s.delivering = false;
    s.forking = false;
    s.notice.clear();
    vec![Effect::Suspend]
}

fn host_restarted(s: &mut Session) -> Vec<Effect> {
    s.wake = false;
    s.typing = false;
    s.forking = false;
    s.waiting.clear();
    s.delivering = false;
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
            s.lifecycle = Lifecycle::Crashed { cause: Cause::EndedUnseen };
            s.unread = false;
            deliver::forget(s);
            vec![]
        }
        Lifecycle::Resuming => {
            s.lifecycle = Lifecycle::Suspended;
            s.want()
        }
        Lifecycle::Suspended if s.wanted => vec![Effect::Admit],
        Lifecycle::Suspended | Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } => vec![],
    }
}
