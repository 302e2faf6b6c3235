//! A host whose VMs are made up.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hostd_core::{
    Actor, Effect, Session,
    capacity::Room,
    session::{NewSession, Size},
};

use super::made_up::MadeUp;
pub(super) use super::made_up::{MadeUpVm, Save};
use crate::{
    environments::Environments,
    forge::{Forge, Local},
    gateway::Gateway,
    room::Rooms,
    sessions::{Fleet, News, Parts, SessionView},
    store::{Machine, Record, Store},
    vm::Vmm,
};

/// Longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A data folder with made-up VMs.
#[derive(Clone)]
pub(super) struct World {
    pub(super) folder: Arc<tempfile::TempDir>,
    pub(super) vmm: Arc<MadeUp>,
    /// Bytes of memory that sessions may use.
    pub(super) memory: Option<u64>,
    /// What the host has, in place of what this machine has.
    pub(super) room: Option<Arc<Mutex<Room>>>,
    /// In place of the one that is built in.
    pub(super) forge: Option<Arc<dyn Forge>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            vmm: Arc::default(),
            memory: None,
            room: None,
            forge: None,
        }
    }

    fn rooms(&self) -> Rooms {
        match &self.room {
            Some(room) => {
                let room = room.clone();
                Rooms::measured(move || *room.lock().unwrap())
            }
            None => Rooms::new(self.folder.path().into(), self.memory),
        }
    }

    /// A hostd on the folder, as after a start; an earlier one must be stopped or is taken for killed.
    pub(super) async fn fleet(&self) -> Arc<Fleet> {
        let data = self.folder.path();
        let (store, records) = Store::open(&data.join("store.sqlite")).unwrap();
        let vmm: Arc<dyn Vmm> = self.vmm.clone();
        let gateway = Arc::new(Gateway::new(data.join("git")));
        let rooms = self.rooms();
        let environments = Environments::open(data, vmm.clone(), gateway.clone(), rooms.clone()).await.unwrap();
        let forge = self.forge.clone().unwrap_or_else(|| Arc::new(Local::new(store.clone(), data)));
        let diffs = crate::diff::Diffs::open(data).unwrap();
        let parts = Parts { data: data.into(), store, vmm, gateway, environments, forge, diffs, rooms };
        Fleet::open(parts, records, "epoch".into()).await.unwrap()
    }

    /// Puts a new session into the store, for the next hostd.
    pub(super) async fn session(&self, slug: &str) -> Record {
        self.session_that(slug, None).await
    }

    /// The same, suspended so many seconds after it began to wait.
    pub(super) async fn session_that(&self, slug: &str, suspend_after: Option<u64>) -> Record {
        let (store, known) = Store::open(&self.folder.path().join("store.sqlite")).unwrap();
        let (record, effects) = record(known.len(), slug, suspend_after);
        store.add(&record, effects).await.unwrap();
        record
    }
}

/// Whose sessions these are.
pub(super) fn sam() -> Actor {
    Actor::person("sam")
}

/// A new session, and what is to be done first.
pub(in crate::sessions) fn record(number: usize, slug: &str, suspend_after: Option<u64>) -> (Record, Vec<Effect>) {
    let (session, effects) = Session::new(
        NewSession {
            id: format!("01J{:023}", number),
            slug: slug.into(),
            title: slug.into(),
            task: "do it".into(),
            environment: "demo".into(),
            build: "b".into(),
            owner: "sam".into(),
            command: vec!["agent".into(), "--fast".into()],
            directory: "/work".into(),
            repository: Some("widgets".into()),
            size: Size { vcpus: 1, memory: 256 << 20, disk: 1 << 30 },
            typed_events: false,
        },
        1,
    );
    let machine = Machine { layers: vec!["/base.ext4".into()], suspend_after, ..Machine::default() };
    (Record { session, machine }, effects)
}

/// Waits until the feed shows the session so.
pub(super) async fn until(fleet: &Fleet, slug: &str, what: impl Fn(&SessionView) -> bool) -> SessionView {
    let mut reader = fleet.feed().read("", 0);
    let wait = async {
        loop {
            if let Ok(view) = fleet.get(slug)
                && what(&view)
            {
                return view;
            }
            let (_, News::Snapshot(_) | News::Change(_)) = reader.next().await;
        }
    };
    match tokio::time::timeout(DEADLINE, wait).await {
        Ok(view) => view,
        Err(_) => panic!("not in time: {:?}", fleet.get(slug)),
    }
}

pub(super) async fn until_is(fleet: &Fleet, slug: &str, lifecycle: &str) -> SessionView {
    until(fleet, slug, |view| view.session.lifecycle.word() == lifecycle).await
}
