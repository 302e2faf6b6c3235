//! CI of this host: runs the checks of environments on every revision of a pull request, each in a VM of its own.
//!
//! ```text
//!  forge's hints ──▶ look: heads of open pull requests ─▶ wanted checks ─▶ queue ─▶ plan (core) ─▶ run ─▶ report
//!                     └─ a head that moved, a pull request that is over ─▶ cancelled          clone of the template
//! ```
//!
//! Nothing but logs of runs is kept here: what was reported to the forge says what is left to do. A run that was under way
//! when hostd died is reported as running, and begins again.

mod admission;
mod error;
mod log;
mod look;
mod run;
#[cfg(test)]
mod tests;
mod vm;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hostd_core::{
    checks::CheckState,
    ci::{Key, SUPERSEDED},
    recipe::CiCheck,
};
use tokio::sync::{Notify, broadcast::error::RecvError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::{Admission, Reservation},
    environments::{Environments, ReadyBuild},
    forge::{About, Forge, Heard, Report},
    gateway::Gateway,
    meter::{Counts, counts},
    vm::Vmm,
};

pub use error::RerunError;
pub use log::Log;
pub use look::checks_of;

/// Pause between two looks at the host's room while runs wait for it.
pub const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Where CI asks about sessions.
pub trait Sessions: Send + Sync {
    /// Number of sessions that wait for a place; they go first.
    fn waiting(&self) -> usize;
    /// Name of the environment of the session with this id; None: the session is gone.
    fn environment(&self, id: &str) -> Option<String>;
}

/// What CI works with.
pub struct Deps {
    /// Path of the data folder.
    pub data: PathBuf,
    /// The forge that revisions come from and results go to.
    pub forge: Arc<dyn Forge>,
    /// The environments whose checks are run.
    pub environments: Arc<Environments>,
    /// The [`Vmm`] that starts the VMs.
    pub vmm: Arc<dyn Vmm>,
    /// The gateway, by which VMs reach the repository.
    pub gateway: Arc<Gateway>,
    /// The ledger from which runs have their room.
    pub admission: Admission,
    /// The sessions, which go first.
    pub sessions: Arc<dyn Sessions>,
    /// Most runs at a time; None: as many as there are processors.
    pub most: Option<usize>,
    /// Pause between two looks at the host's room while runs wait for it; [`LOOK_AGAIN`] but in tests.
    pub look_again: Duration,
}

/// CI of this host: its runs, those that wait and those under way.
pub struct Ci {
    deps: Deps,
    runs: Mutex<BTreeMap<Key, Run>>,
    /// Place in the queue of the next run.
    orders: AtomicU64,
    /// Told when a run has ended or one was asked for.
    wake: Notify,
    /// Told when a run was cancelled that may be wanted again: its commit was withdrawn for another, and came back meanwhile.
    look_again: Notify,
    /// Runs that have ended, by what came of them.
    ended: Counts,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// A run that waits or is under way.
struct Run {
    order: u64,
    job: Job,
    log: Arc<Log>,
    /// Whether somebody asked for the run, though no pull request has this head.
    asked: bool,
    state: State,
}

enum State {
    Queued,
    Running {
        cancel: CancellationToken,
        /// Room that is reserved for the run's VM until the run is over.
        reservation: Reservation,
    },
    /// The run is over, and the forge could not be told.
    Lost,
}

/// A check that is to be run, and the build that it is run in.
#[derive(Clone)]
struct Job {
    check: CiCheck,
    build: ReadyBuild,
}

impl Ci {
    /// Ends what an earlier hostd left, and begins with what is to be done. In the background: a fleet need not wait for it.
    #[must_use]
    pub fn start(deps: Deps) -> Arc<Self> {
        let ci = Arc::new(Self {
            deps,
            runs: Mutex::default(),
            orders: AtomicU64::default(),
            wake: Notify::new(),
            look_again: Notify::new(),
            ended: counts("result", &["passed", "failed", "errored", "cancelled"]),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        });
        ci.tasks.spawn(ci.clone().serve());
        ci
    }

