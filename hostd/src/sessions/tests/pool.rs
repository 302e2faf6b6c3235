//! Warm VMs of a fleet on a host whose memory is as the test says.

use std::sync::{Arc, Mutex};

use hostd_core::capacity::Room;

use super::{
    super::{CreateSession, Deps, Fleet, News},
    world::{sam, until_is, until_live},
};
use crate::{
    admission::Admission,
    environments::tests::{Fixture, RECIPE},
    forge::{BareRepositories, Local},
    gateway::Gateway,
    store::Store,
};

const MIB: u64 = 1 << 20;
/// Of the host below.
const RESERVE: u64 = 1024 * MIB;

/// A host of 16 GiB, an environment of 64 MiB that keeps two warm VMs, and what is available now.
struct Warm {
    fixture: Fixture,
    room: Arc<Mutex<Room>>,
    fleet: Arc<Fleet>,
}

impl Warm {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        fixture.register(&RECIPE.replace("setup", "warm = { min = 2, max = 2 }\nsetup")).await;
        fixture.built().await;
        let room = Arc::new(Mutex::new(Room {
            memory_total: 16 * RESERVE,
            memory_available: 8 * RESERVE,
            memory_promised: 0,
            memory_limit: None,
            memory_used: 0,
            disk_total: 100 << 30,
            disk_available: 50 << 30,
            descriptors: 1024,
        }));
        let fleet = Self::open(&fixture, &room).await;
        let warm = Self { fixture, room, fleet };
        warm.until_running(2).await;
        warm
    }

    /// A hostd on the folder.
    async fn open(fixture: &Fixture, room: &Arc<Mutex<Room>>) -> Arc<Fleet> {
        let data = fixture.data.path();
        let (store, records) = Store::open(&data.join("store.sqlite")).unwrap();
        let measured = room.clone();
        let deps = Deps {
            data: data.into(),
            forge: Arc::new(Local::new(Arc::new(store.clone()), data)),
            store,
            vmm: fixture.vmm.clone(),
            gateway: Arc::new(Gateway::new(BareRepositories::at(data.join("git")))),
            environments: fixture.environments.clone(),
            diffs: Arc::new(crate::diff::Diffs::open(data, BareRepositories::at(data.join("git"))).unwrap()),
            admission: Admission::measured(move || *measured.lock().unwrap()),
            timings: super::world::timings(),
        };
        Fleet::open(deps, records, "epoch".into()).await.unwrap()
    }

    fn available(&self, bytes: u64) {
        self.room.lock().unwrap().memory_available = bytes;
    }

    /// Waits until so many VMs run.
    async fn until_running(&self, count: usize) {
        let mut reader = self.fleet.feed().read("", 0);
        let reached = async {
            while self.fixture.vmm.running() != count {
                self.fleet.pool().look_again();
                let (_, News::Snapshot(_) | News::Change(_)) = reader.next().await;
            }
        };
        let reached = tokio::time::timeout(std::time::Duration::from_secs(30), reached).await;
        assert!(reached.is_ok(), "{} run", self.fixture.vmm.running());
    }

    fn order(&self) -> CreateSession {
        CreateSession {
            environment: "python".into(),
            task: "do it".into(),
            owner: "sam".into(),
            ..CreateSession::default()
        }
    }
}

#[tokio::test]
async fn the_pool_is_gone_when_memory_is_and_comes_back_with_it() {
    let warm = Warm::new().await;
    warm.available(RESERVE / 2);
    warm.until_running(0).await;
    warm.available(8 * RESERVE);
    warm.until_running(2).await;
    warm.fleet.stop().await;
    assert_eq!(warm.fixture.vmm.running(), 0);
}

#[tokio::test]
async fn a_warm_vm_is_used_where_memory_has_no_room_for_another() {
    let warm = Warm::new().await;
    let started = warm.fixture.vmm.specs().len();
    // All places to boot in are taken, too.
    let places = warm.fleet.ctx().turns.starts.clone();
    let _booting = places.acquire_many_owned(u32::try_from(places_of(&warm)).unwrap()).await.unwrap();
    warm.available(RESERVE + 32 * MIB);
    let slug = warm.fleet.create(warm.order()).await.unwrap().session.slug;
    until_is(&warm.fleet, &slug, "running").await;
    assert_eq!(warm.fixture.vmm.specs().len(), started, "it was not booted");
    warm.fleet.stop().await;
}

/// Its files are in the warm VM's folder, and its disk is in both.
#[tokio::test]
async fn a_session_in_a_warm_vm_is_taken_over_with_it() {
    let mut warm = Warm::new().await;
    let slug = warm.fleet.create(warm.order()).await.unwrap().session.slug;
    until_is(&warm.fleet, &slug, "running").await;
    let taken = warm.fleet.pool().taken(&warm.fleet.get(&slug).unwrap().session.id).unwrap();
    assert!(taken.starts_with(warm.fixture.data.path().join("warm")));
    let next = Warm::open(&warm.fixture, &warm.room).await;
    until_live(&next, &slug).await;
    let view = next.get(&slug).unwrap();
    assert_eq!((view.session.lifecycle.word(), view.session.generation), ("running", 1));
    assert_eq!(next.pool().taken(&view.session.id), Some(taken.clone()));
    assert!(!warm.fixture.vmm.orphans.lock().unwrap().contains(&taken) && taken.exists());
    let others = warm.fixture.data.path().join("warm").read_dir().unwrap().count();
    assert!(others <= 3, "what nobody has taken is ended");
    warm.fleet = next;
    warm.fleet.by(sam()).delete(&slug).await.unwrap();
    while taken.exists() {
        tokio::task::yield_now().await;
    }
    warm.fleet.stop().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_warm_vm_that_is_not_taken_over() {
    let mut warm = Warm::new().await;
    let slug = warm.fleet.create(warm.order()).await.unwrap().session.slug;
    until_is(&warm.fleet, &slug, "running").await;
    let taken = warm.fleet.pool().taken(&warm.fleet.get(&slug).unwrap().session.id).unwrap();
    *warm.fixture.vmm.unknown.lock().unwrap() = Some("its process runs another program".into());
    std::fs::write(taken.join("qemu.log"), "its words").unwrap();
    warm.fleet = Warm::open(&warm.fixture, &warm.room).await;
    until_is(&warm.fleet, &slug, "crashed").await;
    let log = warm.fleet.directory(&slug).unwrap().join("qemu.log");
    assert!(!taken.exists() && log.exists());
    warm.fleet.stop().await;
}

fn places_of(warm: &Warm) -> usize {
    warm.fleet.ctx().turns.starts.available_permits()
}
