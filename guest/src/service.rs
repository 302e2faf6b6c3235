//! `guest.v1.Guest`: checks what the host asks, does it, answers.

mod check;
mod exec;
mod handshake;
mod power;
mod terminal;
mod typing;

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures::Stream;
use pilothouse_proto::guest::v1::{
    AnswerRequest, AnswerResponse, BootStep, Event, EventsRequest, ExecRequest, ExecResponse, HandshakeRequest,
    HandshakeResponse, PowerOffRequest, PowerOffResponse, QuiesceRequest, QuiesceResponse, StartAgentRequest,
    StartAgentResponse, TerminalRequest, TerminalResponse, TypeRequest, TypeResponse, UsageRequest, UsageResponse,
    event, guest_server,
};
pub(crate) use power::Vigil;
use rustix::system::uname;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    agent::{Agent, Context},
    environment,
    events::Events,
    machine::{self, Machine},
    process::{self, Cgroups, Launch, LaunchError, Started},
    typing::Typing,
    user::User,
    waits::Waits,
};

/// Most commands that run at a time.
const EXECS_MAX: usize = 64;
/// Refusal of whatever would start a program while the guest is frozen.
const QUIET: &str = "the session is being put to disk at this moment; try again";

/// Messages of a call that streams its answer.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The guest as the host sees it. Clones share it.
#[derive(Clone)]
pub struct Guest(Arc<Inner>);

struct Inner {
    machine: Arc<dyn Machine>,
    cgroups: Option<Cgroups>,
    agent: Agent,
    events: Events,
    waits: Waits,
    typing: Typing,
    boot: Mutex<Vec<BootStep>>,
    /// The kernel's boot id, which all clones of a template share.
    boot_id: String,
    /// Release of the guest's kernel.
    kernel: String,
    /// Session and generation of the life that was last taken on; None: none was yet.
    life: Mutex<Option<(String, u64)>>,
    /// Number of the freeze that user processes are in, or about to be in, when the machine may stand still; 0: none.
    quiet: AtomicU64,
    /// Number of freezes so far.
    freezes: AtomicU64,
    /// Number of the last freeze that was carried out.
    done: AtomicU64,
    /// Whether the host has said something since the last freeze.
    heard: AtomicBool,
    /// Held while the machine freezes or thaws.
    freezing: Mutex<()>,
    execs: Arc<Semaphore>,
}

impl Guest {
    /// A guest on this machine that was booted by these steps.
    #[must_use]
    pub fn new(machine: Arc<dyn Machine>, cgroups: Option<Cgroups>, boot: Vec<BootStep>) -> Self {
        let (events, agent) = (Events::default(), Agent::default());
        let waits = Waits::new(events.clone());
        Self(Arc::new(Inner {
            machine,
            cgroups,
            typing: Typing::new(agent.clone(), waits.clone()),
            agent,
            waits,
            events,
            boot: Mutex::new(boot),
            boot_id: std::fs::read_to_string(machine::BOOT_ID).unwrap_or_default().trim().into(),
            kernel: uname().release().to_string_lossy().into_owned(),
            life: Mutex::default(),
            quiet: AtomicU64::default(),
            freezes: AtomicU64::default(),
            done: AtomicU64::default(),
            heard: AtomicBool::default(),
            freezing: Mutex::default(),
            execs: Arc::new(Semaphore::new(EXECS_MAX)),
        }))
    }

    /// Events of this guest.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// Waits of this guest's agent.
    #[must_use]
    pub fn waits(&self) -> &Waits {
        &self.0.waits
    }

    /// Whether user processes are frozen, or about to be.
    fn is_quiet(&self) -> bool {
        self.freeze_number() != 0
    }

    fn freeze_number(&self) -> u64 {
        self.0.quiet.load(Ordering::Relaxed)
    }

