//! Who is suspended when, and what is refused on the way back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use hostd_core::{Activity, requirements::Requirements};
use rstest::rstest;

use super::world::{World, sam, until, until_is};
use crate::{
    store::{Machine, Record, Store},
    terminals::AttachOptions,
    vm::snapshot::store::{Manifest, Stored},
};

/// Puts a template there, and the session into the store as its clone.
async fn cloned(world: &World, template: &Path) -> PathBuf {
    let record = world.session("fix").await;
    let beside = template.with_extension("new");
    fs::create_dir(&beside).unwrap();
    let stored = ["memory.zst", "devices"].map(|name| {
        fs::write(beside.join(name), "ready\r\n").unwrap();
        Stored::of(&beside, name).unwrap()
    });
    let [memory, devices] = stored;
    let manifest = Manifest::new(1, Requirements::default(), 0, "disk.qcow2".into(), memory, devices);
    manifest.publish(&beside, template).unwrap();
    let folder = world.folder.path().join("sessions").join(&record.session.id);
    let machine = Machine { template: Some(template.into()), ..record.machine };
    let (store, _) = Store::open(&world.folder.path().join("store.sqlite")).unwrap();
    store.commit(&Record { session: record.session, machine }, vec![], vec![], vec![]).await.unwrap();
    folder
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

#[rstest]
#[case::another_qemu(|snapshot: &Path, _: &Path| {
    let manifest = snapshot.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"qemu\": \"\"", "\"qemu\": \"0123456789abcdef\"")).unwrap();
}, "another build of QEMU ( 0123456789ab")]
#[case::no_template(|_: &Path, template: &Path| fs::remove_dir_all(template).unwrap(), "template/manifest.json")]
#[case::no_memory(|snapshot: &Path, _: &Path| fs::remove_file(snapshot.join("memory.zst")).unwrap(), "snapshot/memory.zst")]
#[tokio::test]
async fn what_does_not_fit_is_named_and_can_be_booted(#[case] change: fn(&Path, &Path), #[case] said: &str) {
    let world = World::new();
    let template = world.folder.path().join("template");
    let folder = cloned(&world, &template).await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    fleet.by(sam()).suspend("fix").await.unwrap();
    let snapshot = folder.join("snapshot");
    change(&snapshot, &template);
    let before = contents(&snapshot);
    let error = fleet.by(sam()).resume("fix").await.err().unwrap().to_string();
    assert!(error.contains(said) && error.contains("or restart it: that boots it from its disk"), "{error}");
    let view = fleet.get("fix").unwrap();
    assert!(view.session.lifecycle.word() == "suspended" && view.session.notice.contains(said), "{view:?}");
    assert_eq!(contents(&snapshot), before);
    fleet.by(sam()).restart("fix", false).await.unwrap();
    let view = until_is(&fleet, "fix", "running").await;
    assert_eq!((view.session.generation, view.suspended), (3, 0));
    let vm = world.vmm.vm(world.vmm.started() - 1);
    assert_eq!(vm.spec.layers.last(), Some(&folder.join("disk.qcow2")));
    fleet.stop().await;
}

#[tokio::test]
async fn whoever_is_looked_at_is_not_suspended() {
    let world = World::new();
    for slug in ["seen", "unseen"] {
        let Record { session, machine } = world.session(slug).await;
        let (store, _) = Store::open(&world.folder.path().join("store.sqlite")).unwrap();
        let machine = Machine { suspend_after: Some(1), ..machine };
        store.commit(&Record { session, machine }, vec![], vec![], vec![]).await.unwrap();
    }
    let fleet = world.fleet().await;
    for slug in ["seen", "unseen"] {
        until_is(&fleet, slug, "running").await;
    }
    let viewer =
        fleet.terminal("seen").unwrap().attach(AttachOptions { observe: true, ..AttachOptions::default() }).await;
    for slug in ["seen", "unseen"] {
        let number = (0..2).find(|&number| world.vmm.vm(number).spec.name == slug).unwrap();
        world.vmm.vm(number).guest.status("idle", "");
        until(&fleet, slug, |view| view.session.activity == Activity::Idle || !view.session.lifecycle.has_vm()).await;
    }
    // It began to idle before the one that is suspended now.
    until_is(&fleet, "unseen", "suspended").await;
    assert_eq!(fleet.get("seen").unwrap().session.lifecycle.word(), "running");
    drop(viewer);
    until_is(&fleet, "seen", "suspended").await;
    let view = fleet.get("seen").unwrap();
    assert_eq!((view.memory.private, world.vmm.running()), (0, 0));
    fleet.stop().await;
}
