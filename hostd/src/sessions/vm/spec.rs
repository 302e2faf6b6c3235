//! What a session's VM is made from, who its guest is, and what it may reach.

use hostd_core::{Session, recipe::PullRequests};

use crate::{
    gateway::{Access, Beside, Caller},
    guest::Identity,
    sessions::disk::folder::Folder,
    store::{Machine, Record},
    vm::{Memory, VmSpec},
};

/// What this session's VM is started with, in this folder.
pub(in crate::sessions) fn spec(record: &Record, folder: &Folder) -> VmSpec {
    VmSpec {
        name: record.session.slug.clone(),
        directory: folder.path().into(),
        size: record.session.size,
        layers: record.machine.layers.clone(),
        disk: folder.layer(&record.machine.disk),
        memory: record.machine.view_of.clone().map_or(Memory::Own, Memory::Clone),
        cpu: record.machine.cpu,
    }
}

/// Which credentials the requests of this session's guest are given, by the authority that its folder keeps.
pub(super) async fn access(machine: &Machine, folder: &Folder) -> Access {
    Access::to(&machine.credentials, Some(folder.authority())).await
}

/// Who the guest of this session is in this generation.
pub(super) fn identity(session: &Session, generation: u64) -> Identity {
    Identity::lasting(&session.id, session.slug.clone(), generation)
}

/// What the guest of this session may reach.
pub(super) fn caller(session: &Session, machine: &Machine, access: Access) -> Caller {
    Caller {
        session_id: session.id.clone(),
        slug: session.slug.clone(),
        environment: session.environment.clone(),
        repository: session.repository.clone(),
        branch_prefix: session.repository.as_ref().map(|_| session.branch_prefix()),
        opens_pulls: (machine.pull_requests == PullRequests::OnPush).then(|| machine.branch.clone()),
        also_read: machine.also_read.clone(),
        egress: machine.egress.clone(),
        beside: Beside::default(),
        access,
    }
}
