use std::{fs, path::Path, pin::pin, time::Duration};

use tokio::time::timeout;

use super::world::{Save, World, sam, until, until_is};

/// For a merge.
const WITHIN: Duration = Duration::from_secs(30);

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".qcow2"));
    names.sort();
    names
}

#[tokio::test]
async fn a_chain_does_not_grow_and_nothing_of_it_is_lost() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let folder = world.folder.path().join("sessions").join(id);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    for cycle in 1..=6 {
        fleet.by(sam()).suspend("fix").await.unwrap();
        let resumed = fleet.by(sam()).resume("fix").await.unwrap();
        assert_eq!(resumed.session.generation, cycle + 1);
        let vm = world.vmm.vm(usize::try_from(cycle).unwrap());
        let began = vm.spec.layers.len();
        assert!((2..=3).contains(&began) && vm.spec.layers[0].to_str() == Some("/base.ext4"), "{:?}", vm.spec.layers);
        let mut record = fleet.handle("fix").unwrap().record.subscribe();
        let merged = record.wait_for(|record| record.machine.layers.len() == 2);
        let own = timeout(WITHIN, merged).await.unwrap().unwrap().machine.layers[1].clone();
        // The made-up merge writes all of what it merges, and the VM that runs meanwhile is on that.
        let all = "disk".repeat(usize::try_from(cycle).unwrap());
        let mut chain = vm.chain.subscribe();
        timeout(WITHIN, chain.wait_for(|chain| chain.len() == 3 && chain[1] == all)).await.unwrap().unwrap();
        assert_eq!(fs::read_to_string(&own).unwrap(), all);
        let top = vm.spec.disk.file_name().unwrap().to_str().unwrap();
        // The next one is made when it is wanted. What was merged goes after its VM has let go of it.
        let wanted = [top, own.file_name().unwrap().to_str().unwrap()];
        timeout(WITHIN, async {
            while names(&folder) != wanted {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_resume_waits_for_a_merge_only_where_the_chain_would_grow_further() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    fleet.by(sam()).suspend("fix").await.unwrap();
    fleet.by(sam()).resume("fix").await.unwrap();
    let merging = world.vmm.merging.lock().await;
    fleet.by(sam()).suspend("fix").await.unwrap();
    timeout(WITHIN, fleet.by(sam()).resume("fix")).await.unwrap().unwrap();
    assert_eq!(world.vmm.vm(2).spec.layers.len(), 3, "base, and what is being merged");
    fleet.by(sam()).suspend("fix").await.unwrap();
    let by = fleet.by(sam());
    let mut resumed = pin!(by.resume("fix"));
    assert!(timeout(Duration::from_millis(300), &mut resumed).await.is_err(), "the chain grows");
    assert_eq!(world.vmm.started(), 3);
    drop(merging);
    timeout(WITHIN, resumed).await.unwrap().unwrap();
    let vm = world.vmm.vm(3);
    assert!(vm.spec.layers.len() <= 3, "{:?}", vm.spec.layers);
    let mut chain = vm.chain.subscribe();
    let all = chain.wait_for(|chain| chain[1..] == ["disk".repeat(3), "disk".into()]);
    timeout(WITHIN, all).await.unwrap().unwrap();
    fleet.stop().await;
}

#[tokio::test]
async fn what_no_record_names_is_swept() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let folder = world.folder.path().join("sessions").join(id);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    fleet.by(sam()).suspend("fix").await.unwrap();
    fleet.stop().await;
    for name in ["merged-1.qcow2", "disk-9.qcow2", "next-1.qcow2", "next.new.qcow2"] {
        fs::write(folder.join(name), "half").unwrap();
    }
    let fleet = world.fleet().await;
    assert_eq!(names(&folder), ["disk.qcow2", "next-1073741824.qcow2"]);
    fleet.by(sam()).resume("fix").await.unwrap();
    fleet.stop().await;
}

#[tokio::test]
async fn what_cannot_be_resumed_boots_from_its_disk() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let folder = world.folder.path().join("sessions").join(id);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    fleet.by(sam()).suspend("fix").await.unwrap();
    let error = fleet.by(sam()).restart("fix", false).await.err().unwrap().to_string();
    assert!(error.contains("resume it"), "{error}");
    let memory = folder.join("snapshot/memory.zst");
    fs::write(&memory, "memory.zsd").unwrap();
    let error = fleet.by(sam()).resume("fix").await.err().unwrap().to_string();
    assert!(error.contains("memory.zst is damaged") && error.contains("restart it"), "{error}");
    let view = fleet.get("fix").unwrap();
    assert_eq!(hostd_core::attention(&view.session, 0).turn, hostd_core::Turn::You);
    assert_eq!(fs::read_to_string(&memory).unwrap(), "memory.zsd");
    // Kept until the guest that boots has shaken hands.
    world.vmm.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    fleet.by(sam()).restart("fix", false).await.unwrap();
    until_is(&fleet, "fix", "starting").await;
    assert!(memory.exists());
    world.vmm.silent.store(false, std::sync::atomic::Ordering::Relaxed);
    until_is(&fleet, "fix", "running").await;
    let vm = world.vmm.vm(1);
    assert_eq!((vm.spec.layers.len(), vm.spec.disk.file_name().unwrap().to_str()), (2, Some("disk-2.qcow2")));
    fleet.by(sam()).suspend("fix").await.unwrap();
    fleet.by(sam()).resume("fix").await.unwrap();
    fleet.stop().await;
}

#[tokio::test]
async fn a_snapshot_that_fails_lets_the_session_run_on() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    *world.vmm.saves.lock().unwrap() = Save::Fails;
    let error = fleet.by(sam()).suspend("fix").await.err().unwrap().to_string();
    assert_eq!(error, "not suspended: fake failed: no room; it runs on; suspend it again");
    let view = fleet.get("fix").unwrap();
    assert_eq!((view.session.lifecycle.word(), view.session.generation, world.vmm.running()), ("running", 1, 1));
    assert_eq!(view.attention.reason, "working (could not be suspended)");
    fleet.by(sam()).suspend("fix").await.unwrap();
    fleet.stop().await;
}

