//! A cold start: disk, VM, shaken hand, agent.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use hostd_core::{
    Cause,
    profile::session_id,
    session::{Due, NoAgent},
};
use pilothouse_proto::guest::v1::StartAgentRequest;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    phases::Clock,
    repository::{Found, look},
    running::Running,
    site::Site,
    spec::{access, caller, identity, spec},
};
use crate::{
    guest::Link,
    guest_vm::{GuestVm, Met},
    sessions::disk::next_layer,
    store::{Machine, Record},
    terminals::{Pump, Terminal},
    vm::VmError,
};

/// Before it is asked again, where it did not answer.
const AGAIN: Duration = Duration::from_millis(100);

/// A start that came to its end.
pub(in crate::sessions) struct Started {
    pub(in crate::sessions) running: Running,
    /// What it is made from now, with the parts of this start.
    pub(in crate::sessions) machine: Machine,
    /// Whether its agent was to go on with a conversation that was not there, and has begun anew.
    pub(in crate::sessions) anew: bool,
    /// Answer that its agent's wait has taken already.
    pub(in crate::sessions) answered: Option<Box<Due>>,
    /// Why it booted, where it was to be a clone.
    pub(in crate::sessions) why_booted: Option<String>,
    /// What is broken of its repository, with what to do.
    pub(in crate::sessions) broken: Option<String>,
}

/// Why a start came to nothing; nothing of its VM is left.
pub(in crate::sessions) enum NotStarted {
    /// Nobody wants the start any more.
    Cancelled,
    /// The VM ended by itself.
    Ended(Cause),
    /// The start failed; why, with what to do.
    Failed(String),
}

/// Starts this generation of a session: in the VM that `warm` gives, where the session may have one, or in one of its own. Where
/// `cancel` is cancelled it gives up at the next step.
pub(in crate::sessions) async fn start(
    site: Site,
    generation: u64,
    warm: impl Future<Output = Option<GuestVm>> + Send,
    cancel: CancellationToken,
) -> Result<Started, NotStarted> {
    let record = site.record();
    let failed = |error: VmError| NotStarted::Failed(error.to_string());
    let mut clock = Clock::new();
    let (guest, record, why_booted) = match ready(&site, &record, warm, &mut clock).await {
        Some((guest, record)) => (guest, record, None),
        None => {
            let (name, bytes) = (&record.machine.disk, record.session.size.disk);
            next_layer::make(&*site.vmm, &site.folder, name, bytes).await.map_err(failed)?;
            clock.phase("disk");
            if cancel.is_cancelled() {
                return Err(NotStarted::Cancelled);
            }
            fail::fail_point!("start::before-vm");
            begin(&site, &record, &mut clock).await.map_err(failed)?
        }
    };
    fail::fail_point!("start::after-vm");
    let result = tokio::select! {
        () = cancel.cancelled() => Err(NotStarted::Cancelled),
        up = guest.unless_it_ends(bring_up(&site, &record, generation, &guest, &mut clock)) => {
            up.unwrap_or_else(|cause| Err(NotStarted::Ended(cause)))
        }
    };
    match result {
        Ok(Up { link, pump, found, anew }) => {
            let (repository, broken) = (found.to_string(), found.broken());
            let machine = Machine { phases: clock.phases, repository, ..record.machine };
            let running = Running::new(generation, guest, link, pump, 0, CancellationToken::new(), &site);
            Ok(Started { running, machine, anew, answered: None, why_booted, broken })
        }
        Err(why) => {
            guest.end().await;
            Err(why)
        }
    }
}

/// A VM that stands ready for this session's first start.
async fn ready(
    site: &Site,
    record: &Record,
    warm: impl Future<Output = Option<GuestVm>>,
    clock: &mut Clock,
) -> Option<(GuestVm, Record)> {
    let template = record.machine.template.as_ref().filter(|_| record.session.generation == 1)?;
    site.folder.make().await.ok()?;
    let guest = warm.await?;
    clock.phase("warm");
    clock.boots = false;
    Some((guest, with_memory(record, Some(template.clone()))))
}

/// A VM for a session's first start is a clone of its template; any later one, and one whose template does not fit this
/// machine any more, boots from the disk; then it is said why.
async fn begin(site: &Site, record: &Record, clock: &mut Clock) -> Result<(GuestVm, Record, Option<String>), VmError> {
    let mut why_booted = None;
    let fresh = record.session.generation == 1;
    if let Some(template) = record.machine.template.as_ref().filter(|_| fresh) {
        let cloned = with_memory(record, Some(template.clone()));
        match GuestVm::resume(&*site.vmm, spec(&cloned, &site.folder), template).await {
            Ok(guest) => {
                clock.phase("clone");
                clock.boots = false;
                return Ok((guest, cloned, None));
            }
            Err(error) => {
                tracing::warn!(slug = record.session.slug, %error, "it boots, because it cannot be cloned");
                why_booted = Some(format!("{error}; run `pilothouse env build {}`", record.session.environment));
            }
        }
    }
    let booted = with_memory(record, None);
    let guest = GuestVm::start(&*site.vmm, spec(&booted, &site.folder)).await?;
    clock.phase("vm");
    Ok((guest, booted, why_booted))
}

