use super::types::{Activity, Cause, Denied, Effect, Input, Lifecycle, Session, Status};
use crate::{UnixMillis, text};

/// Longest status text kept, in bytes.
const TEXT_MAX: usize = 4096;
/// Most choices kept, and the longest, in bytes.
const CHOICES_MAX: (usize, usize) = (16, 256);

/// One step of the machine: the session after `input`, and what is to be done.
///
/// A repeat is a no-op: the same session and no effects. Reports that come late or from another generation are no-ops too.
///
/// # Errors
/// [`Denied`] for a person's command that makes no sense in this state, with a reason fit for them.
pub fn step(session: &Session, input: Input, now: UnixMillis) -> Result<(Session, Vec<Effect>), Denied> {
    let mut next = session.clone();
    let effects = if session.deleting { while_deleting(&input)? } else { apply(&mut next, input)? };
    if next != *session {
        next.updated_at = now;
    }
    Ok((next, effects))
}

fn while_deleting(input: &Input) -> Result<Vec<Effect>, Denied> {
    match input {
        Input::HostRestarted => Ok(vec![Effect::Remove]),
        Input::Restart | Input::Suspend | Input::Resume | Input::Send { .. } => {
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
        Input::Restart => restart(s),
        Input::Suspend => suspend(s),
        Input::Resume => resume(s),
        Input::Send { text } => send(s, text),
        Input::Admitted => Ok(admitted(s)),
        Input::Started { generation } => Ok(started(s, generation)),
        Input::StartFailed { generation, why } => {
            Ok(ended(s, generation, Cause::StartFailed(text::clean(&why, TEXT_MAX))))
        }
        Input::Suspended => Ok(suspended(s)),
        Input::SuspendFailed { why } => Ok(back_to(s, &Lifecycle::Suspending, Lifecycle::Running, &why)),
        Input::Resumed { generation } => Ok(resumed(s, generation)),
        Input::ResumeFailed { why } => Ok(back_to(s, &Lifecycle::Resuming, Lifecycle::Suspended, &why)),
        Input::VmEnded { generation, cause } => Ok(ended(s, generation, cause)),
        Input::HostRestarted => Ok(host_restarted(s)),
        Input::AgentStatus(status) => Ok(agent_status(s, status)),
        Input::AgentExited { code } => Ok(agent_exited(s, code)),
    }
}

fn restart(s: &mut Session) -> Result<Vec<Effect>, Denied> {
    match s.lifecycle {
        Lifecycle::Stopped | Lifecycle::Crashed { .. } => {
            s.lifecycle = Lifecycle::Queued;
            set_activity(s, Activity::Working, String::new());
            Ok(vec![Effect::Admit])
        }
        Lifecycle::Queued | Lifecycle::Starting => Ok(vec![]),
        _ => Err(Denied(format!("it is {}; only a stopped or crashed session can be restarted", s.lifecycle.word()))),
    }
}

fn suspend(s: &mut Session) -> Result<Vec<Effect>, Denied> {
    match s.lifecycle {
        Lifecycle::Running => {
            s.lifecycle = Lifecycle::Suspending;
            s.wake = false;
            Ok(vec![Effect::Suspend])
        }
        Lifecycle::Suspending => {
            s.wake = false;
            Ok(vec![])
        }
        Lifecycle::Suspended => Ok(vec![]),
        _ => Err(Denied(format!("it is {}; only a running session can be suspended", s.lifecycle.word()))),
    }
}

fn resume(s: &mut Session) -> Result<Vec<Effect>, Denied> {
    match s.lifecycle {
        Lifecycle::Suspended => Ok(begin_resume(s)),
        Lifecycle::Suspending => {
            s.wake = true;
            Ok(vec![])
        }
        Lifecycle::Stopped | Lifecycle::Crashed { .. } => {
            Err(Denied(format!("it is {}; restart it to boot it again from its disk", s.lifecycle.word())))
        }
        _ => Ok(vec![]),
    }
}

fn send(s: &mut Session, text: String) -> Result<Vec<Effect>, Denied> {
    match s.lifecycle {
        Lifecycle::Running => {
            // An answer has been given: the question is no longer open.
            if s.activity == Activity::NeedsInput || s.activity == Activity::Idle {
                set_activity(s, Activity::Working, String::new());
            }
            Ok(vec![Effect::Type { text }])
        }
        Lifecycle::Stopped | Lifecycle::Crashed { .. } => {
            Err(Denied(format!("it is {}; restart it before you send to it", s.lifecycle.word())))
        }
        _ if s.inbox.len() >= Session::INBOX => {
            Err(Denied(format!("{} messages wait for it already; wait until it runs", Session::INBOX)))
        }
        _ => {
            s.inbox.push(text);
            match s.lifecycle {
                Lifecycle::Suspended => Ok(begin_resume(s)),
                Lifecycle::Suspending => {
                    s.wake = true;
                    Ok(vec![])
                }
                _ => Ok(vec![]),
            }
        }
    }
}

fn admitted(s: &mut Session) -> Vec<Effect> {
    if s.lifecycle != Lifecycle::Queued {
        return vec![];
    }
    s.lifecycle = Lifecycle::Starting;
    s.generation += 1;
    vec![Effect::Start { generation: s.generation }]
}

fn started(s: &mut Session, generation: u64) -> Vec<Effect> {
    if s.lifecycle != Lifecycle::Starting || s.generation != generation {
        return vec![];
    }
    runs(s)
}

fn resumed(s: &mut Session, generation: u64) -> Vec<Effect> {
    if s.lifecycle != Lifecycle::Resuming || s.generation != generation {
        return vec![];
    }
    runs(s)
}

/// It runs: the agent gets what waited for it.
fn runs(s: &mut Session) -> Vec<Effect> {
    s.lifecycle = Lifecycle::Running;
    if !s.inbox.is_empty() && matches!(s.activity, Activity::NeedsInput | Activity::Idle) {
        set_activity(s, Activity::Working, String::new());
    }
    std::mem::take(&mut s.inbox).into_iter().map(|text| Effect::Type { text }).collect()
}

fn suspended(s: &mut Session) -> Vec<Effect> {
    if s.lifecycle != Lifecycle::Suspending {
        return vec![];
    }
    s.lifecycle = Lifecycle::Suspended;
    if std::mem::take(&mut s.wake) { begin_resume(s) } else { vec![] }
}

fn begin_resume(s: &mut Session) -> Vec<Effect> {
    s.lifecycle = Lifecycle::Resuming;
    s.generation += 1;
    vec![Effect::Resume { generation: s.generation }]
}

fn back_to(s: &mut Session, from: &Lifecycle, to: Lifecycle, why: &str) -> Vec<Effect> {
    if s.lifecycle != *from {
        return vec![];
    }
    s.text = text::clean(why, TEXT_MAX);
    s.wake = false;
    if to == Lifecycle::Running {
        return runs(s);
    }
    s.lifecycle = to;
    vec![]
}

fn ended(s: &mut Session, generation: u64, cause: Cause) -> Vec<Effect> {
    if !s.lifecycle.has_vm() || s.generation != generation {
        return vec![];
    }
    s.wake = false;
    s.lifecycle = match cause {
        Cause::PoweredOff => Lifecycle::Stopped,
        cause => Lifecycle::Crashed { cause },
    };
    vec![]
}

fn host_restarted(s: &mut Session) -> Vec<Effect> {
    s.wake = false;
    match s.lifecycle {
        // The agent had not begun, or nobody was told that it had: begin again.
        Lifecycle::Queued | Lifecycle::Starting => {
            s.lifecycle = Lifecycle::Queued;
            vec![Effect::Admit]
        }
        Lifecycle::Running | Lifecycle::Suspending => {
            s.lifecycle = Lifecycle::Crashed { cause: Cause::HostRestarted };
            vec![]
        }
        Lifecycle::Resuming => begin_resume(s),
        Lifecycle::Suspended | Lifecycle::Stopped | Lifecycle::Crashed { .. } => vec![],
    }
}

fn agent_status(s: &mut Session, status: Status) -> Vec<Effect> {
    // Events are kept by the guest until acknowledged and may come after its VM ended; they are still true.
    set_activity(s, status.activity, text::clean(&status.text, TEXT_MAX));
    s.choices = status.choices.iter().take(CHOICES_MAX.0).map(|c| text::clean(c, CHOICES_MAX.1)).collect();
    vec![]
}

fn agent_exited(s: &mut Session, code: i32) -> Vec<Effect> {
    if code == 0 {
        if !s.activity.is_over() {
            set_activity(s, Activity::Done, String::new());
        }
    } else if s.activity != Activity::Failed {
        set_activity(s, Activity::Failed, format!("the agent ended with exit code {code}"));
    }
    s.choices.clear();
    vec![]
}

fn set_activity(s: &mut Session, activity: Activity, text: String) {
    s.activity = activity;
    s.text = text;
    s.choices.clear();
}
