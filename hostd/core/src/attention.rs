//! Whose turn it is, and why. Derived from lifecycle and activity, in one place, never stored.

use crate::{
    UnixMillis,
    pulls::Standing,
    reports::{Kind, Report, Source, State},
    session::{Activity, Answer, Cause, Fate, Lifecycle, Session},
    signs::Sign,
    text,
    usage::dollars,
};

/// One minute, in milliseconds.
const MINUTE: UnixMillis = 60_000;
/// Longest cause, in bytes, in a reason that has more to say after it.
const CAUSE_MAX: usize = 300;
/// Longest reason, in bytes.
const REASON_MAX: usize = 512;

/// Who has the turn of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// A person looking at the console must act.
    You,
    /// Checks run, or wait to be run.
    Checks,
    /// Another person must act.
    Other,
    /// The agent works, or its VM is being brought up.
    Agent,
    /// Nobody has to act: the session is over, waits for a place, or is suspended while at work.
    Nobody,
}

impl Turn {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::You => "you",
            Self::Checks => "checks",
            Self::Other => "other",
            Self::Agent => "agent",
            Self::Nobody => "nobody",
        }
    }
}

/// Who has the turn of a session, with a reason that stands alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Who has the turn.
    pub turn: Turn,
    /// What the turn is about, in a few words, however the session is kept: asks, permission, sign in, calls, may ask, review,
    /// merge, checks, changes, working, quiet, disk full, stands still, idle, done, failed, limited, budget, crashed, stopped, suspended (while at work), queued, starting,
    /// resuming or deleting.
    pub word: &'static str,
    /// Reason of the turn, in words for a person; one line of at most 512 bytes.
    pub reason: String,
}

