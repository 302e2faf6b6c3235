//! Why a session stands as it does: which source said what, when, and which one decides.

use crate::{
    Activity, Lifecycle, Session, UnixMillis,
    reports::{Report, Source},
    signs::Sign,
};

/// Milliseconds within which a hook reports what it is called for, also in an emulated guest on a busy host.
const HOOK_WITHIN: i64 = 30_000;

/// What one source said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Word of the source: see [`Source::word`]; else session-wait, that of a [`Call`](crate::signs::Call), screen or exit.
    pub source: &'static str,
    /// When it was first said so; 0: it is not known.
    pub at: UnixMillis,
    /// Word of what is said: that of a report's state; else what is waited for, prompt, called or quiet, or an exit code.
    pub state: String,
    /// What is waited for, with blocked.
    pub kind: &'static str,
    /// What is said of it; may be empty.
    pub text: String,
    /// Title of what is done; may be empty.
    pub title: String,
    /// How much of it is done, 0 to 100.
    pub progress: Option<u8>,
    /// Name of the program, or of a hook's event; may be empty.
    pub app: String,
    /// Id of the record; empty: the root, or the source has none.
    pub id: String,
    /// When a limit ends.
    pub until: Option<UnixMillis>,
    /// Whether it decides what the agent is taken to be doing.
    pub decides: bool,
}

/// Why a session stands as it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Word of what decides: a source's; vm where there is no agent that could do anything; message where something was sent
    /// that is yet to be acted on; empty where nobody has said anything.
    pub decides: &'static str,
    /// Why it decides, in words for a person.
    pub because: String,
    /// What each source said last, best first.
    pub said: Vec<Said>,
}

/// Explains what the session's agent is taken to be doing at this moment.
#[must_use]
pub fn explain(s: &Session, now: UnixMillis) -> Explanation {
    let (decides, because) = decides(s, now);
    let wait = s.wait.as_ref().map(|wait| Said {
        source: "session-wait",
        at: wait.since,
        state: wait.what.word().into(),
        ..Said::default()
    });
    let exit = s.exited.map(|code| Said { source: "exit", state: code.to_string(), ..Said::default() });
    let reports = Source::ALL.into_iter().filter_map(|source| Some(of_report(source, s.reports.of(source)?)));
    let mut said: Vec<Said> = exit.into_iter().chain(wait).chain(reports).chain(of_sign(&s.sign)).collect();
    for said in &mut said {
        said.decides = said.source == decides;
    }
    Explanation { decides, because, said }
}

/// Says that hooks of the agent's program are missing: its profile has some, of which the first is called at every start, and none has
/// reported although the program works or rests. Empty: they have reported, may yet, or are none.
#[must_use]
pub fn missing_hooks(s: &Session, now: UnixMillis) -> &'static str {
    let runs =
        matches!(s.lifecycle, Lifecycle::Running | Lifecycle::Suspending | Lifecycle::Suspended | Lifecycle::Resuming);
    let rests_since = match s.sign {
        Sign::Quiet { since } | Sign::Prompt { since, .. } => Some(since),
        Sign::Nothing | Sign::Called { .. } => None,
    };
    let works_since = Some(s.reports.turn_at).filter(|at| *at > 0);
    let since = works_since.into_iter().chain(rests_since).min();
    let late = since.is_some_and(|since| now.saturating_sub(since) > HOOK_WITHIN);
    if !(s.hooks && runs && s.exited.is_none() && s.reports.hook.is_none() && late) {
        ""
    } else if works_since.is_some() {
        "none has reported since the agent's program was started, so it has left them out: look whether the environment brings settings \
         of its own in their place (docs/agents.md, Hooks)"
    } else {
        "none has reported since the agent's program was started: it waits at a question of its own that comes before them, or has left \
         them out; look at its terminal, and whether the environment brings settings of its own in their place (docs/agents.md, Hooks)"
    }
}

