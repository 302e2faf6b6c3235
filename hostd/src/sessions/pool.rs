//! Warm VMs: clones of templates that run already, for sessions to come.
//!
//! Each has a folder `warm/ID/`, an identity of its own and has shaken hands with it. A session that takes one links its disk
//! into the session's folder and gives the guest the session's identity; the VM's own files stay in `warm/ID/` until it ends.
//! What is to be done is planned by [`hostd_core::capacity::plan_pool`], one step at a time, and below the sessions' own
//! starts: nothing is started while a session starts or waits.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, future::join_all};
use hostd_core::{
    Lifecycle, Session,
    capacity::{Need, PoolStep, Stock, plan_pool},
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::{WarmView, fleet::Host};
use crate::{
    environments::ReadyBuild,
    gateway::Caller,
    guest::{Identity, Link},
    room::Kind,
    store::Record,
    vm::{Memory, MemoryUse, Vm, VmError, VmSpec},
};

/// Between two looks when nobody asks for one.
const EVERY: Duration = Duration::from_secs(3);
/// Dispatches of this time back count as demand for as many more.
const DEMAND: Duration = Duration::from_secs(300);
/// Dispatches that are remembered.
const REMEMBERED: usize = 256;
/// For a clone to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// After one that did not come up.
const PAUSE: Duration = Duration::from_secs(30);
/// What of a VM's folder is worth keeping after its end.
const LOGS: [&str; 2] = ["serial.log", "qemu.log"];

/// The warm VMs of a host.
#[derive(Default)]
pub(super) struct Pool {
    state: Mutex<State>,
    look: Notify,
    /// Told when one is ready.
    stocked: Notify,
    stop: CancellationToken,
    /// Cancelled when its task has ended.
    over: CancellationToken,
}

#[derive(Default)]
struct State {
    ready: Vec<Warm>,
    /// Folders of those that sessions have, by session.
    taken: BTreeMap<String, PathBuf>,
    /// Who was dispatched when, the oldest first.
    dispatched: VecDeque<(String, Instant)>,
    /// Set aside for sessions that are about to start, by session.
    reserved: BTreeMap<String, Warm>,
    /// Of these environments none is started before: the last one failed.
    not_before: BTreeMap<String, Instant>,
}

/// A VM without a session.
struct Warm {
    environment: String,
    build: String,
    vm: Arc<dyn Vm>,
    folder: PathBuf,
}

impl Warm {
    fn lives(&self) -> bool {
        self.vm.ended().now_or_never().is_none()
    }

    async fn end(self) {
        self.vm.end().await;
        remove(&self.folder).await;
    }
}

impl Pool {
    /// Looks at once at what is to be done.
    pub(super) fn look_again(&self) {
        self.look.notify_one();
    }

    /// A session was asked for.
    pub(super) fn dispatched(&self, environment: &str) {
        let mut state = self.lock();
        if state.dispatched.len() == REMEMBERED {
            state.dispatched.pop_front();
        }
        state.dispatched.push_back((environment.into(), Instant::now()));
        drop(state);
        self.look_again();
    }

    /// Bytes of memory that are those VMs' alone which nobody has taken.
    pub(super) fn used(&self) -> u64 {
        let state = self.lock();
        state.ready.iter().chain(state.reserved.values()).map(|warm| warm.vm.memory().private).sum()
    }

    /// How many VMs nobody has taken.
    pub(super) fn ready(&self) -> u32 {
        u32::try_from(self.lock().ready.len()).unwrap_or(u32::MAX)
    }

    /// Of those VMs, each page that they share counted for its part.
    pub(super) fn memory_part(&self) -> MemoryUse {
        let state = self.lock();
        let mut all = MemoryUse::default();
        for part in state.ready.iter().chain(state.reserved.values()).map(|warm| warm.vm.memory_part()) {
            (all.private, all.shared) = (all.private + part.private, all.shared + part.shared);
        }
        all
    }

    /// The folder of the VM that a session has taken, while it runs.
    pub(super) fn taken(&self, session: &str) -> Option<PathBuf> {
        self.lock().taken.get(session).cloned()
    }

    /// Ends all that nobody has taken; nothing is started any more.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.over.cancelled().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A warm VM that is set aside for a session until it takes it; one that is not taken goes back when this is dropped.
pub(super) struct Reserved {
    host: Arc<Host>,
    session: String,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut state = self.host.pool.lock();
        if let Some(warm) = state.reserved.remove(&self.session) {
            state.ready.push(warm);
            self.host.pool.stocked.notify_waiters();
        }
    }
}

/// Waits until one can be set aside for this session. Cancel safe.
pub(super) async fn reserved(host: &Arc<Host>, record: &Record) -> Reserved {
    loop {
        let mut stocked = std::pin::pin!(host.pool.stocked.notified());
        stocked.as_mut().enable();
        if let Some(reserved) = reserve(host, record) {
            return reserved;
        }
        stocked.await;
    }
}

/// Sets one aside for a session's first start. It has its memory already and does not boot, so it waits for neither; None:
/// there is none, or the disk has no room for what the session would write.
fn reserve(host: &Arc<Host>, record: &Record) -> Option<Reserved> {
    let Record { session, machine } = record;
    let first = session.lifecycle == Lifecycle::Queued && session.generation == 0 && machine.template.is_some();
    if !first || !host.has_disk() {
        return None;
    }
    let mut state = host.pool.lock();
    let warm = ready(&mut state, &session.build)?;
    state.reserved.insert(session.id.clone(), warm);
    Some(Reserved { host: host.clone(), session: session.id.clone() })
}

fn ready(state: &mut State, build: &str) -> Option<Warm> {
    let at = state.ready.iter().position(|warm| warm.build == build && warm.lives())?;
    Some(state.ready.swap_remove(at))
}

/// A VM of this build for the session of this record, whose disk becomes `disk`, where nothing may be yet. What lies in the
/// VM's own folder is looked after until it ends; then its logs move to the session's.
pub(super) async fn take(host: &Arc<Host>, session: &str, build: &str, disk: &Path) -> Option<Arc<dyn Vm>> {
    let warm = {
        let mut state = host.pool.lock();
        let reserved = state.reserved.remove(session).filter(Warm::lives);
        let warm = reserved.or_else(|| ready(&mut state, build))?;
        state.taken.insert(session.into(), warm.folder.clone());
        warm
    };
    host.pool.look_again();
    let linked = tokio::fs::hard_link(disk_in(&warm.folder), disk).await;
    let vm = warm.vm.clone();
    tokio::spawn(after(host.clone(), session.into(), warm));
    match linked {
        Ok(()) => Some(vm),
        Err(error) => {
            tracing::warn!(session, disk = %disk.display(), %error, "a warm VM could not be taken");
            vm.end().await;
            None
        }
    }
}

/// Tidies up after a VM that a session had taken.
async fn after(host: Arc<Host>, session: String, warm: Warm) {
    warm.vm.ended().await;
    for name in LOGS {
        // Mostly there is none, and a session that was deleted has no place for it.
        let _ = tokio::fs::rename(warm.folder.join(name), host.directory(&session).join(name)).await;
    }
    host.pool.lock().taken.remove(&session);
    remove(&warm.folder).await;
}

/// Ends what an earlier hostd left.
pub(super) async fn sweep(host: &Host) {
    let root = root(host);
    let Ok(mut folders) = tokio::fs::read_dir(&root).await else { return };
    while let Ok(Some(folder)) = folders.next_entry().await {
        match host.parts.vmm.end_leftover(&folder.path()).await {
            Ok(_) => remove(&folder.path()).await,
            Err(error) => tracing::error!(folder = %folder.path().display(), %error, "a warm VM may still run"),
        }
    }
}

/// Keeps the pool, until it is closed.
pub(super) async fn keep(host: Arc<Host>) {
    let _over = host.pool.over.clone().drop_guard();
    while !host.pool.stop.is_cancelled() {
        if !step(&host).await {
            tokio::select! {
                () = host.pool.stop.cancelled() => {}
                () = host.pool.look.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
    let (ready, reserved) = {
        let mut state = host.pool.lock();
        (std::mem::take(&mut state.ready), std::mem::take(&mut state.reserved))
    };
    join_all(ready.into_iter().chain(reserved.into_values()).map(Warm::end)).await;
}

/// One step; true where another may be due at once.
async fn step(host: &Arc<Host>) -> bool {
    let builds = builds(host);
    for gone in outdated(host, &builds) {
        tracing::info!(environment = gone.environment, "a warm VM that is of no use any more is ended");
        gone.end().await;
    }
    let stocks = stocks(host, &builds);
    let queue = queue(host);
    let busy = queue.busy;
    let measured = host.clone();
    let (planned, waiting) = (stocks.clone(), queue.waiting);
    let decided = tokio::task::spawn_blocking(move || {
        measured.parts.rooms.decide(Kind::Warm, |room| {
            let step =
                plan_pool(&planned, room, waiting).filter(|step| !(busy && matches!(step, PoolStep::Start { .. })));
            let started = planned.iter().find(|s| step == Some(PoolStep::Start { environment: s.environment.clone() }));
            (step.clone(), started.map(|stock| stock.need.memory))
        })
    });
    let Ok((planned, promise)) = decided.await else { return false };
    match planned {
        Some(PoolStep::Start { environment }) => {
            let Some(build) = builds.get(&environment) else { return false };
            start(host, &environment, build).await;
            drop(promise);
            stocks_shown(host, &builds);
            true
        }
        Some(PoolStep::End { environment }) => {
            let one = {
                let mut state = host.pool.lock();
                let at = state.ready.iter().position(|warm| warm.environment == environment);
                at.map(|at| state.ready.swap_remove(at))
            };
            if let Some(warm) = one {
                warm.end().await;
                host.parts.rooms.freed();
            }
            stocks_shown(host, &builds);
            true
        }
        None => {
            show(host, &stocks);
            false
        }
    }
}

/// The builds that can be cloned, by environment.
fn builds(host: &Host) -> BTreeMap<String, ReadyBuild> {
    let environments = &host.parts.environments;
    let ready = environments.list().into_iter().filter_map(|info| Some((environments.ready(&info.name).ok()?, info)));
    ready.filter(|(build, _)| build.template.is_some()).map(|(build, info)| (info.name, build)).collect()
}

/// Those that have died, and those of a build that is not in use any more.
fn outdated(host: &Host, builds: &BTreeMap<String, ReadyBuild>) -> Vec<Warm> {
    let of_use = |warm: &Warm| builds.get(&warm.environment).is_some_and(|b| b.id == warm.build) && warm.lives();
    host.pool.lock().ready.extract_if(.., |warm| !of_use(warm)).collect()
}

fn stocks(host: &Host, builds: &BTreeMap<String, ReadyBuild>) -> Vec<Stock> {
    let mut state = host.pool.lock();
    state.dispatched.retain(|(_, at)| at.elapsed() < DEMAND);
    state.not_before.retain(|_, until| Instant::now() < *until);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let stock = |(name, build): (&String, &ReadyBuild)| Stock {
        environment: name.clone(),
        min: build.recipe.warm.min,
        max: build.recipe.warm.max,
        ready: count(state.ready.iter().filter(|warm| warm.environment == *name).count()),
        starting: 0,
        paused: state.not_before.contains_key(name),
        demand: count(state.dispatched.iter().filter(|(of, _)| of == name).count()),
        need: Need { memory: build.recipe.size.memory, disk: 0 },
    };
    builds.iter().map(stock).collect()
}

fn stocks_shown(host: &Host, builds: &BTreeMap<String, ReadyBuild>) {
    show(host, &stocks(host, builds));
}

fn show(host: &Host, stocks: &[Stock]) {
    for stock in stocks {
        host.board.warm(&stock.environment, WarmView { ready: stock.ready, wanted: stock.wanted() });
    }
}

/// What sessions are about to do.
struct Queue {
    /// One starts, is resumed, or waits for its place.
    busy: bool,
    /// What the one that has waited longest needs.
    waiting: Option<Need>,
}

fn queue(host: &Host) -> Queue {
    let sessions: Vec<Session> = host.handles().values().map(|handle| handle.record.borrow().session.clone()).collect();
    let starts = |of: &Lifecycle| matches!(of, Lifecycle::Starting | Lifecycle::Resuming);
    let waiting = {
        let state = host.pool.lock();
        // Who is about to take a warm VM does not wait for memory, and that VM is not in its way.
        let served = |session: &Session| {
            let first = session.lifecycle == Lifecycle::Queued && session.generation == 0;
            let ready = || state.ready.iter().any(|warm| warm.build == session.build);
            first && (state.reserved.contains_key(&session.id) || ready())
        };
        sessions.iter().filter(|session| session.waits_for_room()).find(|session| !served(session))
    };
    let waiting = waiting.map(|session| Need { memory: session.size.memory, disk: 0 });
    // Builds wait there too.
    let waiting = waiting.or_else(|| host.parts.rooms.waiting());
    let busy = sessions.iter().any(|session| session.waits_for_room() || starts(&session.lifecycle));
    Queue { busy: busy || waiting.is_some(), waiting }
}

async fn start(host: &Host, environment: &str, build: &ReadyBuild) {
    match make(host, environment, build).await {
        Ok(warm) => {
            host.pool.lock().ready.push(warm);
            host.pool.stocked.notify_waiters();
        }
        Err(why) if host.pool.stop.is_cancelled() => tracing::debug!(environment, why, "no warm VM: hostd ends"),
        Err(why) => {
            tracing::warn!(environment, why, "a warm VM did not come up");
            host.pool.lock().not_before.insert(environment.into(), Instant::now() + PAUSE);
        }
    }
}

/// A clone that has shaken hands; on an error nothing is left of it.
async fn make(host: &Host, environment: &str, build: &ReadyBuild) -> Result<Warm, String> {
    let id = Ulid::new().to_string();
    let folder = root(host).join(&id);
    let made = async {
        let vm = clone(host, &id, &folder, build).await.map_err(|error| error.to_string())?;
        let met = tokio::select! {
            met = meet(host, &id, environment, vm.clone()) => met,
            cause = vm.ended() => Err(cause.to_string()),
            () = host.pool.stop.cancelled() => Err("hostd ends".into()),
        };
        if met.is_err() {
            vm.end().await;
        }
        met.map(|()| vm)
    };
    match made.await {
        Ok(vm) => Ok(Warm { environment: environment.into(), build: build.id.clone(), vm, folder }),
        Err(why) => {
            remove(&folder).await;
            Err(why)
        }
    }
}

async fn clone(host: &Host, id: &str, folder: &Path, build: &ReadyBuild) -> Result<Arc<dyn Vm>, VmError> {
    let failed = |error| VmError::File { path: folder.into(), error };
    let template = build.template.clone().unwrap_or_default();
    tokio::fs::create_dir_all(folder).await.map_err(failed)?;
    let (disk, size) = (disk_in(folder), build.recipe.size);
    host.parts.vmm.create_disk(&disk, size.disk).await?;
    let (name, directory, layers) = (name(id), folder.into(), build.layers.clone());
    let spec = VmSpec { name, directory, size, layers, disk, memory: Memory::Clone(template.clone()) };
    host.parts.vmm.resume(spec, &template).await
}

/// It answers, has started a program once, and is nobody's: it may reach nothing.
async fn meet(host: &Host, id: &str, environment: &str, vm: Arc<dyn Vm>) -> Result<(), String> {
    let machine_id = blake3::hash(format!("machine-id {id}").as_bytes()).to_hex()[..32].to_owned();
    let identity = Identity { session_id: id.into(), slug: name(id), machine_id, generation: 1 };
    let caller = Caller {
        session_id: id.into(),
        slug: name(id),
        environment: environment.into(),
        repository: None,
        branch_prefix: None,
        egress: vec![],
    };
    let link = Link::start(vm, identity, host.parts.gateway.clone(), Arc::new(caller));
    let met = link.client(HANDSHAKE).await.map_err(|error| error.to_string());
    if let Ok(hello) = &met {
        hello.rehearse().await;
    }
    link.close();
    met.map(drop)
}

fn name(id: &str) -> String {
    format!("warm-{}", id[id.len().saturating_sub(8)..].to_ascii_lowercase())
}

fn root(host: &Host) -> PathBuf {
    host.parts.data.join("warm")
}

fn disk_in(folder: &Path) -> PathBuf {
    folder.join("disk.qcow2")
}

async fn remove(folder: &Path) {
    if let Err(error) = tokio::fs::remove_dir_all(folder).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "what is left of a warm VM was not removed");
    }
}
