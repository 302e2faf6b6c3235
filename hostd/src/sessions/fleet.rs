use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use hostd_core::{Input, Lifecycle, Session, UnixMillis, attention_by_minute, capacity::Room, session::step, text};
use pilothouse_proto::guest::v1::guest_client::GuestClient;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{
    Board, FleetError, Order, SessionView, create, fork, host, layers, now,
    pool::{self, Pool},
    refresh,
    resolve::resolve,
    running::Live,
    shelf::Shelf,
    supervisor::{Message, Supervisor},
    suspend, waits,
};
use crate::{
    diff::Diffs,
    environments::Environments,
    forge::Forge,
    gateway::Gateway,
    room::Rooms,
    store::{Owed, Record, Store, StoreError},
    terminals::Terminal,
    vm::{MemoryUse, Vmm},
};

/// Messages that may wait for one supervisor.
const QUEUE: usize = 64;
/// New ids that are tried where a slug is taken.
const SLUG_TRIES: usize = 5;
/// How long a call waits for a link that is down.
pub(super) const LINK_WAIT: Duration = Duration::from_secs(10);
/// Leftover VMs that are ended at a time.
const LEFTOVERS: usize = 8;

/// What a fleet is made of.
pub struct Parts {
    /// The data folder.
    pub data: PathBuf,
    /// Where sessions are kept.
    pub store: Store,
    /// What starts their VMs.
    pub vmm: Arc<dyn Vmm>,
    /// Their way out.
    pub gateway: Arc<Gateway>,
    /// What they are made from.
    pub environments: Arc<Environments>,
    /// Where their repositories and pull requests are.
    pub forge: Arc<dyn Forge>,
    /// What shows their changes.
    pub diffs: Diffs,
    /// Where they, and all else that runs here, have their room from.
    pub rooms: Rooms,
}

/// All sessions of this host.
pub struct Fleet {
    pub(super) host: Arc<Host>,
    pub(super) refresh: CancellationToken,
}

/// What all supervisors share.
pub(super) struct Host {
    pub(super) parts: Parts,
    pub(super) board: Arc<Board>,
    /// Places for cold starts: a booting guest takes a processor.
    pub(super) places: Arc<Semaphore>,
    /// Turns for merging layers, which is all reading and writing.
    pub(super) merges: Semaphore,
    /// Turns for reading sessions' pull requests.
    pub(super) readings: Semaphore,
    pub(super) started_at: UnixMillis,
    pub(super) shelf: Shelf,
    pub(super) pool: Pool,
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
    /// Changes when the forge may have news for it.
    pub(super) forge_news: watch::Sender<()>,
    /// Why it was suspended while at work, until it runs again.
    pub(super) relieved: watch::Sender<Option<String>>,
    /// Cancelled when its supervisor has ended.
    pub(super) gone: CancellationToken,
}

impl Host {
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
            session.notice = super::suspend::STALLED.into();
        }
        if let Some(why) = self.relieved.borrow().as_ref().filter(|_| session.wanted && session.notice.is_empty()) {
            let waits = if session.waiting.is_empty() { "it comes back when there is room" } else { &session.waiting };
            session.waiting = format!("{why}; {waits}");
        }
        let attention = attention_by_minute(&session, now());
        SessionView { session, attention, phases, memory, viewers, suspended, resumed_in }
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

