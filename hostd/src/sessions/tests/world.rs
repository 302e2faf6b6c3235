//! A host whose VMs are fakes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hostd_core::{
    Actor, Effect, Session,
    capacity::Room,
    session::{NewSession, Size, TypedEvents},
};

pub(super) use crate::testing::{FakeVm, Save};
use crate::{
    admission::Admission,
    environments::Environments,
    forge::{BareRepositories, Forge, Local},
    gateway::Gateway,
    sessions::{Deps, Fleet, News, SessionView, Timings},
    store::{Machine, Record, Store},
    testing::FakeVmm,
    vm::Vmm,
};

/// Longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A data folder with made-up VMs.
#[derive(Clone)]
pub(super) struct World {
    pub(super) folder: Arc<tempfile::TempDir>,
    pub(super) vmm: Arc<FakeVmm>,
    /// Bytes of memory that sessions may use.
    pub(super) memory: Option<u64>,
    /// What the host has, in place of what this machine has.
    pub(super) room: Option<Arc<Mutex<Room>>>,
    /// In place of the one that is built in.
    pub(super) forge: Option<Arc<dyn Forge>>,
    pub(super) timings: Timings,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            vmm: Arc::default(),
            memory: None,
            room: None,
            forge: None,
            timings: timings(),
        }
    }

    fn admission(&self) -> Admission {
        match &self.room {
            Some(room) => {
                let room = room.clone();
                Admission::measured(move || *room.lock().unwrap())
            }
            None => Admission::new(self.folder.path().into(), self.memory),
        }
    }

    /// A hostd on the folder, as after a start; an earlier one must be stopped or is taken for killed.
    pub(super) async fn fleet(&self) -> Arc<Fleet> {
        let data = self.folder.path();
        let (store, records) = Store::open(&data.join("store.sqlite")).unwrap();
        let vmm: Arc<dyn Vmm> = self.vmm.clone();
        let mirror = BareRepositories::at(data.join("git"));
        let gateway = Arc::new(Gateway::new(mirror.clone()));
        let admission = self.admission();
        let environments = Environments::open(data, vmm.clone(), gateway.clone(), mirror.clone(), admission.clone());
        let environments = environments.await.unwrap();
        let forge = self.forge.clone().unwrap_or_else(|| Arc::new(Local::new(Arc::new(store.clone()), data)));
        let diffs = Arc::new(crate::diff::Diffs::open(data, mirror).unwrap());
        self.vmm.has_store(&data.join("store.sqlite"));
        let (data, timings) = (data.into(), self.timings);
        let deps = Deps { data, store, vmm, gateway, environments, forge, diffs, admission, timings };
        Fleet::open(deps, records, "epoch".into()).await.unwrap()
    }

    /// A hostd on the folder that a test kills: all of it is gone then, at once.
    pub(super) async fn doomed(&self) -> Doomed {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let world = self.clone();
        let fleet = runtime.spawn(async move { world.fleet().await }).await.unwrap();
        Doomed { fleet, runtime: Some(runtime) }
    }

    /// Puts a new session into the store, for the next hostd.
    pub(super) async fn session(&self, slug: &str) -> Record {
        self.session_that(slug, None).await
    }

    /// The same, suspended so many seconds after it began to wait.
    pub(super) async fn session_that(&self, slug: &str, suspend_after: Option<u64>) -> Record {
        self.session_with(slug, |record| record.machine.suspend_after = suspend_after).await
    }

    /// The same, changed before it is stored.
    pub(super) async fn session_with(&self, slug: &str, change: impl FnOnce(&mut Record)) -> Record {
        let (store, known) = Store::open(&self.folder.path().join("store.sqlite")).unwrap();
        let (mut record, effects) = record(known.len(), slug, None);
        change(&mut record);
        store.add(&record, effects).await.unwrap();
        record
    }
}

/// A hostd that is killed.
pub(super) struct Doomed {
    pub(super) fleet: Arc<Fleet>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Doomed {
    /// Kills it, as by a signal: its VMs run on.
    pub(super) async fn kill(mut self) {
        // Nothing that would end a VM happens in a process that is killed; here tasks see each other end.
        drop(self.fleet.leaves_at_end());
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(DEADLINE)).await.unwrap();
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What tests have patience for.
pub(in crate::sessions) fn timings() -> Timings {
    Timings {
        agent_start: Duration::from_secs(2),
        link_lost: Duration::from_secs(2),
        store_pause: Duration::from_millis(5),
        stop: Duration::from_secs(60),
        last_tries: Duration::from_millis(50),
        merge_pause: Duration::from_millis(50),
        forge_pause: Duration::from_millis(100),
        memory_look: Duration::from_millis(50),
        copy_room: Duration::from_millis(200),
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
            typed_events: TypedEvents::default(),
            answers: hostd_core::profile::Answers::default(),
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

/// Waits until the VM of the session is this hostd's.
pub(super) async fn until_live(fleet: &Fleet, slug: &str) -> SessionView {
    let handle = fleet.handle(slug).unwrap();
    let mut live = handle.live.subscribe();
    let waited = tokio::time::timeout(DEADLINE, live.wait_for(Option::is_some)).await;
    assert!(waited.is_ok(), "no VM in time: {:?}", fleet.get(slug));
    fleet.get(slug).unwrap()
}

pub(super) async fn until_is(fleet: &Fleet, slug: &str, lifecycle: &str) -> SessionView {
    until(fleet, slug, |view| view.session.lifecycle.word() == lifecycle).await
}
