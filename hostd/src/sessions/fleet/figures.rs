//! Figures of all sessions, for whoever watches the host.

use std::collections::BTreeMap;

use hostd_core::{Cause, Lifecycle, Turn, attention, capacity::Room};

use super::Fleet;
use crate::{
    admission::Kind,
    clock::now,
    host_status::HostStatus,
    sessions::{feed::WarmView, meter::Meter},
};

/// How a host and its sessions stand at one moment.
#[derive(Debug)]
pub(crate) struct Figures {
    /// The host itself.
    pub(crate) host: HostStatus,
    /// What is left of it for VMs.
    pub(crate) room: Room,
    /// Number of sessions by state.
    pub(crate) states: BTreeMap<&'static str, u64>,
    /// Number of sessions by whose turn it is.
    pub(crate) turns: BTreeMap<&'static str, u64>,
    /// Number of crashed sessions by the kind of their cause.
    pub(crate) crashed: BTreeMap<String, u64>,
    /// Number of sessions that stand still because the store cannot be written.
    pub(crate) standing_still: u64,
    /// Number of sessions that wait for room.
    pub(crate) waiting: u64,
    /// Number of terminals that people are attached to.
    pub(crate) viewers: u64,
    /// VMs by what they are for: how many, and the memory that is theirs alone.
    pub(crate) vms: [(&'static str, u64, u64); 5],
    /// Memory of VMs that stand by without a guest, in bytes.
    pub(crate) standing_by: u64,
    /// Environments with the number of their sessions, and their warm VMs.
    pub(crate) environments: Vec<(String, u64, WarmView)>,
}

impl Fleet {
    /// What sessions count.
    pub(crate) fn meter(&self) -> &Meter {
        &self.ctx().meter
    }

    /// How the host and its sessions stand. Reads files of /proc for each VM, and so blocks for milliseconds.
    pub(crate) fn figures(&self) -> Figures {
        let (ctx, registry, pool) = (self.ctx(), self.registry(), &self.supervisors.pool);
        let now = now();
        let mut states: BTreeMap<_, _> = STATES.map(|state| (state, 0)).into();
        let mut turns: BTreeMap<_, _> = TURNS.map(|turn| (turn.word(), 0)).into();
        let mut crashed: BTreeMap<_, _> =
            Cause::words_of_crashes().into_iter().map(|word| (word.to_owned(), 0)).collect();
        let (mut waiting, mut standing_still, mut viewers) = (0, 0, 0);
        for handle in registry.all() {
            let record = handle.record.borrow().clone();
            let session = &record.session;
            *states.entry(session.lifecycle.word()).or_default() += 1;
            *turns.entry(attention(session, now).turn.word()).or_default() += 1;
            if let Lifecycle::Crashed { cause } = &session.lifecycle {
                *crashed.entry(cause.word().into()).or_default() += 1;
            }
            waiting += u64::from(session.waits_for_room());
            standing_still += u64::from(handle.unwritten.borrow().is_some());
            viewers += *handle.terminal.viewers().borrow() as u64;
        }
        let lives = registry.lives();
        let session = lives.iter().map(|live| live.vm.memory().private).sum();
        let of = |kind| {
            let (count, memory) = ctx.admission.vms(kind);
            (count, memory)
        };
        let [ci, build, copy] = [Kind::Ci, Kind::Build, Kind::Copy].map(of);
        let environments = ctx.feed.snapshot().environments;
        Figures {
            host: HostStatus::read(&ctx.data, ctx.vmm.info(), ctx.started_at),
            room: ctx.room(),
            states,
            turns,
            crashed,
            standing_still,
            waiting,
            viewers,
            vms: [
                ("session", lives.len() as u64, session),
                ("warm", pool.ready().into(), pool.used()),
                ("check", ci.0, ci.1),
                ("build", build.0, build.1),
                ("copy", copy.0, copy.1),
            ],
            standing_by: ctx.vmm.standing_by().private,
            environments: environments.into_iter().map(|one| (one.info.name, one.sessions as u64, one.warm)).collect(),
        }
    }
}

/// The words of all states.
const STATES: [&str; 8] =
    ["queued", "starting", "running", "suspending", "suspended", "resuming", "stopped", "crashed"];
/// All whose turn it may be.
const TURNS: [Turn; 5] = [Turn::You, Turn::Checks, Turn::Other, Turn::Agent, Turn::Nobody];
