//! A cold start: disk, VM, shaken hand, agent.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hostd_core::{Cause, Session};
use pilothouse_proto::guest::v1::{HandshakeResponse, StartAgentRequest};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::{
    fleet::{Handle, Host},
    pool,
    repository::{Found, look},
    running::{Live, Running},
};
use crate::{
    gateway::Caller,
    guest::{Identity, Link},
    store::{Machine, Phase, Record},
    terminals::{Pump, Terminal},
    vm::{Memory, Vm, VmError, VmSpec},
};

/// For the guest to shake hands. Generous: an emulated guest on a busy host boots slowly.
const HANDSHAKE: Duration = Duration::from_secs(120);
/// For the guest to start the agent.
const AGENT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 30 });
/// Before it is asked again, where it did not answer.
const AGAIN: Duration = Duration::from_millis(100);
/// Parts of a guest's boot that are believed.
const BOOT_STEPS: usize = 16;

/// A start that came to its end.
pub(super) struct Started {
    pub(super) running: Running,
    /// What it is made from now, with the parts of this start.
    pub(super) machine: Machine,
    /// Why it booted, where it was to be a clone.
    pub(super) why_booted: Option<String>,
    /// What is broken of its repository, with what to do.
    pub(super) broken: Option<String>,
}

/// Why a start came to nothing; nothing is left of its VM.
pub(super) enum NotStarted {
    /// Nobody wants it any more.
    Cancelled,
    /// The VM ended by itself.
    Ended(Cause),
    /// With what to do.
    Failed(String),
}

/// Starts this generation of a session. Where `cancel` is cancelled it gives up at the next step.
pub(super) async fn start(
    host: Arc<Host>,
    handle: Arc<Handle>,
    generation: u64,
    cancel: CancellationToken,
) -> Result<Started, NotStarted> {
    let record = handle.record.borrow().clone();
    let directory = host.directory(&handle.id);
    let failed = |error: VmError| NotStarted::Failed(error.to_string());
    let mut clock = Clock::new();
    let (vm, record, why_booted) = match warm(&host, &record, &directory, &mut clock).await {
        Some((vm, record)) => (vm, record, None),
        None => {
            disk(&host, &record, &directory).await.map_err(failed)?;
            clock.phase("disk");
            if cancel.is_cancelled() {
                return Err(NotStarted::Cancelled);
            }
            fail::fail_point!("start::before-vm");
            begin(&host, &record, &directory, &mut clock).await.map_err(failed)?
        }
    };
    fail::fail_point!("start::after-vm");
    let result = tokio::select! {
        () = cancel.cancelled() => Err(NotStarted::Cancelled),
        cause = vm.ended() => Err(NotStarted::Ended(cause)),
        up = bring_up(&host, &record, generation, &handle.terminal, vm.clone(), &mut clock) => up,
    };
    match result {
        Ok(Up { link, pump, found }) => {
            let live = Live { vm, link: Arc::new(link) };
            let (repository, broken) = (found.to_string(), found.broken());
            let machine = Machine { phases: clock.phases, repository, ..record.machine };
            let running = Running::new(generation, live, pump, 0, &handle.messages);
            Ok(Started { running, machine, why_booted, broken })
        }
        Err(why) => {
            vm.end().await;
            Err(why)
        }
    }
}

/// A VM that stands ready for this session's first start.
async fn warm(host: &Arc<Host>, record: &Record, directory: &Path, clock: &mut Clock) -> Option<(Arc<dyn Vm>, Record)> {
    let template = record.machine.template.as_ref().filter(|_| record.session.generation == 1)?;
    tokio::fs::create_dir_all(directory).await.ok()?;
    let disk = directory.join(&record.machine.disk);
    let vm = pool::take(host, &record.session.id, &record.session.build, &disk).await?;
    clock.phase("warm");
    clock.boots = false;
    Some((vm, with_memory(record, Some(template.clone()))))
}

/// A VM for a session's first start is a clone of its template; any later one, and one whose template does not fit this
/// machine any more, boots from the disk; then it is said why.
async fn begin(
    host: &Host,
    record: &Record,
    directory: &Path,
    clock: &mut Clock,
) -> Result<(Arc<dyn Vm>, Record, Option<String>), VmError> {
    let mut why_booted = None;
    let fresh = record.session.generation == 1;
    if let Some(template) = record.machine.template.as_ref().filter(|_| fresh) {
        let cloned = with_memory(record, Some(template.clone()));
        match host.parts.vmm.resume(spec(&cloned, directory), template).await {
            Ok(vm) => {
                clock.phase("clone");
                clock.boots = false;
                return Ok((vm, cloned, None));
            }
            Err(error) => {
                tracing::warn!(slug = record.session.slug, %error, "it boots, because it cannot be cloned");
                why_booted = Some(format!("{error}; run `pilothouse env build {}`", record.session.environment));
            }
        }
    }
    let booted = with_memory(record, None);
    let vm = host.parts.vmm.start(spec(&booted, directory)).await?;
    clock.phase("vm");
    Ok((vm, booted, why_booted))
}

fn with_memory(record: &Record, view_of: Option<PathBuf>) -> Record {
    let machine = Machine { view_of, snapshot: None, heard: 0, ..record.machine.clone() };
    Record { session: record.session.clone(), machine }
}

/// Its folder and its own layer, unless they are there from an earlier start.
pub(super) async fn disk(host: &Host, record: &Record, directory: &Path) -> Result<(), VmError> {
    let failed = |error| VmError::File { path: directory.into(), error };
    tokio::fs::create_dir_all(directory).await.map_err(failed)?;
    fail::fail_point!("start::before-disk");
    let disk = directory.join(&record.machine.disk);
    if !tokio::fs::try_exists(&disk).await.map_err(failed)? {
        // Under another name until it is whole.
        let new = directory.join("disk.new.qcow2");
        if let Err(error) = tokio::fs::remove_file(&new).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(failed(error));
        }
        host.parts.vmm.create_disk(&new, record.session.size.disk).await?;
        fail::fail_point!("start::half-disk");
        tokio::fs::rename(&new, &disk).await.map_err(failed)?;
    }
    Ok(())
}