fn decides(s: &Session, now: UnixMillis) -> (&'static str, String) {
    if let Some((source, _)) = s.reported() {
        return (source.word(), because(s, source));
    }
    if s.exited.is_some() {
        return ("exit", "the agent's process has ended".into());
    }
    if s.wait.is_some() {
        return ("session-wait", "the agent waits by command, which counts more than what its program shows".into());
    }
    if !matches!(s.lifecycle, Lifecycle::Running | Lifecycle::Suspending | Lifecycle::Suspended | Lifecycle::Resuming) {
        return ("vm", format!("its VM is {}", s.lifecycle.word()));
    }
    if let Some((source, report)) = s.reports.deciding() {
        if s.activity == Activity::Done && report.state.has_ended() {
            return (source.word(), "its turn is over, and its pull request is merged".into());
        }
        return ("message", "something was sent to the agent, and nobody has said anything since".into());
    }
    match s.sign {
        _ if s.refusal_in_force(now).is_some() && !s.sign.asks() => {
            (Source::Gateway.word(), "nobody else has said anything, and its model's API refuses its requests".into())
        }
        Sign::Nothing => ("", "nobody has said anything, so it is taken to be at work".into()),
        Sign::Called { by, .. } => {
            (by.word(), "nobody has said anything, and the program has called for a person".into())
        }
        _ => ("screen", "nobody has said anything, so only what its terminal shows is known".into()),
    }
}

fn because(s: &Session, source: Source) -> String {
    let overruled = source != Source::Agent && s.reports.agent.is_some();
    match source {
        Source::Agent => "the agent's own word holds for its turn, and its program says nothing against it",
        _ if overruled => "the program knows better here than its agent, which said something else",
        Source::Program => "the program's own reports are the best source that speaks",
        Source::Hook => "hooks are the best source that speaks: the program reports nothing by OSC 7501",
        Source::Gateway => "the agent's turn ended when the gateway saw its model's API refuse a request",
        Source::Terminal => "the terminal's title, progress or text is the best source that speaks",
    }
    .into()
}

fn of_report(source: Source, report: &Report) -> Said {
    let Report { at, state, text, title, progress, app, id, until, .. } = report.clone();
    let (source, state, kind) = (source.word(), state.word().into(), state.kind());
    Said { source, at, state, kind, text, title, progress, app, id, until, decides: false }
}