fn with_memory(record: &Record, view_of: Option<PathBuf>) -> Record {
    let machine = Machine { view_of, snapshot: None, heard: 0, ..record.machine.clone() };
    Record { session: record.session.clone(), machine }
}

/// A guest with an agent at work.
struct Up {
    link: Arc<Link>,
    pump: Pump,
    found: Found,
    anew: bool,
}

/// From a VM that boots to an agent at work.
async fn bring_up(
    site: &Site,
    record: &Record,
    generation: u64,
    guest: &GuestVm,
    clock: &mut Clock,
) -> Result<Up, NotStarted> {
    let (session, terminal) = (&record.session, &site.terminal);
    let access = access(&record.machine, &site.folder).await.of(&record.session.owner);
    let trust = site.gateway.trust(&access, &session.environment);
    let identity = identity(session, generation).trusting(trust);
    let caller = caller(session, &record.machine, access);
    let met = guest.meet(identity, &site.gateway, caller).await;
    let Met { link, hello } = met.map_err(|error| NotStarted::Failed(error.to_string()))?;
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
    site.may_run().await;
    let anew = start_agent(&link, request, site.timings.agent_start).await?;
    clock.phase("agent");
    fail::fail_point!("start::after-agent");
    Ok(Up { link, pump, found, anew })
}

/// Whether the agent has begun anew. Where the connection is lost on the way the next one is asked: a guest starts its agent once, however
/// often it is told to.
async fn start_agent(link: &Link, request: StartAgentRequest, within: Duration) -> Result<bool, NotStarted> {
    let program = request.command.first().cloned().unwrap_or_default();
    let started = async {
        loop {
            let hello = link.client(within).await.map_err(|error| NotStarted::Failed(error.to_string()))?;
            match hello.client.clone().start_agent(request.clone()).await {
                Ok(started) => return Ok(started.into_inner().anew),
                Err(status) => {
                    if let Some(why) = no_agent(&status) {
                        let program = program.clone();
                        return Err(NotStarted::Ended(Cause::AgentNotStarted { program, why }));
                    }
                    tracing::warn!(program, %status, "the agent is not started yet; trying again");
                    sleep(AGAIN).await;
                }
            }
        }
    };
    let late = || format!("the guest did not start the agent `{program}` within {} s", within.as_secs());
    timeout(within, started).await.unwrap_or_else(|_| Err(NotStarted::Failed(late())))
}

/// Why there will be no agent, however often it is asked; None: there may be one.
fn no_agent(status: &Status) -> Option<NoAgent> {
    match status.code() {
        Code::NotFound => Some(NoAgent::NotFound),
        Code::PermissionDenied => Some(NoAgent::NotExecutable),
        Code::FailedPrecondition | Code::InvalidArgument => {
            Some(NoAgent::Other(hostd_core::text::clean(status.message(), 1024)))
        }
        _ => None,
    }
}

/// The agent's command: what goes on with its conversation where an earlier life of the session may have begun it, else what begins.
/// With it what is run in its place where the conversation is not there, and the pattern of the file by which that is seen.
fn command(record: &Record) -> (Vec<String>, Vec<String>, String) {
    let begins = record.session.command.clone();
    let agent = record.machine.agent.as_deref().filter(|_| record.session.began);
    let Some((agent, goes_on)) = agent.and_then(|agent| Some((agent, agent.goes_on()?))) else {
        return (begins, vec![], String::new());
    };
    let file = agent.conversation_file(&record.machine.environment);
    if file.is_empty() {
        return (goes_on, vec![], file);
    }
    // Where its program has turned to another conversation, the first one is there, and cannot be begun again.
    let anew = match session_id(&record.session.id) {
        Some(first) => begins.iter().map(|word| word.replace(&first, &agent.conversation)).collect(),
        None => begins,
    };
    (goes_on, anew, file)
}

fn agent(record: &Record, terminal: &Terminal) -> StartAgentRequest {
    let (session, size) = (&record.session, terminal.size());
    let (command, anew, conversation_file) = command(record);
    let environment = [
        ("PILOTHOUSE_SESSION", session.id.clone()),
        ("PILOTHOUSE_SLUG", session.slug.clone()),
        ("PILOTHOUSE_TASK", session.task.clone()),
        ("PILOTHOUSE_BRANCH", format!("{}work", session.branch_prefix())),
    ];
    let own = record.machine.environment.clone().into_iter();
    StartAgentRequest {
        command,
        anew,
        conversation_file,
        environment: own.chain(environment.map(|(k, v)| (k.to_owned(), v))).collect::<HashMap<_, _>>(),
        directory: session.directory.clone(),
        columns: size.columns.into(),
        rows: size.rows.into(),
        user: record.machine.user.clone(),
    }
}
