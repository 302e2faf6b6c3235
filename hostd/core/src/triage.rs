//! What can be done about a session that has crashed, or whose agent has ended badly, and what each of that would lose.

use crate::session::{Cause, Lifecycle, Session};

/// Something that a person can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Word of the choice: bundle, rescue, restart, delete.
    pub word: &'static str,
    /// What it does, in words for a person.
    pub does: String,
    /// What it loses, in words for a person; empty: nothing.
    pub loses: String,
}

/// Whether a session is one for triage: it has crashed before its agent was done, or its agent has ended badly.
#[must_use]
pub fn is_for(session: &Session) -> bool {
    let done = session.activity == crate::Activity::Done;
    !session.deleting && !done && !session.cause_word().is_empty()
}

/// What can be done about this session, the most careful first.
#[must_use]
pub fn choices(session: &Session) -> Vec<Choice> {
    let mut choices = vec![Choice {
        word: "bundle",
        does: "packs its console, its terminal, its story and its records into a file for a report, without secrets"
            .into(),
        loses: String::new(),
    }];
    // A checkpoint that can be gone back to comes here.
    if let Some(repository) = session.repository.as_ref().filter(|_| session.began) {
        choices.push(Choice {
            word: "rescue",
            does: format!("puts what its working tree has and was not pushed on a new branch of {repository}"),
            loses: String::new(),
        });
    }
    if session.exited.is_some() || matches!(session.lifecycle, Lifecycle::Crashed { .. } | Lifecycle::Stopped { .. }) {
        choices.push(restart(session));
    }
    choices.push(Choice {
        word: "delete",
        does: "removes it with its disk".into(),
        loses: match &session.repository {
            Some(repository) => format!("all that is on its disk and was not pushed to {repository}"),
            None => "all that is on its disk".into(),
        },
    });
    choices
}

fn restart(session: &Session) -> Choice {
    let agent = if session.resumes { "its agent goes on with its conversation" } else { "its agent begins anew" };
    let loses = match &session.lifecycle {
        Lifecycle::Crashed { cause: Cause::StartFailed(_) | Cause::AgentNotStarted { .. } } => "",
        Lifecycle::Crashed { .. } => {
            "what its programs had in memory alone, and what they wrote in the last two seconds before the crash"
        }
        _ => "what its other programs have in memory alone",
    };
    Choice { word: "restart", does: format!("boots it from its disk; {agent}"), loses: loses.into() }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        Activity,
        session::{NoAgent, tests::with},
    };

    fn crashed(cause: Cause) -> Session {
        with(Lifecycle::Crashed { cause })
    }

    #[rstest]
    #[case::runs(with(Lifecycle::Running), false)]
    #[case::crashed(crashed(Cause::HostRebooted), true)]
    #[case::was_done(Session { activity: Activity::Done, ..crashed(Cause::HostRebooted) }, false)]
    #[case::going(Session { deleting: true, ..crashed(Cause::HostRebooted) }, false)]
    #[case::agent_failed(Session { exited: Some(139), ..with(Lifecycle::Running) }, true)]
    #[case::agent_done(Session { exited: Some(0), ..with(Lifecycle::Running) }, false)]
    #[case::in_order(with(Lifecycle::Stopped { cause: Cause::PoweredOff }), false)]
    fn what_is_for_triage(#[case] session: Session, #[case] is: bool) {
        assert_eq!(is_for(&session), is);
    }

    #[rstest]
    #[case::crashed(crashed(Cause::EndedUnseen), &["bundle", "restart", "delete"], "in memory alone, and what they wrote")]
    #[case::no_program(crashed(Cause::AgentNotStarted { program: "x".into(), why: NoAgent::NotFound }),
        &["bundle", "restart", "delete"], "")]
    #[case::agent_failed(Session { exited: Some(1), ..with(Lifecycle::Running) }, &["bundle", "restart", "delete"],
        "what its other programs have")]
    #[case::suspended(with(Lifecycle::Suspended), &["bundle", "delete"], "")]
    fn each_choice_says_what_it_loses(#[case] session: Session, #[case] words: &[&str], #[case] restart: &str) {
        let choices = choices(&session);
        assert_eq!(choices.iter().map(|choice| choice.word).collect::<Vec<_>>(), words);
        let loses = choices.iter().find(|choice| choice.word == "restart").map(|choice| choice.loses.as_str());
        assert!(loses.unwrap_or_default().contains(restart), "{loses:?}");
        assert!(
            choices.iter().all(|choice| choice.word == "delete" || choice.loses.is_empty() || choice.word == "restart")
        );
        let repository = Session { repository: Some("widgets".into()), ..session };
        assert!(super::choices(&repository).last().unwrap().loses.ends_with("not pushed to widgets"));
    }
}