/// Turn, its word, and its reason before that is cleaned.
type Why = (Turn, &'static str, String);

/// Derives who has the turn of a session. Total: every combination of lifecycle and activity has an answer.
///
/// Of a pull request as in Gerrit's attention set: whoever is waited for has the turn, and a reply hands it on. Checks take it
/// only by bad news, and nothing that an observer does moves it. `now` is for the ages in the reason.
#[must_use]
pub fn attention(session: &Session, now: UnixMillis) -> Attention {
    let reason = |reason: &str| text::clean(&text::one_line(reason), REASON_MAX);
    if session.lifecycle == Lifecycle::Suspended && !session.notice.is_empty() && !session.deleting {
        // It stays where it is until somebody does something about it.
        let (_, word, _) = derive(session, now);
        return Attention { turn: Turn::You, word, reason: reason(&session.notice) };
    }
    let (turn, word, mut why) = with_budget(session, with_guest(session, derive(session, now)));
    if !session.deleting {
        let asides = [aside(&session.notice).to_owned(), unread(session)];
        let asides: Vec<_> = asides.into_iter().filter(|aside| !aside.is_empty()).collect();
        if !asides.is_empty() {
            why = format!("{why} ({})", asides.join("; "));
        }
    }
    Attention { turn, word, reason: reason(&why) }
}

/// The turn of a session that stands still because nothing that happens to it can be kept, for this reason.
#[must_use]
pub fn stands_still(why: &str) -> Attention {
    Attention { turn: Turn::You, word: "stands still", reason: text::clean(&text::one_line(why), REASON_MAX) }
}

/// Whose turn it is, as far as the turn's age is concerned: for a suspended session that wants nothing, or waits for room,
/// whoever would have the turn if it were in memory. How a session is kept hands nothing on.
#[must_use]
pub(crate) fn holder(session: &Session, now: UnixMillis) -> Turn {
    let turn = attention(session, now).turn;
    if turn == Turn::Nobody && session.lifecycle == Lifecycle::Suspended && !session.deleting {
        let awake = Session { lifecycle: Lifecycle::Running, ..session.clone() };
        return attention(&awake, now).turn;
    }
    turn
}

/// The part of a notice before its reason: that is long, and no part of a question.
fn aside(notice: &str) -> &str {
    notice.split_once(": ").map_or(notice, |(what, _)| what)
}

/// Derives the turn as of whole minutes since the session last changed, so that the ages in the reason make news of it once a
/// minute at most.
#[must_use]
pub fn attention_by_minute(session: &Session, now: UnixMillis) -> Attention {
    let since = now.saturating_sub(session.updated_at).max(0);
    attention(session, session.updated_at.saturating_add(since - since % MINUTE))
}

/// Words about messages that the agent has not read though it could have, or never will; empty: there are none.
fn unread(s: &Session) -> String {
    match (s.exited.is_some(), s.inbox.len()) {
        (true, 1) => "a message was not read".into(),
        (true, count @ 2..) => format!("{count} messages were not read"),
        (false, _) if s.unread && s.lifecycle == Lifecycle::Running => "a message is not read yet".into(),
        _ => String::new(),
    }
}

/// Adds the guest's troubles to the turn: a full disk is for a person to see to, a killed process may be one that the agent
/// does not need.
fn with_guest(s: &Session, (turn, word, mut reason): Why) -> Why {
    let lives = s.lifecycle.has_vm() || s.lifecycle == Lifecycle::Suspended;
    if !lives || s.deleting {
        return (turn, word, reason);
    }
    if !s.oom_killed.is_empty() {
        reason = format!("{reason} (out of memory: the guest's kernel killed `{}`)", s.oom_killed);
    }
    match turn {
        _ if s.guest_disk_full.is_empty() => (turn, word, reason),
        Turn::Agent => (Turn::You, "disk full", format!("the guest's disk is full, {}: {reason}", s.guest_disk_full)),
        turn => (turn, word, format!("{reason} (the guest's disk is full, {})", s.guest_disk_full)),
    }
}

/// Adds that the budget is used up. Of a session that has nothing else to wait for, that is what the turn is about: its agent can do
/// nothing more, whatever it says of itself.
fn with_budget(s: &Session, (turn, word, reason): Why) -> Why {
    let lives = s.lifecycle.has_vm() || s.lifecycle == Lifecycle::Suspended;
    let Some(budget) = s.used_up().filter(|_| lives && !s.deleting) else { return (turn, word, reason) };
    let used_up = format!("budget of {} used up", dollars(budget));
    let stuck = matches!(
        (turn, word),
        (Turn::Agent, _)
            | (Turn::You, "idle" | "failed" | "limited" | "calls" | "may ask")
            | (Turn::Nobody, "suspended")
    );
    match stuck && s.exited.is_none() {
        true => (Turn::You, "budget", format!("{used_up}; raise it to go on")),
        false => (turn, word, format!("{reason} ({used_up})")),
    }
}

fn derive(s: &Session, now: UnixMillis) -> Why {
    if s.deleting {
        return (Turn::Nobody, "deleting", "is being deleted".into());
    }
    match &s.lifecycle {
        Lifecycle::Crashed { cause } if s.activity == Activity::Done => {
            (Turn::Nobody, "done", said("done", &s.text) + &format!(" ({cause})"))
        }
        Lifecycle::Crashed { cause } => crashed(s, cause, now),
        Lifecycle::Queued | Lifecycle::Suspended if !s.waiting.is_empty() => {
            (Turn::Nobody, "queued", s.waiting.clone())
        }
        Lifecycle::Queued => (Turn::Nobody, "queued", "waits for a place to start".into()),
        Lifecycle::Starting => (Turn::Agent, "starting", "starting".into()),
        Lifecycle::Resuming | Lifecycle::Suspended if s.has_something() => {
            (Turn::Agent, "resuming", format!("wakes: {}", news(s)))
        }
        Lifecycle::Stopped { cause: Cause::PoweredOff } if !s.activity.is_over() => {
            (Turn::You, "stopped", "powered off before the agent was done".into())
        }
        Lifecycle::Stopped { cause } if !s.activity.is_over() => {
            (Turn::You, "stopped", format!("stopped before the agent was done: {cause}"))
        }
        // Somebody put it to disk while it was at work: nothing moves until somebody brings it back.
        Lifecycle::Suspended
            if s.activity == Activity::Working && s.exited.is_none() && !s.wanted && !sign(s).asks() =>
        {
            (Turn::Nobody, "suspended", "suspended while at work; resume it to go on".into())
        }
        Lifecycle::Running
        | Lifecycle::Suspending
        | Lifecycle::Suspended
        | Lifecycle::Resuming
        | Lifecycle::Stopped { .. } => by_activity(s, now),
    }
}

/// The turn of a session whose VM has crashed: its own while it is to start again by itself.
fn crashed(s: &Session, cause: &Cause, now: UnixMillis) -> Why {
    if let Some(at) = s.restarts_at() {
        let most = s.restart.map_or(0, |policy| policy.most);
        let why = format!("crashed: {cause}; restarted {} ({} of {most})", within(at, now), s.crashes.len());
        return (Turn::Agent, "crashed", why);
    }
    match s.crash_loop() {
        Some((times, millis)) => {
            let (cause, within) = (text::clean(&cause.to_string(), CAUSE_MAX), age(0, millis));
            let why = format!(
                "crashed {times} times in {within}: {cause}; it is not restarted any more: see why, and restart it"
            );
            (Turn::You, "crashed", why)
        }
        None => (Turn::You, "crashed", format!("crashed: {cause}")),
    }
}

/// What a session is brought back for, in words for a person.
fn news(s: &Session) -> String {
    match &s.answer {
        Some(Answer::Checks { number, outcome, .. }) => format!("checks of #{number} {outcome}"),
        Some(Answer::Review { number, state: Fate::Merged, .. }) => format!("#{number} is merged"),
        Some(Answer::Review { number, state: Fate::Closed, .. }) => format!("#{number} is closed"),
        Some(Answer::Review { number, reviews, .. }) => {
            let verdict = reviews.last().map_or("reviewed", |review| review.verdict.word());
            format!("review of #{number}: {verdict}")
        }
        Some(Answer::TimedOut) => "its wait has lasted long enough".into(),
        Some(Answer::NoPullRequest) => "there is no pull request".into(),
        Some(Answer::Refused { .. }) => "its wait names a pull request that is not its own".into(),
        Some(Answer::Message { .. }) | None => "a message".into(),
    }
}

fn by_activity(s: &Session, now: UnixMillis) -> Why {
    if let Some((source, report)) = s.reported().filter(|(source, _)| *source != Source::Agent)
        && let Some(why) = of_report(s, source, &report, now)
    {
        return why;
    }
    match s.activity {
        Activity::Working => works(s, now),
        Activity::NeedsInput => (Turn::You, "asks", said("asks", &s.text)),
        Activity::WaitingChecks => (Turn::Checks, "checks", "waits on checks".to_owned() + &checks(s, now)),
        Activity::WaitingReview => reviewer(s, now),
        Activity::Idle if s.ended_turn() => ended_turn(s, s.spoke_at, &s.text, now),
        Activity::Idle => (Turn::You, "idle", said("idle", &s.text)),
        Activity::Done => done(s, now),
        Activity::Failed => match (s.stopped_by(), s.goes_on_at()) {
            (Some(refusal), Some(at)) => {
                let why = format!("{}, started again {}", refusal.words(), within(at, now));
                (Turn::Agent, "limited", format!("{}; {why}", said("failed", &s.text)))
            }
            _ => (Turn::You, "failed", said("failed", &s.text)),
        },
    }
}

/// When something happens that is due then.
fn within(at: UnixMillis, now: UnixMillis) -> String {
    if at > now { format!("in {}", age(now, at)) } else { "now".into() }
}

/// The turn of an agent whose program, hook or terminal says this; None: it works.
fn of_report(s: &Session, source: Source, report: &Report, now: UnixMillis) -> Option<Why> {
    let words = &text_of(report);
    Some(match report.state {
        State::Working => return None,
        State::Blocked(Some(Kind::Permission)) => (Turn::You, "permission", said("needs a permission", words)),
        State::Blocked(Some(Kind::Question)) => (Turn::You, "asks", said("asks", words)),
        State::Blocked(Some(Kind::Auth)) => (Turn::You, "sign in", said("needs you to sign in", words)),
        State::Blocked(None) => (Turn::You, "asks", said("waits for you", words)),
        State::Error => (Turn::You, "failed", said("failed", words)),
        State::Limited => match s.goes_on_at() {
            Some(at) => {
                let why = format!("{}; the agent goes on by itself {}", limited(report, now), within(at, now));
                (Turn::Agent, "limited", why)
            }
            None => (Turn::You, "limited", limited(report, now)),
        },
        // A program that has only begun has had no turn.
        State::Idle | State::Done if s.reports.turn_at == 0 => (Turn::You, "idle", said("waits for its task", words)),
        State::Idle | State::Done => {
            let since = s.reports.of(source).map_or(report.at, |report| report.at);
            ended_turn(s, since, words, now)
        }
    })
}

/// What a report says, with the name of the part of the program that says it.
fn text_of(report: &Report) -> String {
    let part = if report.id.is_empty() { String::new() } else { format!(" ({})", report.id) };
    match report.words() {
        "" => part.trim().to_owned(),
        words => format!("{words}{part}"),
    }
}

/// Words about a limit of the agent's model.
fn limited(report: &Report, now: UnixMillis) -> String {
    let what = if report.words().is_empty() { "stopped by a limit of its model" } else { report.words() };
    match report.until {
        Some(until) if until > now => format!("{what}; it ends in {}", age(now, until)),
        Some(until) => format!("{what}; it ended {} ago", age(until, now)),
        None => what.into(),
    }
}

/// What the terminal shows, where nothing better is known: neither the program nor a hook of it says anything.
fn sign(s: &Session) -> &Sign {
    let silent = s.reports.program.is_none() && s.reports.hook.is_none();
    match &s.sign {
        Sign::Prompt { .. } | Sign::Called { .. } if !silent => &Sign::Nothing,
        sign => sign,
    }
}

/// The turn of an agent that says that it works, or says nothing: then only what its terminal shows is known.
fn works(s: &Session, now: UnixMillis) -> Why {
    if let Some(refusal) = s.refusal_in_force(now).filter(|_| !sign(s).asks()) {
        // Nobody knows when it ends: it may have to be paid for.
        let turn = if refusal.until.is_some() { Turn::Agent } else { Turn::You };
        return (turn, "limited", limited(refusal, now));
    }
    let report = s.reported().map(|(_, report)| report);
    let progress = report.as_ref().and_then(|report| report.progress).map(|progress| format!(", {progress} %"));
    let working = said("working", &s.text) + &progress.unwrap_or_default();
    match sign(s) {
        Sign::Nothing => (Turn::Agent, "working", working),
        Sign::Quiet { since } => {
            let quiet = format!("last output {} ago", age(*since, now));
            match s.text.is_empty() && report.is_none() {
                true => (Turn::Agent, "quiet", format!("quiet: {quiet}; it says nothing of itself")),
                false => (Turn::Agent, "working", format!("{working}; {quiet}")),
            }
        }
        Sign::Prompt { since, text } => {
            (Turn::You, "may ask", format!("may be asking: {text} (last output {} ago)", age(*since, now)))
        }
        Sign::Called { at, text, .. } if text.is_empty() => {
            (Turn::You, "calls", format!("calls: rang the bell {} ago", age(*at, now)))
        }
        Sign::Called { text, .. } => (Turn::You, "calls", format!("calls: {text}")),
    }
}

/// Words about the checks, such as `: 2 of 5, `integration` failed 3 min ago`.
fn checks(s: &Session, now: UnixMillis) -> String {
    let Some(pull) = &s.pull else { return String::new() };
    let failed = pull.failed.as_ref().map(|failed| format!(", `{}` failed {} ago", failed.name, age(failed.at, now)));
    match pull.total {
        0 => format!(" of #{}", pull.number),
        total => format!(": {} of {total}{}", pull.passed, failed.unwrap_or_default()),
    }
}

/// The turn of a review: a person's, unless the checks have not let it through yet.
fn reviewer(s: &Session, now: UnixMillis) -> Why {
    let Some(pull) = &s.pull else { return (Turn::Other, "review", said("waits for review", &s.text)) };
    let (number, since) = (pull.number, age(pull.since, now));
    match (pull.standing, pull.outcome()) {
        (_, Some("failed")) => (Turn::Agent, "checks", format!("checks of #{number}{}", checks(s, now))),
        (_, None) => {
            (Turn::Checks, "checks", format!("waits for review of #{number} after its checks{}", checks(s, now)))
        }
        (Standing::Approved, _) => (Turn::You, "merge", format!("#{number} is approved: merge it")),
        (Standing::ChangesRequested, _) => (Turn::Agent, "changes", format!("changes to #{number} were asked for")),
        (Standing::Outdated, _) => (Turn::You, "review", format!("review of #{number} by you again, since {since}")),
        (Standing::Waiting, _) => (Turn::You, "review", format!("review of #{number} by you since {since}")),
    }
}

/// The turn of an agent that has ended its own: its pull request's, while that is open; else a person's.
fn ended_turn(s: &Session, since: UnixMillis, words: &str, now: UnixMillis) -> Why {
    let ended = said(&format!("finished its turn, {} ago", age(since, now)), words);
    match &s.pull {
        Some(pull) if pull.fate == Fate::Open => {
            let (turn, word, reason) = reviewer(s, now);
            match turn {
                // What it would have to do it was told, and has ended its turn since.
                Turn::Agent if s.answer.is_none() => (Turn::You, "idle", format!("{ended}; {reason}")),
                turn => (turn, word, format!("{reason} ({ended})")),
            }
        }
        _ => (Turn::You, "idle", ended),
    }
}

/// The turn of an agent that is done: its pull request may not be.
fn done(s: &Session, now: UnixMillis) -> Why {
    let done = said("done", &s.text);
    match &s.pull {
        Some(pull) if pull.fate == Fate::Open => {
            let (turn, word, reason) = reviewer(s, now);
            // Of what an agent would do, nobody is there any more who does it.
            let turn = if turn == Turn::Agent { Turn::You } else { turn };
            (turn, word, format!("{done}; {reason}"))
        }
        Some(pull) if pull.fate == Fate::Merged => {
            (Turn::Nobody, "done", format!("{done}; #{} is merged", pull.number))
        }
        _ => (Turn::Nobody, "done", done),
    }
}

/// Age in words, such as `40 s`, `3 min`, `2 h` or `5 d`.
fn age(at: UnixMillis, now: UnixMillis) -> String {
    let seconds = now.saturating_sub(at).max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

fn said(what: &str, text: &str) -> String {
    if text.is_empty() { what.into() } else { format!("{what}: {text}") }
}
