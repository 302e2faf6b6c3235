//! Which of the reports that hooks bring are of the agent's own conversation: programs have others beside it, for their
//! subagents and for titles.

use std::sync::{Arc, Mutex, PoisonError};

use pilothouse_proto::guest::v1::Report;

use crate::session_protocol::HookReport;

/// The conversation that hooks last told of. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conversations(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Id of the conversation; empty: none is known.
    main: String,
    /// Whether its begin was told; else it is the first of which anything was.
    begun: bool,
    /// Word of what was last passed on.
    last: String,
}

impl Conversations {
    /// Takes what a hook says; None: it is no news of the agent.
    #[must_use]
    pub(crate) fn take(&self, hook: HookReport) -> Option<Report> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let HookReport { conversation, begins, of_known, of_main, repeats, state: word, kind, text, event, until } =
            hook;
        if begins {
            (state.main, state.begun) = (conversation.clone(), true);
        }
        if state.main.is_empty() && word == "working" {
            state.main.clone_from(&conversation);
        }
        let known = state.main == conversation && state.begun;
        let other = !state.main.is_empty() && state.main != conversation;
        if (of_known && !known) || (of_main && other) || (repeats && (other || state.last == word)) {
            return None;
        }
        state.last.clone_from(&word);
        Some(Report { state: word, kind, text, event, until, conversation: state.main.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(conversation: &str, state: &str) -> HookReport {
        HookReport { conversation: conversation.into(), state: state.into(), ..HookReport::default() }
    }

    fn begins(conversation: &str) -> HookReport {
        HookReport { begins: true, ..hook(conversation, "idle") }
    }

    #[test]
    fn a_turn_that_finds_a_title_is_none_of_the_agents() {
        let known = |conversation: &str| HookReport { of_known: true, ..hook(conversation, "idle") };
        let all = Conversations::default();
        assert_eq!(all.take(known("a")), None, "nobody said that it begins: its hooks are not run");
        assert!(all.take(hook("a", "working")).is_some());
        assert_eq!(all.take(known("a")), None);
        assert!(all.take(begins("a")).is_some() && all.take(known("a")).is_some());
        assert_eq!(all.take(known("title")), None);
        assert!(all.take(begins("b")).is_some() && all.take(known("a")).is_none(), "after /clear");
    }

    #[test]
    fn a_subagent_that_rests_does_not_end_the_turn() {
        let rests = |conversation: &str| HookReport { of_main: true, ..hook(conversation, "idle") };
        let all = Conversations::default();
        assert!(all.take(rests("x")).is_some(), "nothing is known yet");
        assert!(all.take(hook("a", "working")).is_some() && all.take(hook("sub", "blocked")).is_some());
        assert_eq!(all.take(rests("sub")), None);
        assert!(all.take(rests("a")).is_some());
    }

    #[test]
    fn the_conversation_of_the_agent_is_told_with_all_that_is_said() {
        let all = Conversations::default();
        let told = |hook: HookReport| all.take(hook).unwrap().conversation;
        assert_eq!(told(begins("a")), "a");
        assert_eq!(told(hook("sub", "blocked")), "a", "a subagent has one of its own");
        assert_eq!(told(begins("b")), "b", "after /clear");
    }

    #[test]
    fn a_reminder_is_no_news() {
        let reminds = || HookReport { repeats: true, ..hook("a", "idle") };
        let all = Conversations::default();
        assert!(all.take(hook("a", "working")).is_some());
        assert!(all.take(reminds()).is_some(), "nothing else told of Esc");
        assert_eq!(all.take(reminds()), None);
    }
}
