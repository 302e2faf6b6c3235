//! `session wait`: a command that sleeps until the host answers it. It needs no connection for that, and may be suspended
//! with its VM meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilothouse_proto::guest::v1::{Wait, event};
use tokio::sync::{oneshot, watch};

use crate::events::Events;

/// The wait under way, if any. Clones share it.
#[derive(Clone, Debug)]
pub struct Waits {
    events: Events,
    state: Arc<Mutex<State>>,
    /// Told of each wait that begins.
    begun: watch::Sender<()>,
}

/// What an agent waits for that a message of a person answers.
const MESSAGE: &str = "message";

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: Option<Open>,
    /// Id of the last wait that got its answer from the host.
    answered: u64,
}

/// A wait under way.
#[derive(Debug)]
struct Open {
    id: u64,
    what: String,
    answer: oneshot::Sender<String>,
}

impl Waits {
    /// Creates a record without waits; the host is told of them by these events.
    #[must_use]
    pub fn new(events: Events) -> Self {
        Self { events, state: Arc::default(), begun: watch::Sender::new(()) }
    }

    /// Begins a wait for `what`, and tells the host: of the pull request of this number (0: the newest), for so many seconds
    /// (0: for ever).
    ///
    /// # Errors
    /// A text for people, where another wait is under way.
    pub fn begin(&self, what: String, pull: u64, timeout_seconds: u64) -> Result<Waiting, String> {
        let (id, answer) = {
            let mut state = self.lock();
            if state.open.is_some() {
                return Err("another `session wait` is under way in this session; end it first".into());
            }
            state.last += 1;
            let (sender, answer) = oneshot::channel();
            state.open = Some(Open { id: state.last, what: what.clone(), answer: sender });
            (state.last, answer)
        };
        self.events.push(event::Event::Wait(Wait { id, what, timeout_seconds, pull }));
        self.begun.send_replace(());
        Ok(Waiting { waits: self.clone(), id, answer })
    }

    /// Gives the JSON of an answer to whoever sleeps for it. False: nobody does, nor did. A repeat, from a host that did not
    /// hear that the answer arrived, changes nothing.
    #[must_use]
    pub fn answer(&self, id: u64, json: String) -> bool {
        let mut state = self.lock();
        let open = state.open.take_if(|open| open.id == id);
        if open.is_some_and(|open| open.answer.send(json).is_ok()) {
            state.answered = id;
        }
        state.answered == id
    }

    /// Changes with each wait that begins.
    #[must_use]
    pub fn begun(&self) -> watch::Receiver<()> {
        self.begun.subscribe()
    }

    /// Whether somebody sleeps until a message comes.
    #[must_use]
    pub fn wants_message(&self) -> bool {
        self.lock().open.as_ref().is_some_and(|open| open.what == MESSAGE)
    }

    /// Gives whoever sleeps for a message this one, which the guest has. False: nobody does any more. For the host the wait has
    /// ended without an answer of its own.
    #[must_use]
    pub fn give(&self, text: &str) -> bool {
        let Some(Open { id, answer, .. }) = self.lock().open.take_if(|open| open.what == MESSAGE) else { return false };
        let given = answer.send(serde_json::json!({ "answer": MESSAGE, "text": text }).to_string()).is_ok();
        self.events.push(event::Event::WaitWithdrawn(id));
        given
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait under way; dropped before its answer it is withdrawn.
#[derive(Debug)]
pub struct Waiting {
    waits: Waits,
    id: u64,
    answer: oneshot::Receiver<String>,
}

impl Waiting {
    /// Sleeps until the answer is there. None: it never will be.
    pub async fn answer(&mut self) -> Option<String> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let open = self.waits.lock().open.take_if(|open| open.id == self.id);
        if open.is_some() {
            self.waits.events.push(event::Event::WaitWithdrawn(self.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_reaches_whoever_waits_and_a_repeat_nobody() {
        let waits = Waits::new(Events::default());
        let mut waiting = waits.begin("checks".into(), 7, 0).unwrap();
        assert!(waits.begin("review".into(), 0, 0).unwrap_err().contains("under way"));
        assert!(!waits.answer(2, String::new()));
        assert!(waits.answer(1, "{}".into()));
        assert!(waits.answer(1, "[]".into()), "a host that did not hear asks again");
        assert_eq!(waiting.answer().await, Some("{}".into()));
        drop(waiting);
        let wait = Wait { id: 1, what: "checks".into(), timeout_seconds: 0, pull: 7 };
        assert_eq!(waits.events.next(0).unwrap().event, Some(event::Event::Wait(wait)));
        assert_eq!(waits.events.next(1), None);
    }

    #[tokio::test]
    async fn a_message_that_the_guest_has_answers_the_wait_for_one_and_ends_it_for_the_host() {
        let waits = Waits::new(Events::default());
        let other = waits.begin("checks".into(), 0, 0).unwrap();
        assert!(!waits.wants_message() && !waits.give("no"));
        drop(other);
        let mut waiting = waits.begin(MESSAGE.into(), 0, 0).unwrap();
        assert!(waits.wants_message() && waits.give("a \"word\""));
        let answer: serde_json::Value = serde_json::from_str(&waiting.answer().await.unwrap()).unwrap();
        assert_eq!(answer, serde_json::json!({"answer": "message", "text": "a \"word\""}));
        assert!(!waits.answer(2, String::new()), "the host's own answer is still to be given");
        assert_eq!(waits.events.next(3).unwrap().event, Some(event::Event::WaitWithdrawn(2)));
        drop(waiting);
        assert_eq!(waits.events.next(4), None);
    }

    #[test]
    fn who_goes_away_withdraws() {
        let waits = Waits::new(Events::default());
        drop(waits.begin("checks".into(), 0, 0).unwrap());
        assert_eq!(waits.events.next(1).unwrap().event, Some(event::Event::WaitWithdrawn(1)));
        assert!(!waits.answer(1, String::new()));
        assert_eq!(waits.begin("checks".into(), 0, 0).unwrap().id, 2);
    }
}
