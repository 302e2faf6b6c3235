//! The sessions of a host, each by the outside of its supervisor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hostd_core::{Actor, Input, Lifecycle, Session, attention, attention_by_minute, usage::Spending};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{
    error::FleetError,
    message::{Command, Report},
    samples::Samples,
    usage::Usage,
    view::SessionView,
    vm::{
        running::{Live, STALLED},
        site::Hooks,
    },
};
use crate::{
    clock::now,
    log,
    store::{Numbered, Record},
    terminals::Terminal,
    vm::MemoryUse,
};

/// The sessions of a host by their ids. A supervisor's spawn adds to it and a supervisor's remove takes from it; all others read.
#[derive(Default)]
pub(super) struct Registry(Mutex<BTreeMap<String, Arc<Handle>>>);

/// The outside of one supervisor.
pub(super) struct Handle {
    pub(super) id: String,
    pub(super) slug: String,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) reports: mpsc::Sender<Report>,
    /// The session as last committed; as being deleted also where a full disk kept that from being committed.
    pub(super) record: watch::Sender<Arc<Record>>,
    /// The VM that runs, once its guest has shaken hands.
    pub(super) live: watch::Sender<Option<Live>>,
    pub(super) terminal: Terminal,
    /// What hooks of its agent's program said last, until it is passed on.
    pub(super) hooks: Hooks,
    /// How many use its guest.
    pub(super) busy: watch::Sender<usize>,
    /// What models' answers took for it.
    pub(super) spending: watch::Sender<Spending>,
    /// What it was last seen to use.
    pub(super) usage: watch::Sender<Usage>,
    /// What its VM took in the last minutes.
    pub(super) samples: Samples,
    /// Changes when the forge may have news for it.
    pub(super) forge_news: watch::Sender<()>,
    /// Why it was suspended while at work, until it runs again.
    pub(super) relieved: watch::Sender<Option<String>>,
    /// Why the session stands still and what to do, while what happened to it cannot be committed.
    pub(super) unwritten: watch::Sender<Option<String>>,
    /// What was done last to it, and by whom; None: its story was not read yet.
    pub(super) last_event: watch::Sender<Option<Numbered>>,
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
    /// What lines of the log about the session are said in.
    pub(super) fn span(&self) -> Span {
        log::of_session(&self.id, &self.slug)
    }

    /// The VM that runs. One that is not to be spoken to at this moment, because it is taken over or forked, is waited for.
    pub(super) async fn live_within(&self, within: Duration) -> Option<Live> {
        let (mut live, mut record) = (self.live.subscribe(), self.record.subscribe());
        let waits = async {
            tokio::select! {
                _ = live.wait_for(Option::is_some) => {}
                _ = record.wait_for(|record| record.session.lifecycle != Lifecycle::Running) => {}
            }
        };
        let _ = timeout(within, waits).await;
        self.live.borrow().clone()
    }

    /// The outside of a supervisor that takes these commands and reports, before it has begun.
    pub(super) fn new(
        record: Record,
        commands: mpsc::Sender<Command>,
        reports: mpsc::Sender<Report>,
        terminal: Terminal,
    ) -> Self {
        Self {
            id: record.session.id.clone(),
            slug: record.session.slug.clone(),
            commands,
            reports,
            terminal,
            spending: watch::channel(record.session.spending).0,
            record: watch::channel(Arc::new(record)).0,
            live: watch::channel(None).0,
            hooks: watch::channel(None).0,
            busy: watch::channel(0).0,
            usage: watch::channel(Usage::default()).0,
            samples: Samples::default(),
            forge_news: watch::channel(()).0,
            relieved: watch::channel(None).0,
            unwritten: watch::channel(None).0,
            last_event: watch::channel(None).0,
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
        let mut attention = attention_by_minute(&session, now());
        let unwritten = self.unwritten.borrow().clone();
        if let Some(why) = &unwritten {
            session.notice.clone_from(why);
            attention = attention::stands_still(why);
        }
        let repository = machine.repository.clone();
        let usage = *self.usage.borrow();
        let checkpoints = machine.checkpoints.clone();
        let stands_still = unwritten.is_some();
        let records = records(&self.terminal);
        let last_event = self.last_event.borrow().clone();
        SessionView {
            session,
            attention,
            records,
            phases,
            memory,
            viewers,
            suspended,
            repository,
            usage,
            checkpoints,
            resumed_in,
            stands_still,
            last_event,
        }
    }

    /// This happened to it, unless something else has since.
    pub(super) fn happened(&self, event: Numbered) {
        self.last_event.send_if_modified(|last| {
            let newer = last.as_ref().is_none_or(|last| last.id < event.id);
            if newer {
                *last = Some(event);
            }
            newer
        });
    }

    /// Commands it; returns when that is committed, of a deletion when all is gone.
    pub(super) async fn command(&self, actor: Actor, input: Input) -> Result<(), FleetError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Do { actor, input, answer }).await.map_err(|_| FleetError::Stopping)?;
        answered.await.map_err(|_| FleetError::Stopping)?
    }

    /// The session as it was committed first when it was past what `moving` says. One that stands still is not waited for.
    pub(super) async fn settled(&self, moving: impl Fn(&Session) -> bool) -> Result<Session, FleetError> {
        let mut record = self.record.subscribe();
        let mut unwritten = self.unwritten.subscribe();
        let done = record.wait_for(|record| !moving(&record.session));
        tokio::select! {
            biased;
            done = done => done.map(|record| record.session.clone()).map_err(|_| FleetError::Stopping),
            () = self.gone.cancelled() => Err(FleetError::Stopping),
            Ok(why) = unwritten.wait_for(Option::is_some) => Err(FleetError::StandsStill(why.clone().unwrap_or_default())),
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

/// Records of a terminal's programs but for the root's.
fn records(terminal: &Terminal) -> Vec<(String, pilothouse_terminal::status::Record)> {
    let status = terminal.status();
    let below = status.iter().filter(|(id, _)| !id.is_empty());
    below
        .map(|(id, record)| {
            let mut record = record.clone();
            status.app(id).clone_into(&mut record.app);
            (id.to_owned(), record)
        })
        .collect()
}
