//! All sessions of a host: taken over when hostd starts, listed, created, ended with it.

mod accounts;
mod bundle;
mod commands;
mod create;
mod diff;
mod drain;
mod figures;
mod fork;
mod rescue;
mod resolve;
mod story;
mod triage;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use hostd_core::{Actor, Input, Lifecycle, Session, capacity::Room, session::step, story::of_session, usage::Spending};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use self::resolve::resolve;
use super::{
    background::poll,
    context::{Context, Deps},
    disk::merge,
    error::FleetError,
    feed::Feed,
    message::{AtStop, Command},
    pool::{self, Pool},
    registry::{Handle, Registry},
    supervisor::{Left, Supervisors},
    usage,
    view::SessionView,
    vm::{
        checkpoint, fork as vm_fork, orphans,
        read_copy::Copies,
        suspend::{recover, whole},
    },
};
use crate::{
    admission::Kind,
    clock::now,
    gateway::Refused,
    log,
    store::{Record, StoreError},
    terminals::Terminal,
};

pub(crate) use self::figures::Figures;
pub use self::{
    accounts::Accounts,
    commands::{Hands, SendOrder},
    create::CreateSession,
    fork::ForkOrder,
    story::Follow,
    triage::Triage,
};

/// How long a call waits for a link that is down.
const LINK_WAIT: Duration = Duration::from_secs(10);
/// New ids that are tried where a slug is taken.
const SLUG_TRIES: usize = 5;
/// Leftover VMs that are ended at a time.
const LEFTOVERS: usize = 8;

/// All sessions of this host.
pub struct Fleet {
    supervisors: Supervisors,
    copies: Arc<Copies>,
    refresh: CancellationToken,
}

