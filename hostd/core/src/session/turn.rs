//! The end of an agent's turn. An agent that has ended its turn waits, without a `session wait`, for what happens to its pull
//! request: the answer is worked out as for a wait by command, and is typed into its terminal and submitted.
//!
//! Nothing of this wait is stored but the answer that is due: an agent that works again has left it.

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Activity, Delivered, Fate, Lifecycle, Message, Session, WaitFor,
    wait::{Answer, Observation},
};
use crate::pulls::Verdict;

/// Which results of checks and reviews are typed into the agent's terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TypedEvents {
    /// None is typed.
    Never,
    /// Those that leave the agent something to do are typed when it has ended its turn: failed checks, and reviews that say more
    /// than yes.
    #[default]
    AtTurnsEnd,
    /// All are typed: when the agent has ended its turn, or at once where it never says that it has.
    All,
}

impl<'de> Deserialize<'de> for TypedEvents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        enum Word {
            Never,
            AtTurnsEnd,
            All,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Kept {
            /// Of a record of before there were more than two.
            Flag(bool),
            Word(Word),
        }
        Ok(match Kept::deserialize(deserializer)? {
            Kept::Word(Word::Never) => Self::Never,
            Kept::Flag(false) | Kept::Word(Word::AtTurnsEnd) => Self::AtTurnsEnd,
            Kept::Flag(true) | Kept::Word(Word::All) => Self::All,
        })
    }
}

impl Session {
    /// Whether the agent's program is there and has said that it has ended its turn. One that waits by command has not.
    #[must_use]
    pub fn ended_turn(&self) -> bool {
        let ended = matches!(self.activity, Activity::Idle | Activity::Done);
        ended && self.exited.is_none() && self.wait.is_none()
    }
}

/// The session's pull request was read, and its agent does not wait by command. `was_open`: the pull request was, when it was last
/// read.
pub(super) fn observed(s: &mut Session, seen: Option<&Observation>, was_open: bool) {
    if s.ended_turn() {
        s.answer = seen.and_then(|seen| news(seen, &s.delivered_of(seen.pull.number), s.typed_events));
        if was_open {
            end_with_pull(s, seen);
        }
    } else if s.typed_events == TypedEvents::All
        && !s.tells_turns
        && let Some(seen) = seen
    {
        type_at_once(s, seen);
    }
}

/// What the agent is to be told of its pull request next; None: nothing, or it was told.
fn news(seen: &Observation, delivered: &Delivered, typed: TypedEvents) -> Option<Answer> {
    let reviews = || seen.reviews.iter().filter(|review| review.id > delivered.review);
    match typed {
        TypedEvents::Never => None,
        TypedEvents::AtTurnsEnd if reviews().any(|review| review.verdict != Verdict::Approve || review.has_words()) => {
            seen.answers(WaitFor::Review, delivered)
        }
        TypedEvents::AtTurnsEnd if seen.pull.fate == Fate::Open => seen.bad_news(delivered),
        TypedEvents::AtTurnsEnd => None,
        TypedEvents::All => {
            let checks = seen.answers(WaitFor::Checks, delivered);
            let checks = checks.filter(|_| seen.pull.total > 0 && !seen.checks_delivered(delivered));
            checks.or_else(|| {
                let over = seen.pull.fate != Fate::Open && !delivered.over;
                if over || reviews().next().is_some() { seen.answers(WaitFor::Review, delivered) } else { None }
            })
        }
    }
}

/// An agent whose turn was over when its pull request was merged is done.
fn end_with_pull(s: &mut Session, seen: Option<&Observation>) {
    let merged = seen.is_some_and(|seen| seen.pull.fate == Fate::Merged);
    if merged && s.answer.is_none() && s.activity == Activity::Idle {
        let text = std::mem::take(&mut s.text);
        s.set_activity(Activity::Done, text);
    }
}

/// Puts all that is new about the pull request into the inbox of an agent that never says when its turn ends.
fn type_at_once(s: &mut Session, seen: &Observation) {
    while s.exited.is_none() && s.inbox.len() < Session::INBOX {
        let Some(answer) = news(seen, &s.delivered_of(seen.pull.number), TypedEvents::All) else { return };
        post(s, &answer);
    }
}

/// Puts the answer that is due to an agent that has ended its turn into its inbox, as soon as it would be typed at once: a message
/// of a person goes before, and begins another turn.
pub(super) fn type_answer(s: &mut Session) {
    let free = s.lifecycle == Lifecycle::Running && !s.typing && !s.unread && !s.forking && s.inbox.is_empty();
    if free
        && s.ended_turn()
        && let Some(answer) = s.answer.take()
    {
        post(s, &answer);
    }
}

fn post(s: &mut Session, answer: &Answer) {
    s.remember(answer);
    s.post(Message { of_forge: true, ..Message::line(answer.in_words()) });
}
