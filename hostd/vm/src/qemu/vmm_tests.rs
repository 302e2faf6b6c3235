//! How it is found out which method of snapshots works.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;
use crate::program;

/// Finds this out, and counts how often it was asked.
#[derive(Debug)]
struct Finds(Option<Proof>, AtomicU32);

#[async_trait]
impl Prover for Finds {
    async fn prove(&self, qemu: Qemu, progress: &(dyn Fn(String) + Send + Sync)) -> Option<Proof> {
        assert!(qemu.prover.is_none());
        progress("tries".into());
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.clone()
    }
}

fn qemu(data: &std::path::Path) -> Qemu {
    program::put_script(&data.join(QEMU.name), "exit 1");
    Qemu::new(data, data.join("guest")).with_path(data.into())
}

#[tokio::test]
async fn each_build_is_tried_once() {
    let data = tempfile::tempdir().unwrap();
    let full = Proof::new(Method::Full, "no pagemap".into());
    let finds = Arc::new(Finds(Some(full.clone()), AtomicU32::new(0)));
    let qemu = qemu(data.path()).with_prover(finds.clone());
    assert_eq!((qemu.proof(), qemu.installation.method()), (None, Method::Delta));
    for _ in 0..2 {
        qemu.prove(&|_| ()).await.unwrap();
    }
    assert_eq!(finds.1.load(Ordering::Relaxed), 1);
    assert_eq!((qemu.proof(), qemu.installation.method()), (Some(full), Method::Full));
    assert!(qemu.proof().unwrap().warning().unwrap().contains("no pagemap"));
    assert_eq!(qemu.clone().with_method(Method::Delta).installation.method(), Method::Delta);
    program::put_script(&data.path().join(QEMU.name), "exit 1 # another build");
    assert_eq!(qemu.installation.method(), Method::Delta);
    qemu.prove(&|_| ()).await.unwrap();
    assert_eq!(finds.1.load(Ordering::Relaxed), 2);
    qemu.keep(&Proof::new(Method::Delta, String::new())).unwrap();
    assert_eq!((qemu.installation.method(), qemu.proof().unwrap().warning()), (Method::Delta, None));
}

#[tokio::test]
async fn what_was_not_found_out_is_tried_again() {
    let data = tempfile::tempdir().unwrap();
    let finds = Arc::new(Finds(None, AtomicU32::new(0)));
    let qemu = qemu(data.path()).with_prover(finds.clone());
    for _ in 0..2 {
        qemu.prove(&|_| ()).await.unwrap();
    }
    assert_eq!((finds.1.load(Ordering::Relaxed), qemu.proof()), (2, None));
}

#[tokio::test]
async fn a_suspend_tries_what_nobody_has_once() {
    let data = tempfile::tempdir().unwrap();
    let finds = Arc::new(Finds(None, AtomicU32::new(0)));
    let qemu = qemu(data.path()).with_prover(finds.clone());
    let tries = || finds.1.load(Ordering::Relaxed);
    // There is nothing yet to try it with.
    qemu.find_method().await;
    assert_eq!(tries(), 0);
    let kernel = data.path().join("kernel/6.1");
    fs::create_dir_all(kernel.join("modules")).unwrap();
    fs::write(kernel.join("vmlinuz"), "a kernel").unwrap();
    fs::write(kernel.join("complete"), format!("2 {}\n", crate::kernel::MODULES.join(" "))).unwrap();
    tokio::join!(qemu.find_method(), qemu.find_method());
    assert_eq!(tries(), 1);
    program::put_script(&data.path().join(QEMU.name), "exit 1 # another build");
    qemu.find_method().await;
    assert_eq!(tries(), 2);
    let found = Arc::new(Finds(Some(Proof::new(Method::Full, "no pagemap".into())), AtomicU32::new(0)));
    program::put_script(&data.path().join(QEMU.name), "exit 1 # one more build");
    let qemu = qemu.with_prover(found.clone());
    for _ in 0..2 {
        qemu.find_method().await;
    }
    assert_eq!((found.1.load(Ordering::Relaxed), qemu.installation.method()), (1, Method::Full));
}
