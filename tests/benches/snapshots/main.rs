//! Figures of suspend, resume and clone, each beside a peer measured in the same run:
//! `cargo bench -p tests --bench snapshots`.
//!
//! The peers are `virsh save` and `virsh restore` of a guest with the same kernel, initramfs, disk and memory, and the start
//! of QEMU alone. Bare times say more of the machine than of the code, so what counts is the ratio. No test asserts any of
//! them. What libvirt needs is installed by `tests/setup.sh benches`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod guest;
mod libvirt;
mod rig;
mod startup;
mod table;

use std::time::Duration;

use hostd::vm::Memory;
use rig::Rig;
use table::{Parts, compare, median, parts};
use tokio::runtime::Runtime;

/// How often we are measured.
const ROUNDS: usize = 9;
/// How often libvirt is.
const THEIR_ROUNDS: usize = 5;

/// What one way around gave.
struct Round {
    clone: Parts,
    warm: Parts,
    clone_memory: u64,
    warm_memory: u64,
    suspend: Parts,
    bytes: u64,
    startup: Duration,
    resume: Parts,
}

/// What libvirt's guest gave.
struct Theirs {
    save: Vec<Duration>,
    bytes: u64,
    restore: Vec<Duration>,
}

fn main() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let mut rig = Rig::new().await;
    println!("{}\n", rig.machine());
    let cold = cold_boots(&mut rig).await;
    let template = rig.template().await;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(&mut rig, &template).await);
    }
    let theirs = libvirt(&mut rig).await;
    report(&cold, &rounds, &theirs);
}

/// A few cold boots to the agent's first byte, and the memory that such a VM has for itself.
async fn cold_boots(rig: &mut Rig) -> Vec<(Parts, u64)> {
    let mut boots = Vec::new();
    for _ in 0..THEIR_ROUNDS {
        let mut guest = rig.start(Memory::Own).await;
        guest.agent().await;
        let own = guest.vm.memory_part().private;
        boots.push((guest.took.clone(), own));
        guest.end().await;
    }
    boots
}

async fn round(rig: &mut Rig, template: &rig::Template) -> Round {
    let mut direct = rig.clone(template).await;
    direct.agent().await;
    let clone_memory = direct.vm.memory_part().private;
    direct.end().await;
    let clone = rig.clone(template).await;
    let (cloned, generation) = (clone.took.clone(), 1000);
    let mut guest = clone.handed_over(generation).await;
    guest.agent().await;
    let warm_memory = guest.vm.memory_part().private;
    let warm = guest.took.clone();
    let (layer, argv) = (guest.disk.clone(), guest::argv(&guest.directory));
    let snapshot = guest.directory.join("snapshot");
    let (suspend, bytes) = guest.suspend(&snapshot).await;
    let resumed = rig.resume(template, &layer, &snapshot).await;
    let resume = resumed.took.clone();
    resumed.end().await;
    Round { clone: cloned, warm, clone_memory, warm_memory, suspend, bytes, startup: startup::measure(&argv), resume }
}

async fn libvirt(rig: &mut Rig) -> Theirs {
    let model = rig.start(Memory::Own).await;
    let argv = guest::argv(&model.directory);
    model.end().await;
    let libvirt = libvirt::Libvirt::start(&argv, &rig.fresh_disk().await, &rig.layers);
    let mut guest = guest::shake(libvirt.vm(), 1).await;
    guest.agent().await;
    let mut theirs = Theirs { save: Vec::new(), bytes: 0, restore: Vec::new() };
    for generation in 0..THEIR_ROUNDS {
        drop(guest);
        theirs.save.push(libvirt.save());
        theirs.bytes = libvirt.saved_bytes();
        let began = std::time::Instant::now();
        libvirt.restore();
        guest = guest::shake(libvirt.vm(), generation as u64 + 2).await;
        theirs.restore.push(began.elapsed());
    }
    theirs
}

fn report(cold: &[(Parts, u64)], rounds: &[Round], theirs: &Theirs) {
    let of = |pick: fn(&Round) -> &Parts| parts(rounds.iter().map(pick));
    let (suspend, resume) = (of(|r| &r.suspend), of(|r| &r.resume));
    let (clone, warm) = (of(|r| &r.clone), of(|r| &r.warm));
    let boot = parts(cold.iter().map(|(parts, _)| parts));

    let save = median(theirs.save.clone());
    compare("suspend, idle guest of 512 MiB", suspend.until("end"), "virsh save", save, "50 times faster");
    suspend.print();
    let bytes = median(rounds.iter().map(|round| round.bytes).collect());
    table::compare_bytes("on disk, without the disk's layer", bytes, "virsh save", theirs.bytes, "30 times smaller");

    let restore = median(theirs.restore.clone());
    let resumed = resume.until("link");
    compare("resume to the first answer", resumed, "virsh restore", restore, "5 times faster");
    let startup = median(rounds.iter().map(|round| round.startup).collect());
    table::at_most("  the same", resumed, "QEMU's own start to its first QMP answer", startup, "at most 1.5 times");
    resume.print();

    let first_byte = boot.until("agent");
    let begun = warm.until("agent");
    compare("warm clone to the agent's first byte", begun, "cold boot", first_byte, "20 times faster");
    warm.print();
    compare("  the same, cloned first", clone.until("link") + begun, "cold boot", first_byte, "");
    clone.print();
    println!("  cold boot");
    boot.print();

    let own = median(cold.iter().map(|(_, bytes)| *bytes).collect());
    let unique = median(rounds.iter().map(|round| round.clone_memory).collect());
    table::compare_bytes("memory of an idle clone alone", unique, "cold-booted VM", own, "4 times smaller");
    let unique = median(rounds.iter().map(|round| round.warm_memory).collect());
    table::compare_bytes("  the same, from the warm pool", unique, "cold-booted VM", own, "none, it has rehearsed");
}