fn of_sign(sign: &Sign) -> Option<Said> {
    let (source, at, state, text) = match sign {
        Sign::Nothing => return None,
        Sign::Quiet { since } => ("screen", *since, "quiet", ""),
        Sign::Prompt { since, text } => ("screen", *since, "prompt", text.as_str()),
        Sign::Called { at, text, by } => (by.word(), *at, "called", text.as_str()),
    };
    Some(Said { source, at, state: state.into(), text: text.into(), ..Said::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Input,
        reports::{Kind, State},
        session::{Message, Wait, WaitFor, step, tests::new},
        signs::Call,
    };

    fn after(inputs: Vec<Input>) -> Session {
        let running = Session { lifecycle: Lifecycle::Running, generation: 3, ..new().0 };
        inputs.into_iter().fold(running, |s, input| step(&s, input, 1000).unwrap().0)
    }

    fn report(source: Source, state: State, text: &str) -> Input {
        let report = Box::new(Report { text: text.into(), ..Report::new(state, 500) });
        Input::Reported { generation: 3, source, report: Some(report) }
    }

    #[test]
    fn a_program_that_works_or_rests_without_a_hook_has_left_its_hooks_out() {
        let works = || report(Source::Program, State::Working, "");
        let with = |inputs: Vec<Input>| Session { hooks: true, ..after(inputs) };
        let missing = |s: &Session, now| !missing_hooks(s, now).is_empty();
        let silent = with(vec![works()]);
        assert!(!missing(&silent, 500 + HOOK_WITHIN) && missing(&silent, 501 + HOOK_WITHIN));
        let late = 1_000_000;
        assert!(!missing(&after(vec![works()]), late), "its profile has no hooks");
        assert!(!missing(&with(vec![works(), report(Source::Hook, State::Idle, "")]), late), "they report");
        assert!(!missing(&with(vec![]), late), "it may not have come so far");
        let quiet = Session { sign: Sign::Quiet { since: 500 }, ..with(vec![]) };
        assert!(missing(&quiet, late) && missing_hooks(&quiet, late).contains("docs/agents.md"));
        // Before its first turn it may not have come as far as its hooks.
        let says = |s: &Session| missing_hooks(s, late).contains("waits at a question of its own");
        assert!(says(&quiet) && !says(&silent));
        assert!(!missing(&Session { exited: Some(0), ..silent.clone() }, late), "it has ended");
        assert!(!missing(&Session { lifecycle: Lifecycle::Queued, ..silent }, late));
    }

    fn decides(inputs: Vec<Input>) -> (&'static str, Vec<&'static str>) {
        let Explanation { decides, because, said } = explain(&after(inputs), 1000);
        assert!(!because.is_empty() && said.iter().filter(|said| said.decides).count() <= 1);
        (decides, said.into_iter().map(|said| said.source).collect())
    }

    #[test]
    fn it_says_who_decides() {
        let works = || report(Source::Program, State::Working, "Bash");
        let asks = || report(Source::Hook, State::Blocked(Some(Kind::Permission)), "Bash(ls)");
        let said = || report(Source::Agent, State::Working, "writes tests");
        let quiet = || Input::Seen { generation: 3, sign: Sign::Quiet { since: 1 } };
        let wait = Wait { id: 1, what: WaitFor::Checks, pull: None, since: 1000, until: None };
        let waits = Input::WaitBegan { generation: 3, wait };
        let exited = Input::AgentExited { generation: 3, code: 3, last: String::new() };
        let sent = Input::Send(Message::line("go on"));
        assert_eq!(decides(vec![]), ("", vec![]));
        assert_eq!(decides(vec![quiet()]), ("screen", vec!["screen"]));
        for (by, word) in
            [(Call::Bell, "bell"), (Call::Osc9, "osc-9"), (Call::by_osc(777), "osc-777"), (Call::by_osc(99), "osc-99")]
        {
            let called = Input::Seen { generation: 3, sign: Sign::Called { at: 1, text: String::new(), by } };
            assert_eq!(decides(vec![called]), (word, vec![word]));
        }
        assert_eq!(decides(vec![asks(), works()]), ("osc-7501", vec!["osc-7501", "hook"]));
        assert_eq!(decides(vec![asks()]), ("hook", vec!["hook"]));
        assert_eq!(decides(vec![works(), said()]), ("session-status", vec!["session-status", "osc-7501"]));
        assert_eq!(decides(vec![works(), waits]), ("session-wait", vec!["session-wait", "osc-7501"]));
        assert_eq!(decides(vec![works(), exited]), ("exit", vec!["exit"]));
        assert_eq!(decides(vec![report(Source::Program, State::Idle, ""), sent]).0, "message");
        assert_eq!(explain(&new().0, 1000).decides, "vm");
        let merged =
            Session { activity: Activity::Done, ..after(vec![works(), report(Source::Program, State::Idle, "")]) };
        assert_eq!(explain(&merged, 1000).decides, "osc-7501");
    }

    #[test]
    fn what_is_said_is_told_whole() {
        let asks = report(Source::Hook, State::Blocked(Some(Kind::Permission)), "Bash(ls)");
        let [said] = &explain(&after(vec![asks]), 1000).said[..] else { panic!() };
        assert_eq!(
            (said.at, &*said.state, said.kind, &*said.text, said.decides),
            (500, "blocked", "permission", "Bash(ls)", true)
        );
    }
}
