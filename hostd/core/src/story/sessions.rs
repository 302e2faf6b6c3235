use super::Event;
use crate::{
    Activity, Input, Lifecycle, Session, UnixMillis,
    actor::Actor,
    attention::attention,
    recipe::Egress,
    reports::{Kind, State},
    session::{Answer, Fate, Message, WaitFor},
    usage::dollars,
};

/// The first event of a session.
#[must_use]
pub fn created(session: &Session) -> Event {
    let said = match &session.forked_from {
        Some(from) => format!("as a fork of {from}"),
        None if session.task.is_empty() => format!("in {}", session.environment),
        None => format!("in {}: {}", session.environment, session.task),
    };
    Event::new(&session.id, session.created_at, Actor::person(&*session.owner), "created", &said)
}

/// That another session was made from this one.
#[must_use]
pub fn forked(original: &Session, fork: &Session) -> Event {
    let (actor, at) = (Actor::person(&*fork.owner), fork.created_at);
    Event::new(&original.id, at, actor, "forked", &format!("{} goes on from here, too", fork.slug))
}

/// What a fork may reach that people have allowed the session that it was made from: whoever forks gives it to the fork.
pub fn inherited(fork: &Session) -> impl Iterator<Item = Event> {
    let (actor, at) = (Actor::person(&*fork.owner), fork.created_at);
    fork.allowed.iter().map(move |egress| Event::new(&fork.id, at, actor.clone(), "egress", &may_reach(egress)))
}

fn may_reach(egress: &Egress) -> String {
    let whichever = if egress.private { ", also at a private address" } else { "" };
    format!("may reach {}{whichever}", egress.to)
}

/// What a step of a session adds to its story.
#[must_use]
pub fn of_session(before: &Session, input: &Input, after: &Session, actor: &Actor, now: UnixMillis) -> Vec<Event> {
    let mut told = Vec::new();
    let mut tell = |actor: &Actor, what, text: &str| told.push(Event::new(&after.id, now, actor.clone(), what, text));
    match input {
        Input::Send(message) => tell(actor, "sent", &of_message(message)),
        Input::AnswerPermission { allow, .. } => {
            let what = before.permission().map(|permission| permission.text).unwrap_or_default();
            tell(actor, if *allow { "allowed" } else { "denied" }, &what);
        }
        Input::Restart { .. } => tell(actor, "restarted", "boots from its disk"),
        Input::RestartIsDue if before.lifecycle != after.lifecycle => {
            let most = after.restart.map_or(0, |policy| policy.most);
            tell(
                &Actor::Host,
                "restarted",
                &format!("boots from its disk after its crash ({} of {most})", after.crashes.len()),
            );
        }
        Input::Checkpointed { number, stood, by } => {
            tell(by, "checkpoint", &format!("{number} was taken; the VM stood still for {stood} ms"));
        }
        Input::NotCheckpointed { why } => tell(&Actor::Host, "checkpoint-failed", why),
        Input::Restore { number, at, .. } => {
            let minutes = now.saturating_sub(*at).max(0) / 60_000;
            tell(actor, "restored", &format!("goes back {minutes} min, to checkpoint {number}"));
        }
        Input::Delete if !before.deleting => tell(actor, "deleted", "is ended and removed"),
        Input::Adopted { .. } => tell(&Actor::Host, "adopted", "ran on while hostd was started again"),
        Input::SuspendFailed { why } => tell(&Actor::Host, "suspend-failed", why),
        Input::ResumeFailed { why } => tell(&Actor::Host, "wake-failed", why),
        Input::Booted { why, .. } => tell(&Actor::Host, "booted", &format!("was not cloned from its template: {why}")),
        Input::BeganAnew { .. } => tell(&Actor::Host, "began-anew", "its conversation was not there to go on with"),
        Input::RepositoryBroken { why, .. } => tell(&Actor::Host, "repository-broken", why),
        Input::OomKilled { name, .. } => tell(&Actor::Host, "oom-killed", &format!("{name}, for want of memory")),
        Input::AgentExited { .. } if after.exited != before.exited => {
            tell(actor, "exited", &attention(after, now).reason);
        }
        Input::Delivered { .. } => {
            if let Some(answer) = &before.answer {
                tell(&Actor::Host, "delivered", &of_answer(answer));
            }
        }
        _ => {}
    }
    if before.budget != after.budget {
        let said = after.budget.map_or_else(|| "taken off".into(), |budget| format!("set to {}", dollars(budget)));
        tell(actor, "budget", &said);
    }
    for egress in after.allowed.iter().filter(|egress| !before.allowed.contains(egress)) {
        tell(actor, "egress", &may_reach(egress));
    }
    for gone in before.allowed.iter().filter(|egress| !after.allowed.iter().any(|now| now.to == egress.to)) {
        tell(actor, "egress", &format!("may not reach {} any more", gone.to));
    }
    let of_itself = matches!(input, Input::LimitIsOver | Input::Budget(_));
    if of_itself && before.went_on != after.went_on && before.sent != after.sent {
        let what = before.stopped_by().map(|refusal| refusal.words().to_owned()).unwrap_or_default();
        tell(&Actor::Host, "went-on", &format!("after it was stopped: {what}"));
    }
    if let (None, Some(budget)) = (before.used_up(), after.used_up()) {
        tell(&Actor::Host, "budget-used-up", &format!("{} on models", dollars(budget)));
    }
    if before.guest_disk_full.is_empty() && !after.guest_disk_full.is_empty() {
        tell(&Actor::Host, "disk-full", &after.guest_disk_full);
    }
    if let (Input::Observed(_), Some(seen)) = (input, &after.pull) {
        let known = before.pull.as_ref().filter(|known| known.head == seen.head && known.number == seen.number);
        let outcome = seen.outcome().filter(|&outcome| outcome != "none");
        if let Some(outcome) = outcome.filter(|_| known.and_then(|known| known.outcome()) != outcome) {
            let failed = seen.failed.as_ref().map(|failed| format!(": {}", failed.name)).unwrap_or_default();
            tell(actor, "checks", &format!("of #{} {outcome}{failed}", seen.number));
        }
    }
    for typed in after.inbox.iter().filter(|message| message.of_forge && message.id > before.sent) {
        // Its first line says what it is about.
        tell(&Actor::Host, "delivered", typed.text.lines().next().unwrap_or_default());
    }
    if let Some((what, text)) = activity(before, after) {
        tell(actor, what, &text);
    }
    if let Some((actor, what, text)) = lifecycle(before, input, after, actor, now) {
        tell(&actor, what, &text);
    }
    if let Input::Resumed { answered: Some(due), .. } = input
        && before.wait.as_ref().is_some_and(|wait| wait.id == due.wait)
    {
        tell(&Actor::Host, "delivered", &of_answer(&due.answer));
    }
    told
}

