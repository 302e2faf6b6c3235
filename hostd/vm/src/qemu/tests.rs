//! A start of a VM by itself, and its snapshots' [`requirements`].

mod requirements;

use std::{fs, path::Path};

use hostd_core::{recipe::Cpu, session::Size};

use super::Qemu;
use crate::{
    Memory, VmError, VmSpec, Vmm as _, kernel,
    program::{self, QEMU},
};

const SIZE: Size = Size { vcpus: 1, memory: 256 << 20, disk: 1 << 30 };

fn spec(folder: &Path) -> VmSpec {
    VmSpec {
        name: "test".into(),
        directory: folder.into(),
        size: SIZE,
        layers: vec![],
        disk: folder.join("disk.qcow2"),
        memory: Memory::Own,
        cpu: Cpu::default(),
    }
}

#[tokio::test]
async fn says_what_is_missing() {
    let data = tempfile::tempdir().unwrap();
    let qemu = Qemu::new(data.path(), data.path().join("none")).with_path("/nonexistent".into());
    let info = qemu.info();
    assert_eq!((info.version.as_str(), info.kernel.as_str()), ("", ""));
    let all = info.problems.join("\n");
    for want in ["(qemu-system-x86)", "(qemu-utils)", "(kmod)", "(apt)", "(dpkg)", "PILOTHOUSE_GUEST"] {
        assert!(all.contains(want), "{want}: {all}");
    }
    let error = qemu.create_disk(&data.path().join("d"), 1 << 20).await.unwrap_err();
    assert!(matches!(error, VmError::Missing { package: "qemu-utils", .. }), "{error}");
    let error = qemu.start(spec(data.path())).await.err().unwrap();
    assert!(matches!(error, VmError::Missing { package: "qemu-system-x86", .. }), "{error}");
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
}

/// Puts a complete kernel into this folder of the data folder's `kernel`, with that text for its image.
fn put_kernel(folder: &Path, image: &str) {
    fs::create_dir_all(folder.join("modules")).unwrap();
    fs::write(folder.join("complete"), format!("2 {}\n", kernel::MODULES.join(" "))).unwrap();
    fs::write(folder.join("vmlinuz"), image).unwrap();
}

/// A data folder with a kernel that is none, and a QEMU that is the given script.
fn fake(script: &str) -> (tempfile::TempDir, Qemu) {
    let data = tempfile::tempdir().unwrap();
    put_kernel(&data.path().join("kernel/6.1"), "no kernel");
    let program = data.path().join(QEMU.name);
    program::put_script(&program, script);
    let qemu = Qemu::new(data.path(), program).with_path(data.path().into());
    (data, qemu)
}

#[tokio::test]
async fn a_failed_start_says_why_and_leaves_nothing() {
    let (data, qemu) = fake("echo 'qemu: no such \u{1b}machine' >&2; exit 1");
    let folder = data.path().join("vm");
    fs::create_dir(&folder).unwrap();
    let error = qemu.start(spec(&folder)).await.err().unwrap().to_string();
    assert_eq!(error, "qemu-system-x86_64 failed: qemu: no such machine");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[tokio::test]
async fn a_start_without_a_kernel_says_so() {
    let (data, qemu) = fake("exit 1");
    fs::remove_dir_all(data.path().join("kernel")).unwrap();
    let folder = data.path().join("vm");
    fs::create_dir(&folder).unwrap();
    let error = qemu.start(spec(&folder)).await.err().unwrap();
    assert!(matches!(error, VmError::Kernel(_)), "{error}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

/// Whatever of these changes, a template made before does not fit any more.
#[tokio::test]
async fn its_machines_are_told_apart() {
    let (data, qemu) = fake("exit 1");
    let of = async |size| qemu.fingerprint(size, Cpu::default()).await.unwrap().unwrap();
    let first = of(SIZE).await;
    assert_eq!(first, of(Size { disk: 2 << 30, ..SIZE }).await);
    assert_ne!(first, of(Size { vcpus: 2, ..SIZE }).await);
    assert_ne!(first, of(Size { memory: 512 << 20, ..SIZE }).await);
    fs::write(data.path().join("kernel/6.1/vmlinuz"), "another").unwrap();
    let second = of(SIZE).await;
    assert_ne!(first, second);
    program::put_script(&data.path().join(QEMU.name), "exit 1 # another build");
    assert_ne!(second, of(SIZE).await);
}

#[tokio::test]
async fn nothing_is_left_where_nothing_runs() {
    let (data, qemu) = fake("exit 1");
    fs::write(data.path().join("vm.json"), "garbage").unwrap();
    assert!(!qemu.end_orphan(data.path()).await.unwrap());
    assert!(!data.path().join("vm.json").exists());
    assert!(!qemu.end_orphan(&data.path().join("no such folder")).await.unwrap());
}