    /// Starts a program in a cgroup. Not while user processes are frozen: it would freeze before it has begun, and the
    /// supervisor would wait for that.
    fn launch(&self, launch: &Launch, cgroup: &str) -> Result<Started, LaunchError> {
        if self.is_quiet() {
            return Err(LaunchError { code: 126, message: QUIET.into() });
        }
        let door = match &self.0.cgroups {
            None => None,
            Some(cgroups) => Some(cgroups.door(cgroup).map_err(|error| LaunchError {
                code: 126,
                message: format!("the cgroup {cgroup} cannot be used: {error}"),
            })?),
        };
        process::launch(launch, door)
    }

    fn start(&self, request: StartAgentRequest) -> Result<StartAgentResponse, Status> {
        check::command(&request.command)?;
        check::environment(&request.environment)?;
        let window = check::window(request.columns, request.rows)?;
        let directory = if request.directory.is_empty() { "/".into() } else { request.directory };
        let user = User::find(&request.user)
            .map_err(|error| Status::failed_precondition(format!("the agent cannot be started: {error}")))?;
        let context = Context { environment: request.environment, directory, user: user.name.clone() };
        let launch = Launch {
            command: request.command,
            environment: environment::of(&user, [&context.environment]),
            directory: context.directory.clone(),
            terminal: Some(window),
            user: Some(user),
        };
        let events = self.0.events.clone();
        let ended = move |exit| events.push(event::Event::AgentExited(exit));
        let started = self.0.agent.start(context, || self.launch(&launch, "agent"), ended);
        let agent =
            started.map_err(|error| Status::failed_precondition(format!("the agent cannot be started: {error}")))?;
        Ok(StartAgentResponse { agent: Some(agent) })
    }

    fn follow(&self, after: u64) -> Answers<Event> {
        let events = self.0.events.clone();
        events.acknowledge(after);
        let news = events.news();
        Box::pin(futures::stream::unfold((events, news, after), |(events, mut news, after)| async move {
            loop {
                news.borrow_and_update();
                if let Some(event) = events.next(after) {
                    let sequence = event.sequence;
                    return Some((Ok(event), (events, news, sequence)));
                }
                news.changed().await.ok()?;
            }
        }))
    }
}

#[tonic::async_trait]
impl guest_server::Guest for Guest {
    type TerminalStream = Answers<TerminalResponse>;
    type ExecStream = Answers<ExecResponse>;
    type EventsStream = Answers<Event>;
    type TypeStream = Answers<TypeResponse>;

    async fn handshake(&self, request: Request<HandshakeRequest>) -> Result<Response<HandshakeResponse>, Status> {
        handshake::shake(self, request.into_inner()).await.map(Response::new)
    }

    async fn start_agent(&self, request: Request<StartAgentRequest>) -> Result<Response<StartAgentResponse>, Status> {
        self.start(request.into_inner()).map(Response::new)
    }

    async fn terminal(
        &self,
        request: Request<Streaming<TerminalRequest>>,
    ) -> Result<Response<Self::TerminalStream>, Status> {
        terminal::open(self.0.agent.clone(), request.into_inner()).await.map(Response::new)
    }

    async fn r#type(&self, request: Request<TypeRequest>) -> Result<Response<Self::TypeStream>, Status> {
        typing::take(&self.0.typing, request.into_inner()).map(Response::new)
    }

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        exec::run(self, request.into_inner()).await.map(Response::new)
    }

    async fn quiesce(&self, request: Request<QuiesceRequest>) -> Result<Response<QuiesceResponse>, Status> {
        power::quiesce(self, request.into_inner()).await.map(Response::new)
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        Ok(Response::new(self.follow(request.into_inner().after)))
    }

    async fn usage(&self, _: Request<UsageRequest>) -> Result<Response<UsageResponse>, Status> {
        Ok(Response::new(machine::usage::usage()))
    }

    async fn answer(&self, request: Request<AnswerRequest>) -> Result<Response<AnswerResponse>, Status> {
        let AnswerRequest { wait, json } = request.into_inner();
        Ok(Response::new(AnswerResponse { known: self.0.waits.answer(wait, json) }))
    }

    async fn power_off(&self, _: Request<PowerOffRequest>) -> Result<Response<PowerOffResponse>, Status> {
        power::off(self.0.machine.clone()).await.map(Response::new)
    }
}