#[tokio::test]
async fn a_suspend_that_panics_leaves_no_vm() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let before = world.vmm.orphans.lock().unwrap().len();
    *world.vmm.saves.lock().unwrap() = Save::Panics;
    let error = fleet.by(sam()).suspend("fix").await.err().unwrap().to_string();
    assert!(error.starts_with("not suspended: ") && error.contains("please report this"), "{error}");
    let view = until(&fleet, "fix", |view| view.session.lifecycle.word() == "crashed").await;
    assert!(hostd_core::attention(&view.session, 0).reason.contains("please report this"));
    assert_eq!(world.vmm.orphans.lock().unwrap().len(), before + 1);
    fleet.stop().await;
}

#[tokio::test]
async fn a_resume_finds_its_layer_made_and_empty() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let folder = world.folder.path().join("sessions").join(id);
    let made = || world.vmm.disks.load(std::sync::atomic::Ordering::Relaxed);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    fleet.by(sam()).suspend("fix").await.unwrap();
    // Once in the beginning, and once now.
    assert_eq!(world.vmm.settled.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert_eq!((made(), names(&folder)), (2, vec!["disk.qcow2".into(), "next-1073741824.qcow2".into()]));
    // Of an attempt that hostd did not survive.
    fs::write(folder.join("disk-2.qcow2"), "written").unwrap();
    fleet.by(sam()).resume("fix").await.unwrap();
    let vm = world.vmm.vm(1);
    assert_eq!((made(), fs::read_to_string(&vm.spec.disk).unwrap()), (2, "disk".into()));
    assert_eq!(names(&folder), ["disk-2.qcow2", "disk.qcow2"]);
    // One that is gone, or of another size, is made again.
    fleet.by(sam()).suspend("fix").await.unwrap();
    fs::rename(folder.join("next-1073741824.qcow2"), folder.join("next-1.qcow2")).unwrap();
    let before = made();
    fleet.by(sam()).resume("fix").await.unwrap();
    assert_eq!(fs::read_to_string(&world.vmm.vm(2).spec.disk).unwrap(), "disk");
    // A merge makes none here.
    assert_eq!(made(), before + 1);
    fleet.stop().await;
}
