//! What all sessions of a host use. It knows no session.

use std::{path::PathBuf, sync::Arc};

use hostd_core::{
    UnixMillis,
    capacity::{Decision, Need, Room},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{disk::folder::Folder, drain::Drain, feed::Feed, meter::Meter, timings::Timings};
use crate::{
    admission::Admission, clock::now, diff::Diffs, environments::Environments, forge::Forge, gateway::Gateway,
    host_status, store::Store, vm::Vmm,
};

/// Suspends at a time when hostd ends, at the least: one waits for its guest while another writes.
const SUSPENDS: usize = 4;
/// Readings of pull requests at a time: each runs git.
const READINGS: usize = 4;

/// What a fleet is made of.
pub struct Deps {
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
    pub diffs: Arc<Diffs>,
    /// Where they, and all else that runs here, have their room from.
    pub admission: Admission,
    /// How long they wait for what may take its time.
    pub timings: Timings,
}

/// What all sessions of a host use.
pub(super) struct Context {
    pub(super) data: PathBuf,
    pub(super) store: Store,
    pub(super) vmm: Arc<dyn Vmm>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) environments: Arc<Environments>,
    pub(super) forge: Arc<dyn Forge>,
    pub(super) diffs: Arc<Diffs>,
    pub(super) admission: Admission,
    pub(super) timings: Timings,
    /// Whether the host is drained.
    pub(super) drain: Drain,
    /// What is shown of them.
    pub(super) feed: Arc<Feed>,
    /// What is counted of them.
    pub(super) meter: Meter,
    pub(super) turns: Turns,
    pub(super) started_at: UnixMillis,
    /// Cancelled when hostd ends.
    pub(super) closing: CancellationToken,
    /// Cancelled when hostd ends and leaves the VMs of sessions to the next one.
    pub(super) leaving: CancellationToken,
}

/// How many sessions of a host may do the same at a time.
pub(super) struct Turns {
    /// Cold starts: a booting guest takes a processor.
    pub(super) starts: Arc<Semaphore>,
    /// Merges of layers, which are all reading and writing.
    pub(super) merges: Semaphore,
    /// Suspends when hostd ends, which are all packing and writing.
    pub(super) suspends: Semaphore,
    /// Readings of pull requests.
    pub(super) readings: Semaphore,
}

impl Context {
    /// A context whose feed is of this epoch.
    pub(super) fn new(deps: Deps, epoch: String) -> Arc<Self> {
        let Deps { data, store, vmm, gateway, environments, forge, diffs, admission, timings } = deps;
        let cpus = host_status::cpus().max(1) as usize;
        let turns = Turns {
            starts: Arc::new(Semaphore::new(cpus)),
            merges: Semaphore::new(cpus),
            suspends: Semaphore::new(cpus.max(SUSPENDS)),
            readings: Semaphore::new(READINGS),
        };
        let drain = Drain::of(&data);
        admission.close(drain.now().map(|drained| drained.words()));
        Arc::new(Self {
            drain,
            data,
            store,
            vmm,
            gateway,
            environments,
            forge,
            diffs,
            admission,
            timings,
            feed: Feed::new(epoch),
            meter: Meter::default(),
            turns,
            started_at: now(),
            closing: CancellationToken::new(),
            leaving: CancellationToken::new(),
        })
    }

    /// The folder of the session of this id.
    pub(super) fn folder(&self, id: &str) -> Folder {
        Folder::of(&self.data, id)
    }

    /// What is left of the host now. Reads a few files of /proc.
    pub(super) fn room(&self) -> Room {
        self.admission.room()
    }

    /// Whether the disk has room: all that one needs who has its memory already.
    pub(super) fn has_disk(&self) -> bool {
        self.room().admit(Need { memory: 0, disk: 0 }) == Decision::Admit
    }
}