impl Fleet {
    /// Takes over what the store knows: every session stands where the core says. Those that ran have their VMs taken over, which
    /// goes on beside whatever is asked of the host; no other VM of an earlier hostd is left when this returns.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn open(deps: Deps, records: Vec<Record>, epoch: String) -> Result<Arc<Self>, StoreError> {
        let ctx = Context::new(deps, epoch);
        let (registry, pool) = (Arc::new(Registry::default()), Arc::new(Pool::default()));
        count(&ctx, &registry, &pool);
        let (vmm, admission, diffs) = (ctx.vmm.clone(), ctx.admission.clone(), ctx.diffs.clone());
        let (closing, room_within) = (ctx.closing.clone(), ctx.timings.copy_room);
        let copies = Copies::new(&ctx.data, vmm, admission, diffs, closing, room_within);
        let mut left = left(&ctx, &records).await;
        sweep(&ctx, &copies, &records, &left).await;
        // Nothing else is let in to the room of those that are not counted yet.
        let memory =
            |record: &Record| Some(record.session.size.memory).filter(|_| left.contains_key(&record.session.id));
        let set_aside = |record: &Record| ctx.admission.decide(Kind::Session, |_| ((), memory(record))).1;
        let mut set_aside: BTreeMap<_, _> =
            records.iter().map(|record| (record.session.id.clone(), set_aside(record))).collect();
        let build_gc = Arc::default();
        let supervisors = Supervisors { ctx, registry, pool, build_gc };
        let Supervisors { ctx, registry, pool, build_gc } = &supervisors;
        for mut record in records {
            // What was answered last may be kept, and not be known of the session.
            record.session.spending = ctx.store.spending(&record.session.id).await?;
            let memory = set_aside.remove(&record.session.id).flatten();
            let left = left.remove(&record.session.id).map(|own| Left { own, memory });
            let mut input = if left.is_some() { Input::Adopting } else { Input::HostRestarted };
            if left.is_none()
                && let Some(machine) = recover(&*ctx.vmm, &ctx.folder(&record.session.id), &record).await
            {
                let span = log::of_session(&record.session.id, &record.session.slug);
                span.in_scope(|| tracing::info!("its suspend was finished"));
                (record.machine, input) = (machine, Input::Suspended);
            }
            let at = now();
            let stepped = step(&record.session, input.clone(), at);
            let (session, effects) = stepped.unwrap_or_else(|_| (record.session.clone(), vec![]));
            let events = of_session(&record.session, &input, &session, &Actor::Host, at);
            ctx.meter.changed(&session.id, &record.session.lifecycle, &session.lifecycle);
            record.session = session;
            let entries = ctx.store.converge(&record, effects, events, left.is_some()).await?;
            supervisors.spawn(record, entries, left);
        }
        let refresh = poll::start(ctx, registry, pool, build_gc);
        tokio::spawn(pool::keep::keep(ctx.clone(), registry.clone(), pool.clone()));
        settle_early(ctx, registry);
        Ok(Arc::new(Self { supervisors, copies, refresh }))
    }

    /// The feed of what the host shows.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed> {
        &self.ctx().feed
    }

    /// Brings into the feed what changes without anybody saying so: memory, disk, viewers.
    pub async fn look(&self) {
        poll::look(self.ctx(), self.registry()).await;
    }

    /// What this host has left now, beside its sessions and the starts under way. Reads a few files of /proc.
    #[must_use]
    pub fn room(&self) -> Room {
        self.ctx().room()
    }

    /// All sessions, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<SessionView> {
        self.registry().all().iter().map(|handle| handle.view()).collect()
    }

    /// Dispatches a new session.
    ///
    /// # Errors
    /// Where the order is not allowed, its environment is not ready, or the host is not; nothing is kept then.
    pub async fn create(&self, order: CreateSession) -> Result<SessionView, FleetError> {
        if self.refresh.is_cancelled() {
            return Err(FleetError::Stopping);
        }
        self.takes_vms()?;
        let Supervisors { ctx, pool, build_gc, .. } = &self.supervisors;
        let _builds = build_gc.hold().await;
        let build = ctx.environments.ready(&order.environment)?;
        let vmm = ctx.vmm.clone();
        let info = tokio::task::spawn_blocking(move || vmm.info()).await.map_err(|_| FleetError::Stopping)?;
        create::check_host(&info, &build, &ctx.room())?;
        for _ in 0..SLUG_TRIES {
            let (record, effects) = create::session(order.clone(), build.clone())?;
            match ctx.store.add(&record, effects).await {
                Ok(entries) => {
                    pool.dispatched(&order.environment);
                    return Ok(self.supervisors.spawn(record, entries, None).view());
                }
                Err(StoreError::SlugTaken) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::SlugTaken.into())
    }

    /// The session that this id, slug or prefix names.
    ///
    /// # Errors
    /// [`FleetError::NotFound`], [`FleetError::Ambiguous`].
    pub fn get(&self, asked: &str) -> Result<SessionView, FleetError> {
        Ok(self.handle(asked)?.view())
    }

    /// Destinations that the session of this id was refused since hostd began, the last one first.
    #[must_use]
    pub fn refused(&self, id: &str) -> Vec<Refused> {
        self.ctx().gateway.refused(id)
    }

    /// A model has answered the session of this id, if there is one, which took this.
    pub fn answered(&self, id: &str, took: &Spending) {
        self.ctx().gateway.ledger().charge(id, took.micros);
        self.ctx().gateway.meter().answered(took);
        if let Some(handle) = self.registry().get(id) {
            handle.spending.send_modify(|spending| *spending = spending.plus(took));
        }
    }

    /// The terminal of a session.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    pub fn terminal(&self, asked: &str) -> Result<Terminal, FleetError> {
        Ok(self.handle(asked)?.terminal.clone())
    }

    /// The folder of a session's files.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    pub fn directory(&self, asked: &str) -> Result<PathBuf, FleetError> {
        Ok(self.ctx().folder(&self.handle(asked)?.id).path().into())
    }

    /// What its guest wrote to the serial console lately, where a VM runs.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    pub async fn serial(&self, asked: &str) -> Result<Option<Vec<u8>>, FleetError> {
        let live = self.handle(asked)?.live_within(LINK_WAIT).await;
        Ok(match live {
            Some(live) => Some(live.vm.serial().await),
            None => None,
        })
    }

    /// Leaves every running session's VM to the next hostd, puts it to disk for that one to resume, or powers it off; what is to be
    /// on disk and is not in time is powered off. Ends all supervisors and copies, and all VMs but those that are left.
    /// Nothing is created any more.
    pub async fn close(&self, vms: AtStop) {
        if vms == AtStop::Leave {
            self.ctx().leaving.cancel();
        }
        let until = Instant::now() + self.ctx().timings.stop;
        self.refresh.cancel();
        self.ctx().closing.cancel();
        self.supervisors.pool.close().await;
        self.copies.close().await;
        stream::iter(self.registry().all())
            .for_each_concurrent(None, |handle| async move {
                // A supervisor that has ended by itself needs no telling.
                let _ = handle.commands.send(Command::Stop { until, vms }).await;
                handle.gone.cancelled().await;
            })
            .await;
    }

    /// Has VMs of sessions that still run when the guard is dropped left to the next hostd. To be dropped before the runtime is, whose
    /// end cuts guests off.
    #[must_use]
    pub fn leaves_at_end(&self) -> DropGuard {
        self.ctx().leaving.clone().drop_guard()
    }

    /// Closes it, with every running session put to disk.
    #[cfg(test)]
    pub(super) async fn stop(&self) {
        self.close(AtStop::Suspend).await;
    }

    /// Looks at what a session uses now, for whoever asks for it next.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    pub async fn look_into(&self, asked: &str) -> Result<(), FleetError> {
        let handle = self.handle(asked)?;
        let live = handle.live.borrow().clone();
        usage::look(&self.ctx().folder(&handle.id), live, &handle.usage).await;
        Ok(())
    }

    pub(super) fn ctx(&self) -> &Arc<Context> {
        &self.supervisors.ctx
    }

    #[cfg(test)]
    pub(super) fn forge(&self) -> &Arc<dyn crate::forge::Forge> {
        &self.ctx().forge
    }

    #[cfg(test)]
    pub(super) fn pool(&self) -> &Pool {
        &self.supervisors.pool
    }

    fn registry(&self) -> &Registry {
        &self.supervisors.registry
    }

    pub(super) fn handle(&self, asked: &str) -> Result<Arc<Handle>, FleetError> {
        let handles = self.registry().all();
        let id = resolve(asked, handles.iter().map(|h| (h.id.as_str(), h.slug.as_str())))?;
        self.registry().get(id).ok_or_else(|| FleetError::NotFound(asked.into()))
    }
}

