//! The sessions of a host, each by the outside of its supervisor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hostd_core::{Actor, Input, Lifecycle, Session, attention_by_minute};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    error::FleetError,
    message::Message,
    usage::Usage,
    view::SessionView,
    vm::running::{Live, STALLED},
};
use crate::{clock::now, store::Record, terminals::Terminal, vm::MemoryUse};

/// The sessions of a host by their ids. A supervisor's spawn adds to it and a supervisor's remove takes from it; all others read.
#[derive(Default)]
pub(super) struct Registry(Mutex<BTreeMap<String, Arc<Handle>>>);

/// The outside of one supervisor.
pub(super) struct Handle {
    pub(super) id: String,
    pub(super) slug: String,
    pub(super) messages: mpsc::Sender<Message>,
    /// As last committed.
    pub(super) record: watch::Sender<Arc<Record>>,
    /// The VM that runs, once its guest has shaken hands.
    pub(super) live: watch::Sender<Option<Live>>,
    pub(super) terminal: Terminal,
    /// How many use its guest.
    pub(super) busy: watch::Sender<usize>,
    /// What it was last seen to use.
    pub(super) usage: watch::Sender<Usage>,
    /// Changes when the forge may have news for it.
    pub(super) forge_news: watch::Sender<()>,
    /// Why it was suspended while at work, until it runs again.
    pub(super) relieved: watch::Sender<Option<String>>,
    /// Cancelled when its supervisor has ended.
    pub(super) gone: CancellationToken,
}

impl Registry {
    /// All sessions, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Handle>> {
        self.lock().values().cloned().collect()
    }

    /// The session of this id.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Handle>> {
        self.lock().get(id).cloned()
    }

    /// What is kept of all sessions, oldest first.
    pub(super) fn records(&self) -> Vec<Arc<Record>> {
        self.lock().values().map(|handle| handle.record.borrow().clone()).collect()
    }

    /// The VMs that run, once their guests have shaken hands.
    pub(super) fn lives(&self) -> Vec<Live> {
        self.lock().values().filter_map(|handle| handle.live.borrow().clone()).collect()
    }

    /// A supervisor begins.
    pub(super) fn add(&self, handle: Arc<Handle>) {
        self.lock().insert(handle.id.clone(), handle);
    }

    /// A supervisor has removed its session.
    pub(super) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Handle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// The outside of a supervisor that reads these messages, before it has begun.
    pub(super) fn new(record: Record, messages: mpsc::Sender<Message>, terminal: Terminal) -> Self {
        Self {
            id: record.session.id.clone(),
            slug: record.session.slug.clone(),
            messages,
            terminal,
            record: watch::channel(Arc::new(record)).0,
            live: watch::channel(None).0,
            busy: watch::channel(0).0,
            usage: watch::channel(Usage::default()).0,
            forge_news: watch::channel(()).0,
            relieved: watch::channel(None).0,
            gone: CancellationToken::new(),
        }
    }

    pub(super) fn view(&self) -> SessionView {
        let record = self.record.borrow().clone();
        // In steps, so that not every page that a guest touches is news.
        let steps = |bytes: u64| bytes & !((4 << 20) - 1);
        let memory = self.live.borrow().as_ref().map(|live| live.vm.memory()).unwrap_or_default();
        let memory = MemoryUse { private: steps(memory.private), shared: steps(memory.shared) };
        let viewers = *self.terminal.viewers().borrow();
        let machine = &record.machine;
        let snapshot = machine.snapshot.as_ref();
        let suspended = snapshot.filter(|_| record.session.lifecycle == Lifecycle::Suspended).map_or(0, |s| s.bytes);
        let resumed = snapshot.is_some() && record.session.lifecycle == Lifecycle::Running;
        let resumed_in = if resumed { machine.phases.iter().map(|p| p.micros).sum::<u64>() / 1000 } else { 0 };
        let (mut session, phases) = (record.session.clone(), machine.phases.clone());
        if self.live.borrow().as_ref().is_some_and(|live| live.vm.stalled()) {
            session.notice = STALLED.into();
        }
        if let Some(why) = self.relieved.borrow().as_ref().filter(|_| session.wanted && session.notice.is_empty()) {
            let waits = if session.waiting.is_empty() { "it comes back when there is room" } else { &session.waiting };
            session.waiting = format!("{why}; {waits}");
        }
        let attention = attention_by_minute(&session, now());
        let repository = machine.repository.clone();
        let usage = *self.usage.borrow();
        SessionView { session, attention, phases, memory, viewers, suspended, repository, usage, resumed_in }
    }

    /// Commands it; returns when that is committed, of a deletion when all is gone.
    pub(super) async fn command(&self, actor: Actor, input: Input) -> Result<(), FleetError> {
        let (answer, answered) = oneshot::channel();
        self.messages.send(Message::Command { actor, input, answer }).await.map_err(|_| FleetError::Stopping)?;
        answered.await.map_err(|_| FleetError::Stopping)?
    }

    /// The session as it was committed first when it was past what `moving` says.
    pub(super) async fn settled(&self, moving: impl Fn(&Session) -> bool) -> Result<Session, FleetError> {
        let mut record = self.record.subscribe();
        let done = record.wait_for(|record| !moving(&record.session));
        tokio::select! {
            done = done => done.map(|record| record.session.clone()).map_err(|_| FleetError::Stopping),
            () = self.gone.cancelled() => Err(FleetError::Stopping),
        }
    }
}

/// Somebody uses the session's guest.
pub struct Busy(Arc<Handle>);

impl Busy {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        handle.busy.send_modify(|count| *count += 1);
        Self(handle)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.send_modify(|count| *count = count.saturating_sub(1));
    }
}
