//! The guest's state, which all calls of `guest.v1` share.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures::Stream;
use pilothouse_proto::guest::v1::BootStep;
use rustix::system::uname;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::{
    agent::Agent,
    events::Events,
    machine::{self, Machine},
    process::{self, Cgroups, Launch, LaunchError, Started},
    typing::Typing,
    waits::Waits,
};

/// Most commands that run at a time.
const EXECS_MAX: usize = 64;
/// Most connections to programs that are open at a time: with them and commands, the link has streams left for all else.
const CONNECTIONS_MAX: usize = 128;
/// Refusal of whatever would start a program while the guest is frozen.
pub(super) const QUIET: &str = "the session is being put to disk at this moment; try again";

/// Messages of a call that streams its answer.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The guest as the host sees it. Clones share it.
#[derive(Clone)]
pub struct Guest(pub(super) Arc<Inner>);

/// State of a guest.
pub(super) struct Inner {
    pub(super) machine: Arc<dyn Machine>,
    pub(super) cgroups: Option<Cgroups>,
    pub(super) agent: Agent,
    pub(super) events: Events,
    pub(super) waits: Waits,
    pub(super) typing: Typing,
    pub(super) boot: Mutex<Vec<BootStep>>,
    /// The kernel's boot id, which all clones of a template share.
    pub(super) boot_id: String,
    /// Release of the guest's kernel.
    pub(super) kernel: String,
    /// Session and generation of the life that was last taken on; None: none was yet.
    pub(super) life: Mutex<Option<(String, u64)>>,
    /// What programs find in their environment because of whom the host has them trust.
    pub(super) variables: Mutex<HashMap<String, String>>,
    /// Number of the freeze that user processes are in, or about to be in, when the machine may stand still; 0: none.
    pub(super) quiet: AtomicU64,
    /// Number of freezes so far.
    pub(super) freezes: AtomicU64,
    /// Number of the last freeze that was carried out.
    pub(super) done: AtomicU64,
    /// Whether the host has said something since the last freeze.
    pub(super) heard: AtomicBool,
    /// Held while the machine freezes or thaws.
    pub(super) freezing: Mutex<()>,
    pub(super) execs: Arc<Semaphore>,
    pub(super) connections: Arc<Semaphore>,
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
            variables: Mutex::default(),
            quiet: AtomicU64::default(),
            freezes: AtomicU64::default(),
            done: AtomicU64::default(),
            heard: AtomicBool::default(),
            freezing: Mutex::default(),
            execs: Arc::new(Semaphore::new(EXECS_MAX)),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
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

    /// What every program finds in its environment because of whom the host has it trust.
    pub(super) fn variables(&self) -> HashMap<String, String> {
        self.0.variables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether user processes are frozen, or about to be.
    pub(super) fn is_quiet(&self) -> bool {
        self.freeze_number() != 0
    }

    /// Number of the freeze that user processes are in, or about to be in; 0: none.
    pub(super) fn freeze_number(&self) -> u64 {
        self.0.quiet.load(Ordering::Relaxed)
    }

    /// Starts a program in a cgroup. Not while user processes are frozen: it would freeze before it has begun, and the
    /// supervisor would wait for that.
    pub(super) fn launch(&self, launch: &Launch, cgroup: &str) -> Result<Started, LaunchError> {
        if self.is_quiet() {
            return Err(LaunchError::new(126, QUIET));
        }
        let door = match &self.0.cgroups {
            None => None,
            Some(cgroups) => Some(
                cgroups
                    .door(cgroup)
                    .map_err(|error| LaunchError::new(126, format!("the cgroup {cgroup} cannot be used: {error}")))?,
            ),
        };
        process::launch(launch, door)
    }
}
