//! All sessions of a host: taken over when hostd starts, listed, created, ended with it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use hostd_core::{Input, Lifecycle, capacity::Room, session::step};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Board, FleetError, Order, SessionView, copies, create, fork, layers, message::Message, now, pool, refresh,
    resolve::resolve, start::identity, suspend,
};
use crate::{
    diff::Diffs,
    environments::Environments,
    forge::Forge,
    gateway::{Gateway, Refused},
    guest::last_sync,
    room::Rooms,
    store::{Record, Store, StoreError},
    terminals::Terminal,
    vm::{Port, Vmm},
};

pub(super) use super::{
    commands::{Busy, LINK_WAIT, begins, settled},
    handle::{Handle, Host, over},
};

/// New ids that are tried where a slug is taken.
const SLUG_TRIES: usize = 5;
/// For all running sessions to be put to disk when hostd ends. With what comes after it, powering off and the last calls, it
/// is less than the 90 s that systemd gives a service to stop.
const STOP: Duration = Duration::from_secs(60);
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

impl Fleet {
    /// Takes over what the store knows: no VM of an earlier hostd is left when this returns, and every session stands where
    /// the core says.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn open(parts: Parts, records: Vec<Record>, epoch: String) -> Result<Arc<Self>, StoreError> {
        let host = Host::new(parts, epoch);
        fork::sweep(&host.parts.data, &records).await;
        stream::iter(&records).for_each_concurrent(LEFTOVERS, |record| end_leftover(&host, record)).await;
        pool::sweep(&host).await;
        host.parts.vmm.stand_by(&[]).await;
        copies::sweep(&host).await;
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

    /// Destinations that the session of this id was refused since hostd began, the last one first.
    #[must_use]
    pub fn refused(&self, id: &str) -> Vec<Refused> {
        self.host().parts.gateway.refused(id)
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

    /// Puts every running session to disk, for the next hostd to resume; what is not there within `STOP` is powered off. Ends
    /// all supervisors and copies; no VM is left when this returns. Nothing is created any more.
    pub async fn stop(&self) {
        let until = Instant::now() + STOP;
        self.refresh.cancel();
        self.host.closing.cancel();
        self.host.pool.close().await;
        self.host.copies.close().await;
        let handles: Vec<_> = self.host.handles().values().cloned().collect();
        stream::iter(handles)
            .for_each_concurrent(None, |handle| async move {
                // A supervisor that has ended by itself needs no telling.
                let _ = handle.messages.send(Message::Stop { until }).await;
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
}

async fn end_leftover(host: &Host, record: &Record) {
    let directory: &Path = &host.directory(&record.session.id);
    // Its agent may be at work: what that has written is put on the disk first. A snapshot that is whole is of its own moment.
    if record.session.lifecycle == Lifecycle::Running
        && let Ok(link) = host.parts.vmm.connect_leftover(directory, Port::Link).await
    {
        let identity = identity(&record.session, record.session.generation);
        match last_sync(link, &identity).await {
            Ok(()) => {
                tracing::info!(slug = record.session.slug, "the guest of the VM that an earlier hostd left has synced")
            }
            Err(error) => {
                tracing::warn!(slug = record.session.slug, error, "the guest of a VM that was left does not sync")
            }
        }
    }
    match host.parts.vmm.end_leftover(directory).await {
        Ok(false) => {}
        Ok(true) => tracing::info!(slug = record.session.slug, "ended the VM that an earlier hostd left"),
        Err(error) => tracing::error!(slug = record.session.slug, %error, "its VM may still run"),
    }
}