    /// Ends every run and waits until no VM of them is left. They begin again with the next hostd.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The log of a run that waits or is under way.
    #[must_use]
    pub fn log(&self, key: &Key) -> Option<Arc<Log>> {
        self.runs().get(key).map(|run| run.log.clone())
    }

    /// Runs that have ended, by what came of them.
    pub(crate) fn ended(&self) -> &Counts {
        &self.ended
    }

    /// How many runs wait, and how many are under way.
    pub(crate) fn under_way(&self) -> (usize, usize) {
        let runs = self.runs();
        let count = |is: fn(&State) -> bool| runs.values().filter(|run| is(&run.state)).count();
        (count(|state| matches!(state, State::Queued)), count(|state| matches!(state, State::Running { .. })))
    }

    async fn serve(self: Arc<Self>) {
        // Subscribed before the first look: what comes after it is not missed.
        let mut hints = self.deps.forge.hints();
        let mut builds = self.deps.environments.changes();
        self.sweep().await;
        self.forget_superseded().await;
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "what CI has to do cannot be read");
            }
            loop {
                self.start_what_fits().await;
                let waits = self.runs().values().any(|run| matches!(run.state, State::Queued));
                tokio::select! {
                    () = self.closing.cancelled() => return,
                    Some(heard) = hints.next() => if news(&heard) { break },
                    build = builds.recv() => if !matches!(build, Err(RecvError::Closed)) { break },
                    () = self.wake.notified() => {}
                    () = self.look_again.notified() => break,
                    () = tokio::time::sleep(self.deps.look_again), if waits => {}
                }
            }
        }
    }

    /// Puts a check into the queue, unless it is there.
    async fn enqueue(&self, key: Key, job: Job, asked: bool) {
        {
            let mut runs = self.runs();
            if runs.get(&key).is_some_and(|run| !matches!(run.state, State::Lost)) {
                return;
            }
            let order = self.orders.fetch_add(1, Relaxed);
            let run = Run { order, job, log: Arc::new(Log::new()), asked, state: State::Queued };
            runs.insert(key.clone(), run);
        }
        if !self.report(&key, CheckState::Queued, "", None).await {
            self.forget(&key);
        }
    }

    /// Ends or drops a run that nobody waits for any more.
    async fn supersede(&self, key: &Key) {
        let queued = {
            let mut runs = self.runs();
            match runs.get(key).map(|run| &run.state) {
                Some(State::Running { cancel, .. }) => {
                    cancel.cancel();
                    false
                }
                Some(State::Queued) => runs.remove(key).inspect(|run| run.log.end()).is_some(),
                Some(State::Lost) => runs.remove(key).is_none(),
                None => false,
            }
        };
        if queued {
            self.report(key, CheckState::Cancelled, SUPERSEDED, None).await;
        }
    }

    /// Reports a check to the forge; returns whether the forge has it.
    async fn report(&self, key: &Key, state: CheckState, summary: &str, log: Option<Vec<u8>>) -> bool {
        let report = Report { name: key.name.clone(), state, summary: summary.into(), url: String::new(), log };
        match self.deps.forge.report(&key.repository, &key.commit, report).await {
            Ok(_) => {
                if state.is_over() {
                    self.ended.get_or_create(&[("result", state.word())]).inc();
                }
                true
            }
            Err(error) => {
                tracing::warn!(check = %key, %error, "the result of a check cannot be kept");
                false
            }
        }
    }

    fn forget(&self, key: &Key) {
        self.runs().remove(key);
        self.wake.notify_one();
    }

    fn folder(&self) -> PathBuf {
        self.deps.data.join("ci")
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<Key, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this change of the forge may mean other heads, or other checks to run.
fn news(heard: &Heard) -> bool {
    match heard {
        Heard::Hint(hint) => !matches!(hint.about, About::Checks(_)),
        Heard::Missed => true,
    }
}