/// Whether it is on its way to its first moment, or to the first after a restart.
fn begins(session: &Session) -> bool {
    matches!(session.lifecycle, Lifecycle::Queued | Lifecycle::Starting)
}

/// Has whatever else runs on this host know what the VMs of sessions use, and those that nobody has taken.
fn count(ctx: &Arc<Context>, registry: &Arc<Registry>, pool: &Arc<Pool>) {
    let (host, registry, pool) = (Arc::downgrade(ctx), Arc::downgrade(registry), Arc::downgrade(pool));
    ctx.admission.count(move || {
        let lives = registry.upgrade().map(|registry| registry.lives()).unwrap_or_default();
        let used: u64 = lives.iter().map(|live| live.vm.memory().private).sum();
        let warm = pool.upgrade().map_or(0, |pool| pool.used());
        let standing_by = host.upgrade().map_or(0, |ctx| ctx.vmm.standing_by().private);
        used.saturating_add(warm).saturating_add(standing_by)
    });
}

/// The folders of VMs that an earlier hostd may have left running and that are taken over, by session: all sessions that ran,
/// but for one whose suspend was whole already.
async fn left(ctx: &Context, records: &[Record]) -> BTreeMap<String, PathBuf> {
    let (warm, mut left) = (pool::left(&ctx.data).await, BTreeMap::new());
    for record in records {
        let (session, folder) = (&record.session, ctx.folder(&record.session.id));
        let ran = matches!(session.lifecycle, Lifecycle::Running | Lifecycle::Suspending) && !session.deleting;
        if ran && whole(&folder, record).await.is_none() {
            // A warm VM is a session's first.
            // Where it was taken and did not last, it may have been started anew.
            let own = warm.get(&session.id).filter(|_| session.generation == 1);
            let own = own.filter(|own| ctx.vmm.left(own) || !ctx.vmm.left(folder.path()));
            left.insert(session.id.clone(), own.cloned().unwrap_or_else(|| folder.path().into()));
        }
    }
    left
}

/// Ends and removes what an earlier hostd left, but for the VMs that are taken over.
async fn sweep(ctx: &Context, copies: &Copies, records: &[Record], left: &BTreeMap<String, PathBuf>) {
    vm_fork::sweep(&ctx.data, records).await;
    checkpoint::sweep(&ctx.data, records).await;
    let end = |record: &Record| {
        let (folder, record) = (ctx.folder(&record.session.id), record.clone());
        let span = log::of_session(&record.session.id, &record.session.slug);
        async move {
            orphans::end(&*ctx.vmm, folder.path(), &record).instrument(span).await;
        }
    };
    let swept = |record: &Record| !left.contains_key(&record.session.id);
    stream::iter(records.iter().filter(|record| swept(record))).for_each_concurrent(LEFTOVERS, end).await;
    pool::sweep(&*ctx.vmm, &ctx.data, &left.values().cloned().collect::<Vec<_>>()).await;
    ctx.vmm.stand_by(&[]).await;
    copies.sweep().await;
    merge::sweep(&ctx.data, records, swept).await;
}

/// Finds out how snapshots are written here before somebody has to wait for it, where there is something that will be put to
/// disk.
fn settle_early(ctx: &Arc<Context>, registry: &Registry) {
    let built = || ctx.environments.list().iter().any(|environment| environment.build.is_some());
    if !registry.all().is_empty() || built() {
        let ctx = ctx.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ctx.vmm.settle() => {}
                () = ctx.closing.cancelled() => {}
            }
        });
    }
}