pub(super) fn spec(record: &Record, directory: &Path) -> VmSpec {
    VmSpec {
        name: record.session.slug.clone(),
        directory: directory.into(),
        size: record.session.size,
        layers: record.machine.layers.clone(),
        disk: directory.join(&record.machine.disk),
        memory: record.machine.view_of.clone().map_or(Memory::Own, Memory::Clone),
        cpu: record.machine.cpu,
    }
}

/// A guest with an agent at work.
struct Up {
    link: Link,
    pump: Pump,
    found: Found,
}

/// From a VM that boots to an agent at work.
async fn bring_up(
    host: &Host,
    record: &Record,
    generation: u64,
    terminal: &Terminal,
    vm: Arc<dyn Vm>,
    clock: &mut Clock,
) -> Result<Up, NotStarted> {
    let session = &record.session;
    let caller = Arc::new(caller(session, &record.machine));
    let link = Link::start(vm, identity(session, generation), host.parts.gateway.clone(), caller);
    let hello = link.client(HANDSHAKE).await.map_err(|error| NotStarted::Failed(error.to_string()))?;
    clock.boot(&hello.handshake);
    let found = look(&hello, session).await;
    if found != Found::Nothing {
        tracing::info!(slug = session.slug, %found, "its repository");
        clock.phase("repository");
    }
    fail::fail_point!("start::before-agent");
    let pump = Pump::begin(terminal.clone()).await;
    let pump = pump.map_err(|error| NotStarted::Failed(format!("the terminal's log: {error}")))?;
    let request = agent(record, terminal);
    start_agent(&link, request).await?;
    clock.phase("agent");
    fail::fail_point!("start::after-agent");
    Ok(Up { link, pump, found })
}

/// Where the connection is lost on the way the next one is asked: a guest starts its agent once, however often it is told to.
async fn start_agent(link: &Link, request: StartAgentRequest) -> Result<(), NotStarted> {
    let program = request.command.first().cloned().unwrap_or_default();
    let started = async {
        loop {
            let hello = link.client(AGENT).await.map_err(|error| NotStarted::Failed(error.to_string()))?;
            match hello.client.clone().start_agent(request.clone()).await {
                Ok(_) => return Ok(()),
                Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument) => {
                    let why = hostd_core::text::clean(status.message(), 1024);
                    return Err(NotStarted::Failed(format!("the agent `{program}` did not start: {why}")));
                }
                Err(status) => {
                    tracing::warn!(program, %status, "the agent is not started yet; trying again");
                    sleep(AGAIN).await;
                }
            }
        }
    };
    let late = || format!("the guest did not start the agent `{program}` within {} s", AGENT.as_secs());
    timeout(AGENT, started).await.unwrap_or_else(|_| Err(NotStarted::Failed(late())))
}

fn agent(record: &Record, terminal: &Terminal) -> StartAgentRequest {
    let (session, size) = (&record.session, terminal.size());
    let environment = [
        ("PILOTHOUSE_SESSION", session.id.clone()),
        ("PILOTHOUSE_SLUG", session.slug.clone()),
        ("PILOTHOUSE_TASK", session.task.clone()),
        ("PILOTHOUSE_BRANCH", format!("{}work", session.branch_prefix())),
    ];
    StartAgentRequest {
        command: session.command.clone(),
        environment: environment.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<HashMap<_, _>>(),
        directory: session.directory.clone(),
        columns: size.columns.into(),
        rows: size.rows.into(),
        user: record.machine.user.clone(),
    }
}

pub(super) fn identity(session: &Session, generation: u64) -> Identity {
    // The same in all its lives, and of no other session.
    let machine_id = blake3::hash(format!("machine-id {}", session.id).as_bytes()).to_hex()[..32].to_owned();
    Identity { session_id: session.id.clone(), slug: session.slug.clone(), machine_id, generation }
}

pub(super) fn caller(session: &Session, machine: &Machine) -> Caller {
    Caller {
        session_id: session.id.clone(),
        slug: session.slug.clone(),
        environment: session.environment.clone(),
        repository: session.repository.clone(),
        branch_prefix: session.repository.as_ref().map(|_| session.branch_prefix()),
        also_read: machine.also_read.clone(),
        egress: machine.egress.clone(),
    }
}

/// Takes the time of the parts of a start.
pub(super) struct Clock {
    last: Instant,
    /// Whether the guest boots: a clone tells of its template's boot.
    boots: bool,
    pub(super) phases: Vec<Phase>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { last: Instant::now(), boots: true, phases: vec![] }
    }

    pub(super) fn phase(&mut self, name: &str) {
        let micros = micros(self.last.elapsed());
        self.last = Instant::now();
        self.phases.push(Phase { name: name.into(), micros });
    }

    /// The time since the VM was started, in the parts that the guest tells, and what is left of it as `handshake`.
    fn boot(&mut self, handshake: &HandshakeResponse) {
        let whole = micros(self.last.elapsed());
        let mut before = 0;
        for step in handshake.boot.iter().take(BOOT_STEPS).filter(|_| self.boots) {
            let until = step.uptime_micros.clamp(before, whole.max(before));
            let name = hostd_core::text::slug(&step.name, 24);
            self.phases.push(Phase { name, micros: until - before });
            before = until;
        }
        self.last = Instant::now();
        self.phases.push(Phase { name: "handshake".into(), micros: whole.saturating_sub(before) });
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
