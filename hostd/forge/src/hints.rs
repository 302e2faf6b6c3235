//! Hints as their readers take them: each once.

use std::collections::{HashSet, VecDeque};

use tokio::sync::broadcast::{Receiver, error::RecvError};

/// Most ids that a reader remembers. What comes again after so many others is read again, which is harmless.
const SEEN: usize = 1024;

/// A hint that something may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Id of the news: the same however often it comes, and [`Hints`] gives it once. Foreign.
    pub id: String,
    /// Name of the repository in which something may have changed.
    pub repository: String,
    /// What may have changed.
    pub about: About,
    /// Ids of the sessions that the hint may concern, as of now: what a session's pull request turns into later is told by a
    /// hint of its own. None: all sessions that work on the repository.
    pub sessions: Option<Vec<String>>,
}

/// What may have changed in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The pull request of this number: revisions, reviews, state.
    Pull(u64),
    /// The checks of the commit with this id.
    Checks(String),
    /// The repository itself: it is new, or has other rules.
    Repository,
}

/// What a reader of hints is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// What this hint is about may have changed.
    Hint(Hint),
    /// Hints were missed: everything may have changed.
    Missed,
}

impl Heard {
    /// The hint; None: hints were missed.
    #[must_use]
    pub fn hint(self) -> Option<Hint> {
        match self {
            Self::Hint(hint) => Some(hint),
            Self::Missed => None,
        }
    }
}

/// A forge's hints, of which those that come twice are left out.
#[derive(Debug)]
pub struct Hints {
    receiver: Receiver<Hint>,
    seen: Seen,
}

impl Hints {
    /// Hints that this receiver gets, each once.
    #[must_use]
    pub fn new(receiver: Receiver<Hint>) -> Self {
        Self { receiver, seen: Seen::default() }
    }

    /// The next news; None: there will be none any more. Cancel safe.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            match self.receiver.recv().await {
                Ok(hint) if self.seen.add(&hint.id) => return Some(Heard::Hint(hint)),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Some(Heard::Missed),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// The last [`SEEN`] ids. Hashed: whatever is sent to a web hook takes no more room.
#[derive(Debug, Default)]
struct Seen {
    all: HashSet<blake3::Hash>,
    /// Hashes of the ids, oldest first.
    order: VecDeque<blake3::Hash>,
}

impl Seen {
    /// Remembers an id; returns whether it is new.
    fn add(&mut self, id: &str) -> bool {
        let id = blake3::hash(id.as_bytes());
        if !self.all.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::sync::broadcast;

    use super::*;

    fn hint(id: &str) -> Hint {
        Hint { id: id.into(), repository: "widgets".into(), about: About::Pull(1), sessions: None }
    }

    fn heard(hints: &mut Hints) -> Vec<Option<String>> {
        std::iter::from_fn(|| hints.next().now_or_never().flatten()).map(|it| it.hint().map(|hint| hint.id)).collect()
    }

    #[test]
    fn the_same_hint_is_heard_once_and_others_in_their_order() {
        let (sender, receiver) = broadcast::channel(16);
        let mut hints = Hints::new(receiver);
        for id in ["b", "a", "b", "a", "c", "b"] {
            sender.send(hint(id)).unwrap();
        }
        assert_eq!(heard(&mut hints), ["b", "a", "c"].map(|id| Some(id.to_owned())));
        sender.send(hint("a")).unwrap();
        assert!(heard(&mut hints).is_empty(), "however late");
        drop(sender);
        assert_eq!(hints.next().now_or_never(), Some(None));
    }

    #[test]
    fn who_lags_is_told_so_and_still_knows_what_was_before() {
        let (sender, receiver) = broadcast::channel(2);
        let mut hints = Hints::new(receiver);
        sender.send(hint("a")).unwrap();
        assert_eq!(heard(&mut hints), [Some("a".to_owned())]);
        for id in ["b", "c", "a", "d"] {
            sender.send(hint(id)).unwrap();
        }
        assert_eq!(heard(&mut hints), [None, Some("d".to_owned())]);
        sender.send(hint("b")).unwrap();
        assert_eq!(heard(&mut hints), [Some("b".to_owned())], "what was missed was not heard");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut seen = Seen::default();
        for n in 0..3 * SEEN {
            assert!(seen.add(&n.to_string()));
            assert!(seen.all.len() <= SEEN && seen.order.len() == seen.all.len());
        }
        assert!(!seen.add(&(2 * SEEN).to_string()) && seen.add("0"));
    }
}
