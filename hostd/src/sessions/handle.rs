//! What all supervisors share, and the outside of each.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hostd_core::{Lifecycle, Session, UnixMillis, attention_by_minute};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Board, Parts, SessionView, copies::Copies, host, message::Message, now, pool::Pool, running::Live, shelf::Shelf,
    supervisor::Supervisor, suspend, usage::Usage, waits,
};
use crate::{
    store::{Owed, Record},
    terminals::Terminal,
    vm::MemoryUse,
};

/// Messages that may wait for one supervisor.
const QUEUE: usize = 64;

/// Suspends at a time when hostd ends, at the least: one waits for its guest while another writes.
const SUSPENDS: usize = 4;

/// What all supervisors share.
pub(super) struct Host {
    pub(super) parts: Parts,
    pub(super) board: Arc<Board>,
    /// Places for cold starts: a booting guest takes a processor.
    pub(super) places: Arc<Semaphore>,
    /// Turns for merging layers, which is all reading and writing.
    pub(super) merges: Semaphore,
    /// Turns for putting sessions to disk when hostd ends, which is all packing and writing.
    pub(super) suspends: Semaphore,
    /// Turns for reading sessions' pull requests.
    pub(super) readings: Semaphore,
    pub(super) started_at: UnixMillis,
    pub(super) shelf: Shelf,
    pub(super) pool: Pool,
    pub(super) copies: Copies,
    /// hostd ends.
    pub(super) closing: CancellationToken,
    handles: Mutex<BTreeMap<String, Arc<Handle>>>,
}

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

impl Host {
    /// Without a session. Whatever else runs on this host is told what its VMs use.
    pub(super) fn new(parts: Parts, epoch: String) -> Arc<Self> {
        let cpus = host::cpus().max(1) as usize;
        let host = Arc::new(Self {
            parts,
            board: Board::new(epoch),
            places: Arc::new(Semaphore::new(cpus)),
            merges: Semaphore::new(cpus),
            suspends: Semaphore::new(cpus.max(SUSPENDS)),
            readings: Semaphore::new(waits::READINGS),
            started_at: now(),
            shelf: Shelf::default(),
            pool: Pool::default(),
            copies: Copies::default(),
            closing: CancellationToken::new(),
            handles: Mutex::default(),
        });
        let counted = Arc::downgrade(&host);
        host.parts.rooms.count(move || counted.upgrade().map_or(0, |host| host.memory_used()));
        host
    }

    pub(super) fn sessions(&self) -> PathBuf {
        self.parts.data.join("sessions")
    }

    pub(super) fn directory(&self, id: &str) -> PathBuf {
        self.sessions().join(id)
    }

    pub(super) fn handles(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Handle>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn spawn(self: &Arc<Self>, record: Record, owed: Vec<Owed>) -> Arc<Handle> {
        let (messages, inbox) = mpsc::channel(QUEUE);
        let session = &record.session;
        let handle = Arc::new(Handle {
            id: session.id.clone(),
            slug: session.slug.clone(),
            messages,
            terminal: Terminal::new(&self.directory(&session.id), over(session)),
            record: watch::channel(Arc::new(record)).0,
            live: watch::channel(None).0,
            busy: watch::channel(0).0,
            usage: watch::channel(Usage::default()).0,
            forge_news: watch::channel(()).0,
            relieved: watch::channel(None).0,
            gone: CancellationToken::new(),
        });
        self.handles().insert(handle.id.clone(), handle.clone());
        self.board.session(handle.view());
        tokio::spawn(Supervisor::new(self.clone(), handle.clone(), inbox).run(owed));
        handle
    }
}

impl Handle {
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
            session.notice = suspend::STALLED.into();
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
}

/// Why nobody writes to this session's terminal; None: somebody does or will.
pub(super) fn over(session: &Session) -> Option<String> {
    match &session.lifecycle {
        Lifecycle::Stopped { cause } => Some(format!("the session is stopped: {cause}")),
        Lifecycle::Crashed { cause } => Some(format!("the session crashed: {cause}")),
        _ => None,
    }
}