/// What its agent does now, where that is something else.
fn activity(before: &Session, after: &Session) -> Option<(&'static str, String)> {
    let same = before.activity == after.activity;
    let waits = |what: &str| Some(("waits", format!("for {what}")));
    let turn_ended = after.reported().is_some() && after.reports.turn_ended().is_some();
    match after.activity {
        Activity::NeedsInput if !same || before.text != after.text => Some((asks(after), after.text.clone())),
        _ if same || after.exited.is_some() => None,
        Activity::WaitingChecks => waits("its checks"),
        Activity::WaitingReview => waits("a review"),
        Activity::Idle if after.wait.as_ref().is_some_and(|wait| wait.what == WaitFor::Message) => waits("a message"),
        Activity::Idle if turn_ended => Some(("turn-ended", after.text.clone())),
        Activity::Idle => Some(("idle", after.text.clone())),
        Activity::Done => Some(("done", after.text.clone())),
        Activity::Failed => Some(("failed", after.text.clone())),
        Activity::Working | Activity::NeedsInput => None,
    }
}

/// What it needs a person for.
fn asks(session: &Session) -> &'static str {
    match session.reported().map(|(_, report)| report.state) {
        Some(State::Blocked(Some(Kind::Permission))) => "needs-permission",
        Some(State::Blocked(Some(Kind::Auth))) => "needs-sign-in",
        _ => "asks",
    }
}

/// Where its VM stands now, where that is somewhere else, or that somebody wants it back.
fn lifecycle(
    before: &Session,
    input: &Input,
    after: &Session,
    actor: &Actor,
    now: UnixMillis,
) -> Option<(Actor, &'static str, String)> {
    use Lifecycle::{Crashed, Queued, Resuming, Running, Starting, Stopped, Suspended, Suspending};
    if !before.wanted && after.wanted && !after.deleting && !matches!(input, Input::Restore { .. }) {
        return Some((actor.clone(), "woken", why_woken(input, after)));
    }
    match (&before.lifecycle, &after.lifecycle) {
        (from, to) if from == to => None,
        (Starting | Queued, Running) => Some((Actor::Host, "started", "the agent, in a microVM of its own".into())),
        (Resuming, Running) => Some((Actor::Host, "resumed", "runs on where it was".into())),
        (_, Suspending) => Some((actor.clone(), "suspended", attention(before, now).reason)),
        (Suspended, Resuming) if !before.wanted => Some((actor.clone(), "woken", why_woken(input, after))),
        (_, Crashed { cause }) => Some((Actor::Host, "crashed", cause.to_string())),
        (_, Stopped { cause }) => Some((Actor::Host, "stopped", cause.to_string())),
        _ => None,
    }
}

fn why_woken(input: &Input, after: &Session) -> String {
    match (input, &after.answer) {
        (Input::Resume, _) => "by command".into(),
        (Input::Send(_), _) => "for the message".into(),
        (Input::AnswerPermission { .. }, _) => "for the answer to its question".into(),
        (_, Some(answer)) => format!("for the answer: {}", of_answer(answer)),
        _ => "something came for it".into(),
    }
}

fn of_message(message: &Message) -> String {
    if message.keys.is_empty() {
        return message.text.clone();
    }
    let keys: Vec<String> = message.keys.iter().map(ToString::to_string).collect();
    format!("keys {}", keys.join(" "))
}

fn of_answer(answer: &Answer) -> String {
    match answer {
        Answer::Checks { number, outcome, .. } => format!("checks of #{number} {outcome}"),
        Answer::Review { number, state: Fate::Merged, .. } => format!("#{number} is merged"),
        Answer::Review { number, state: Fate::Closed, .. } => format!("#{number} is closed"),
        Answer::Review { number, state: Fate::Open, .. } => format!("a review of #{number}"),
        Answer::Message { text } => text.clone(),
        Answer::TimedOut => "nothing in the time it gave".into(),
        Answer::NoPullRequest => "it has no pull request".into(),
        Answer::Refused { why } => why.clone(),
    }
}