impl Fleet {
    /// Takes over what the store knows: no VM of an earlier hostd is left when this returns, and every session stands where
    /// the core says.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn open(parts: Parts, records: Vec<Record>, epoch: String) -> Result<Arc<Self>, StoreError> {
        let cpus = host::cpus().max(1) as usize;
        let (places, merges) = (Arc::new(Semaphore::new(cpus)), Semaphore::new(cpus));
        let board = Board::new(epoch);
        let host = Arc::new(Host {
            parts,
            board,
            places,
            merges,
            readings: Semaphore::new(waits::READINGS),
            started_at: now(),
            shelf: Shelf::default(),
            pool: Pool::default(),
            closing: CancellationToken::new(),
            handles: Mutex::default(),
        });
        let counted = Arc::downgrade(&host);
        host.parts.rooms.count(move || counted.upgrade().map_or(0, |host| host.memory_used()));
        fork::sweep(&host.parts.data, &records).await;
        stream::iter(&records).for_each_concurrent(LEFTOVERS, |record| end_leftover(&host, record)).await;
        pool::sweep(&host).await;
        layers::sweep(&host, &records).await;
        for mut record in records {
            let mut input = Input::HostRestarted;
            if let Some(machine) = suspend::recover(&host, &record).await {
                tracing::info!(slug = record.session.slug, "its suspend was finished");
                (record.machine, input) = (machine, Input::Suspended);
            }
            let stepped = step(&record.session, input, now());
            let (session, effects) = stepped.unwrap_or_else(|_| (record.session.clone(), vec![]));
            record.session = session;
            let owed = host.parts.store.converge(&record, effects).await?;
            host.spawn(record, owed);
        }
        let refresh = refresh::start(&host);
        tokio::spawn(pool::keep(host.clone()));
        suspend::settle_early(&host);
        Ok(Arc::new(Self { host, refresh }))
    }

    /// What it shows.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.host.board
    }

    /// The environments.
    #[must_use]
    pub fn environments(&self) -> &Arc<Environments> {
        &self.host.parts.environments
    }

    /// The forge.
    #[must_use]
    pub fn forge(&self) -> &Arc<dyn Forge> {
        &self.host.parts.forge
    }

    /// Brings onto the board what changes without anybody saying so: memory, disk, viewers.
    pub async fn look(&self) {
        refresh::look(&self.host).await;
    }

    /// What this host has left now, beside its sessions and the starts under way. Reads a few files of /proc.
    #[must_use]
    pub fn room(&self) -> Room {
        self.host.room()
    }

    /// Where its VMs have their room from.
    #[must_use]
    pub fn rooms(&self) -> &Rooms {
        &self.host.parts.rooms
    }

    /// All sessions, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<SessionView> {
        self.host.handles().values().map(|handle| handle.view()).collect()
    }

    /// Dispatches a new session.
    ///
    /// # Errors
    /// Where the order is not allowed, its environment is not ready, or the host is not; nothing is kept then.
    pub async fn create(&self, order: Order) -> Result<SessionView, FleetError> {
        if self.refresh.is_cancelled() {
            return Err(FleetError::Stopping);
        }
        let _shelf = self.host.shelf.hold().await;
        let build = self.host.parts.environments.ready(&order.environment)?;
        let vmm = self.host.parts.vmm.clone();
        let info = tokio::task::spawn_blocking(move || vmm.info()).await.map_err(|_| FleetError::Stopping)?;
        create::check_host(&info, &build, &self.host.room())?;
        for _ in 0..SLUG_TRIES {
            let (record, effects) = create::session(order.clone(), build.clone())?;
            match self.host.parts.store.add(&record, effects).await {
                Ok(owed) => {
                    self.host.pool.dispatched(&order.environment);
                    return Ok(self.host.spawn(record, owed).view());
                }
                Err(StoreError::SlugTaken) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::SlugTaken.into())
    }

    /// One session.
    ///
    /// # Errors
    /// [`FleetError::NotFound`], [`FleetError::Ambiguous`].
    pub fn get(&self, asked: &str) -> Result<SessionView, FleetError> {
        Ok(self.handle(asked)?.view())
    }

    /// Its terminal.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    pub fn terminal(&self, asked: &str) -> Result<Terminal, FleetError> {
        Ok(self.handle(asked)?.terminal.clone())
    }

    /// Its folder.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    pub fn directory(&self, asked: &str) -> Result<PathBuf, FleetError> {
        Ok(self.host.directory(&self.handle(asked)?.id))
    }

    /// Boots it again from its disk.
    ///
    /// # Errors
    /// As [`Fleet::get`], and [`FleetError::Denied`].
    pub async fn restart(&self, asked: &str) -> Result<SessionView, FleetError> {
        self.command(&*self.handle(asked)?, Input::Restart).await
    }

    /// Puts it to disk; returns when it is there.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::Denied`] where its state does not allow it, and [`FleetError::NotSuspended`] where it
    /// went wrong, which leaves it as it was.
    pub async fn suspend(&self, asked: &str) -> Result<SessionView, FleetError> {
        let handle = self.handle(asked)?;
        self.command(&handle, Input::Suspend).await?;
        let session = settled(&handle, |session| session.lifecycle == Lifecycle::Suspending).await?;
        match session.not_suspended() {
            None => Ok(handle.view()),
            Some(why) => Err(FleetError::NotSuspended(why)),
        }
    }

    /// Brings it back from disk; returns when it runs, or when it is known to wait for room, which its reason says.
    ///
    /// # Errors
    /// As [`Fleet::get`], and [`FleetError::Denied`] where it cannot be resumed, which leaves its snapshot as it was.
    pub async fn resume(&self, asked: &str) -> Result<SessionView, FleetError> {
        let handle = self.handle(asked)?;
        self.command(&handle, Input::Resume).await?;
        let session = settled(&handle, Session::moves).await?;
        match session.lifecycle {
            Lifecycle::Suspended if !session.wanted => {
                Err(FleetError::Denied(hostd_core::attention(&session, now()).reason))
            }
            _ => Ok(handle.view()),
        }
    }

    /// Resumes it if it is suspended, without waiting for it: somebody wants to use it.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    pub async fn wake(&self, asked: &str) -> Result<(), FleetError> {
        let handle = self.handle(asked)?;
        let asleep = matches!(handle.record.borrow().session.lifecycle, Lifecycle::Suspended | Lifecycle::Suspending);
        if asleep { self.command(&handle, Input::Resume).await.map(drop) } else { Ok(()) }
    }

    /// Types a message to its agent, now or when it runs.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::Denied`], and [`FleetError::Invalid`] for a message that is empty or too long.
    pub async fn send(&self, asked: &str, message: &str) -> Result<(), FleetError> {
        if message.len() > Session::MESSAGE {
            let help = "put the rest into a file of the session";
            return Err(FleetError::Invalid(format!("the message is longer than {} bytes; {help}", Session::MESSAGE)));
        }
        let text = text::clean(message.trim_end(), Session::MESSAGE);
        if text.is_empty() {
            return Err(FleetError::Invalid("the message is empty".into()));
        }
        self.command(&*self.handle(asked)?, Input::Send { text }).await.map(drop)
    }

    /// Ends it and forgets it; returns its id when all of it is gone.
    ///
    /// # Errors
    /// As [`Fleet::get`], and [`FleetError::NotRemoved`].
    pub async fn delete(&self, asked: &str) -> Result<String, FleetError> {
        let handle = self.handle(asked)?;
        match self.command(&handle, Input::Delete).await {
            // Somebody else's deletion was quicker.
            Err(FleetError::Stopping) if !self.refresh.is_cancelled() => Ok(handle.id.clone()),
            result => result.map(|_| handle.id.clone()),
        }
    }

    /// A client of its guest, which is resumed for it. While [`Busy`] is held the session is not suspended for idleness.
    ///
    /// # Errors
    /// As [`Fleet::resume`], and [`FleetError::NotRunning`].
    pub async fn guest(&self, asked: &str) -> Result<(GuestClient<Channel>, Busy), FleetError> {
        let handle = self.handle(asked)?;
        let busy = Busy::new(handle.clone());
        let asleep = handle.record.borrow().session.lifecycle == Lifecycle::Suspended;
        if asleep || handle.record.borrow().session.moves() {
            self.resume(&handle.id).await?;
        }
        let live = handle.live.borrow().clone();
        let Some(live) = live else {
            let session = handle.record.borrow().session.clone();
            let word = session.lifecycle.word();
            let help = match word {
                "suspended" => &hostd_core::attention(&session, now()).reason,
                "stopped" | "crashed" => "restart it first",
                _ => "wait until it runs",
            };
            return Err(FleetError::NotRunning(format!("the session is {word}; {help}")));
        };
        let hello = live.link.client(LINK_WAIT).await.map_err(|error| FleetError::NotRunning(error.to_string()))?;
        Ok((hello.client.clone(), busy))
    }

    /// What its guest wrote to the serial console lately, where a VM runs.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    pub async fn serial(&self, asked: &str) -> Result<Option<Vec<u8>>, FleetError> {
        let live = self.handle(asked)?.live.borrow().clone();
        Ok(match live {
            Some(live) => Some(live.vm.serial().await),
            None => None,
        })
    }

    /// Powers off every VM and ends all supervisors; no VM is left when this returns. Nothing is created any more.
    pub async fn stop(&self) {
        self.refresh.cancel();
        self.host.closing.cancel();
        self.host.pool.close().await;
        let handles: Vec<_> = self.host.handles().values().cloned().collect();
        stream::iter(handles)
            .for_each_concurrent(None, |handle| async move {
                // A supervisor that has ended by itself needs no telling.
                let _ = handle.messages.send(Message::Stop).await;
                handle.gone.cancelled().await;
            })
            .await;
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub(super) fn handle(&self, asked: &str) -> Result<Arc<Handle>, FleetError> {
        let handles = self.host.handles();
        let id = resolve(asked, handles.values().map(|h| (h.id.as_str(), h.slug.as_str())))?;
        handles.get(id).cloned().ok_or_else(|| FleetError::NotFound(asked.into()))
    }

    async fn command(&self, handle: &Handle, input: Input) -> Result<SessionView, FleetError> {
        let (answer, answered) = oneshot::channel();
        handle.messages.send(Message::Command { input, answer }).await.map_err(|_| FleetError::Stopping)?;
        answered.await.map_err(|_| FleetError::Stopping)??;
        Ok(handle.view())
    }
}

/// The session as it was committed first when it was past what `moving` says.
pub(super) async fn settled(handle: &Handle, moving: impl Fn(&Session) -> bool) -> Result<Session, FleetError> {
    let mut record = handle.record.subscribe();
    let done = record.wait_for(|record| !moving(&record.session));
    tokio::select! {
        done = done => done.map(|record| record.session.clone()).map_err(|_| FleetError::Stopping),
        () = handle.gone.cancelled() => Err(FleetError::Stopping),
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

async fn end_leftover(host: &Host, record: &Record) {
    let directory: &Path = &host.directory(&record.session.id);
    match host.parts.vmm.end_leftover(directory).await {
        Ok(false) => {}
        Ok(true) => tracing::info!(slug = record.session.slug, "ended the VM that an earlier hostd left"),
        Err(error) => tracing::error!(slug = record.session.slug, %error, "its VM may still run"),
    }
}
