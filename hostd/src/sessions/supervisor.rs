//! One task for each session: it feeds the core, commits, carries out, and owns the VM.

mod adopt;
mod checkpoints;
mod commit;
mod fork;
mod grace;
mod layers;
mod lives;
mod observe;
mod remove;
mod reports;
mod run;
mod signs;
mod standstill;
mod stop;
mod typing;
mod under_way;
mod waits;

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use hostd_core::{Lifecycle, Session, UnixMillis, reports::Report as Said};
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::DropGuard;
use tracing::{Instrument as _, Span};

use self::{
    checkpoints::Schedule,
    grace::Grace,
    reports::Pace,
    standstill::Overtaken,
    under_way::{Adopting, Forking, Merging, Reading, Starting, Suspending},
};
use super::{
    background::build_gc::BuildGc,
    context::Context,
    disk::merge::Plan,
    message::{Answer, Command, Place, Report},
    pool::Pool,
    registry::{Handle, Registry},
    vm::{fork::Wish, running::Running, site::Site},
};
use crate::{
    admission::Reservation,
    store::{Machine, OutboxEntry, Record},
    terminals::Terminal,
};

/// Most commands, and most reports, that may wait for one supervisor.
const QUEUE: usize = 64;

/// What the supervisors of a host share; it makes new ones.
#[derive(Clone)]
pub(super) struct Supervisors {
    pub(super) ctx: Arc<Context>,
    pub(super) registry: Arc<Registry>,
    pub(super) pool: Arc<Pool>,
    pub(super) build_gc: Arc<BuildGc>,
}

/// A VM that an earlier hostd may have left running.
pub(super) struct Left {
    /// Its folder.
    pub(super) own: PathBuf,
    /// What it may use of the host's memory, until it is counted as one that runs.
    pub(super) memory: Option<Reservation>,
}

impl Supervisors {
    /// Has a supervisor take the session of this record over, which begins with these effects, and with the VM of an earlier hostd
    /// that is `left`, where there is one.
    pub(super) fn spawn(&self, record: Record, entries: Vec<OutboxEntry>, left: Option<Left>) -> Arc<Handle> {
        let (send_commands, commands) = mpsc::channel(QUEUE);
        let (send_reports, reports) = mpsc::channel(QUEUE);
        let session = &record.session;
        self.ctx.gateway.allow(&session.id, &session.allowed);
        self.ctx.gateway.ledger().open(&session.id, session.budget, session.spending.micros);
        let terminal = Terminal::new(self.ctx.folder(&session.id).path(), no_output(session));
        let handle = Arc::new(Handle::new(record, send_commands, send_reports, terminal));
        self.registry.add(handle.clone());
        self.ctx.feed.session(handle.view());
        let mut supervisor = Supervisor::new(self.clone(), handle.clone(), commands, reports);
        supervisor.adopting = left.map(|Left { own, memory }| supervisor.adopt(own, memory));
        let span = supervisor.span.clone();
        tokio::spawn(supervisor.run(entries).instrument(span));
        handle
    }
}

/// Owns one session: its state, its VM, its files.
pub(super) struct Supervisor {
    ctx: Arc<Context>,
    /// Makes more of its kind.
    all: Supervisors,
    handle: Arc<Handle>,
    /// Of its VM.
    site: Site,
    commands: mpsc::Receiver<Command>,
    reports: mpsc::Receiver<Report>,
    /// Entries of the outbox that are being carried out; the inputs that answer them settle them.
    owed: Vec<OutboxEntry>,
    /// Whether the session stands still; told to those who bring its VM up.
    still: watch::Sender<bool>,
    /// How long a commit that cannot be written is tried; None: until it is written.
    patience: Option<Duration>,
    /// What is to be done next, because it has overtaken a commit that could not be written.
    overtaken: Option<Overtaken>,
    adopting: Option<Adopting>,
    starting: Option<Starting>,
    suspending: Option<Suspending>,
    forking: Option<Forking>,
    /// That wait for their turn, oldest first.
    forks: VecDeque<(Wish, Answer)>,
    schedule: Schedule,
    running: Option<Running>,
    merging: Option<Merging>,
    /// Could not be merged.
    unmerged: Option<Plan>,
    /// There was no room for a merge.
    no_merge_before: Option<Instant>,
    /// A resume that waits for the merge, because the chain has grown by more than one layer since the one before.
    resumes: Option<u64>,
    place: Option<Place>,
    /// Looks for a place.
    looking: Option<AbortHandle>,
    reading: Reading,
    grace: Grace,
    /// The last refusal of its model's API, until that answers again.
    refusal: watch::Receiver<Option<Said>>,
    /// When its terminal may show another sign although nothing happens there.
    signs_due: Option<UnixMillis>,
    pace: Pace,
    /// Whoever waits for the session to be gone.
    deleters: Vec<Answer>,
    /// Waits for places, types messages; ended with the supervisor.
    tasks: JoinSet<()>,
    /// What its lines in the log are said in.
    span: Span,
    _gone: DropGuard,
}

/// Why nobody writes to this session's terminal; None: somebody does or will.
fn no_output(session: &Session) -> Option<String> {
    match &session.lifecycle {
        Lifecycle::Stopped { cause } => Some(format!("the session is stopped: {cause}")),
        Lifecycle::Crashed { cause } => Some(format!("the session crashed: {cause}")),
        _ => None,
    }
}

impl Supervisor {
    fn new(
        all: Supervisors,
        handle: Arc<Handle>,
        commands: mpsc::Receiver<Command>,
        reports: mpsc::Receiver<Report>,
    ) -> Self {
        let (ctx, still) = (all.ctx.clone(), watch::Sender::new(false));
        let site = Site {
            vmm: ctx.vmm.clone(),
            gateway: ctx.gateway.clone(),
            meter: ctx.meter.clone(),
            folder: ctx.folder(&handle.id),
            terminal: handle.terminal.clone(),
            record: handle.record.subscribe(),
            reports: handle.reports.clone(),
            hooks: handle.hooks.clone(),
            still: still.subscribe(),
            closing: ctx.closing.clone(),
            leaving: ctx.leaving.clone(),
            timings: ctx.timings,
        };
        let refusal = {
            let session = &handle.record.borrow().session;
            ctx.gateway.limits().open(&session.id, session.reports.gateway.clone())
        };
        Self {
            ctx,
            all,
            site,
            commands,
            reports,
            owed: vec![],
            still,
            patience: None,
            overtaken: None,
            adopting: None,
            starting: None,
            suspending: None,
            forking: None,
            forks: VecDeque::new(),
            schedule: Schedule::default(),
            running: None,
            merging: None,
            unmerged: None,
            no_merge_before: None,
            resumes: None,
            place: None,
            looking: None,
            reading: Reading::default(),
            grace: Grace::default(),
            refusal,
            signs_due: None,
            pace: Pace::default(),
            deleters: vec![],
            tasks: JoinSet::new(),
            span: handle.span(),
            _gone: handle.gone.clone().drop_guard(),
            handle,
        }
    }

    /// The session as last committed.
    fn session(&self) -> Session {
        self.handle.record.borrow().session.clone()
    }

    /// What the session is made from, as last committed.
    fn machine(&self) -> Machine {
        self.handle.record.borrow().machine.clone()
    }
}
