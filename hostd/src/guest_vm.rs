//! A VM with its guest, for as long as somebody needs it.
//!
//! Sessions, warm VMs, copies, checks, builds and the self-test have theirs by this. Whoever leaves the scope of one, however
//! that comes about, leaves no VM behind; what hostd's own death leaves is ended by the next one with [`sweep`], but for
//! the VMs of sessions, which it takes over: those are left where hostd ends and leaves them ([`GuestVm::left_when`]).

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use hostd_core::Cause;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    gateway::{Caller, Gateway},
    guest::{Greeting, Hello, Identity, Link, LinkError},
    vm::{Vm, VmError, VmSpec, Vmm},
};

/// For a guest to shake hands, where nothing else is said. Generous: an emulated one on a busy host boots slowly. One whose VM ends is not waited for.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(300);

/// Leftover VMs that are ended at a time.
const LEFTOVERS: usize = 8;

/// A VM that is ended when this is dropped.
pub(crate) struct GuestVm {
    vm: Arc<dyn Vm>,
    /// It has ended, or somebody else sees to that.
    over: bool,
    /// Cancelled where hostd ends and leaves the VM to the next one; None: it never does.
    leaving: Option<CancellationToken>,
}

/// A guest that has shaken hands.
pub(crate) struct Met {
    /// Up for as long as somebody holds it.
    pub(crate) link: Arc<Link>,
    /// What it has said.
    pub(crate) hello: Arc<Hello>,
}

impl GuestVm {
    /// Starts a VM.
    ///
    /// # Errors
    /// As [`Vmm::start`].
    pub(crate) async fn start(vmm: &dyn Vmm, spec: VmSpec) -> Result<Self, VmError> {
        vmm.start(spec).await.map(Self::of)
    }

    /// Starts a VM from a snapshot.
    ///
    /// # Errors
    /// As [`Vmm::resume`].
    pub(crate) async fn resume(vmm: &dyn Vmm, spec: VmSpec, snapshot: &Path) -> Result<Self, VmError> {
        vmm.resume(spec, snapshot).await.map(Self::of)
    }

    /// Takes over a VM that runs.
    pub(crate) fn of(vm: Arc<dyn Vm>) -> Self {
        Self { vm, over: false, leaving: None }
    }

    /// The same VM, which is left to the next hostd instead of ended where `leaving` is cancelled by the time that it is given up or
    /// dropped.
    pub(crate) fn left_when(self, leaving: CancellationToken) -> Self {
        // Nothing of it is moved out: it would be ended.
        let mut guest = self;
        guest.leaving = Some(leaving);
        guest
    }

    /// The VM; whoever else holds it neither starts nor ends it.
    pub(crate) fn vm(&self) -> &Arc<dyn Vm> {
        &self.vm
    }

    /// Shakes hands with its guest by this greeting; what that calls on its way out is `caller`'s. It is not noticed here that the VM
    /// ends: see [`GuestVm::unless_it_ends`].
    ///
    /// # Errors
    /// It does not shake hands in time.
    pub(crate) async fn meet(
        &self,
        greeting: impl Into<Greeting>,
        gateway: &Arc<Gateway>,
        caller: Caller,
    ) -> Result<Met, LinkError> {
        self.meet_within(HANDSHAKE, greeting, gateway, caller).await
    }

    /// The same within another time.
    ///
    /// # Errors
    /// It does not shake hands in that time.
    pub(crate) async fn meet_within(
        &self,
        within: Duration,
        greeting: impl Into<Greeting>,
        gateway: &Arc<Gateway>,
        caller: Caller,
    ) -> Result<Met, LinkError> {
        shaken(Link::start(self.vm.clone(), greeting, gateway.clone(), Arc::new(caller)), within).await
    }

    /// The same with the guest of a copy: what is frozen in it stays so, and it has no way out.
    ///
    /// # Errors
    /// It does not shake hands in time.
    pub(crate) async fn meet_copy(&self, identity: Identity) -> Result<Met, LinkError> {
        shaken(Link::to_copy(self.vm.clone(), identity), HANDSHAKE).await
    }

    /// What comes of `work` in it.
    ///
    /// # Errors
    /// Why the VM ended before.
    pub(crate) async fn unless_it_ends<T>(&self, work: impl Future<Output = T>) -> Result<T, Cause> {
        tokio::select! {
            cause = self.vm.ended() => Err(cause),
            done = work => Ok(done),
        }
    }

    /// Ends it, and waits until it is gone.
    pub(crate) async fn end(mut self) {
        self.vm.end().await;
        self.over = true;
    }

    /// Ends it because its guest is lost. Where hostd ends and leaves its VMs to the next one, that may have cut the guest off: then
    /// this one is left as well. True: it was ended.
    pub(crate) async fn give_up(self) -> bool {
        let leaves = self.is_left();
        if leaves {
            self.let_go();
        } else {
            self.end().await;
        }
        !leaves
    }

    fn is_left(&self) -> bool {
        self.leaving.as_ref().is_some_and(CancellationToken::is_cancelled)
    }

    /// Lets go of one that has ended by itself.
    pub(crate) fn has_ended(self) {
        self.let_go();
    }

    /// Leaves it as it is, for the next hostd.
    pub(crate) fn let_go(mut self) {
        self.over = true;
    }
}

impl Drop for GuestVm {
    fn drop(&mut self) {
        // Where the whole of hostd ends, the next one does it.
        if !self.over
            && !self.is_left()
            && let Ok(runtime) = Handle::try_current()
        {
            let vm = self.vm.clone();
            runtime.spawn(async move { vm.end().await });
        }
    }
}

async fn shaken(link: Link, within: Duration) -> Result<Met, LinkError> {
    let hello = link.client(within).await?;
    Ok(Met { link: Arc::new(link), hello })
}

/// Ends the VMs that an earlier hostd left in the folders of `root`, and removes those; `what` they are is for the log.
pub(crate) async fn sweep(vmm: &dyn Vmm, root: &Path, what: &str) {
    sweep_but(vmm, root, what, &[]).await;
}

/// The same but for these folders.
pub(crate) async fn sweep_but(vmm: &dyn Vmm, root: &Path, what: &str, but: &[PathBuf]) {
    // Nothing ever ran where there is no folder.
    let Ok(mut folders) = tokio::fs::read_dir(root).await else { return };
    let mut left = Vec::new();
    while let Ok(Some(folder)) = folders.next_entry().await {
        left.push(folder.path());
    }
    left.retain(|folder| !but.contains(folder));
    let sweep = |folder: PathBuf| async move {
        if end_orphan(vmm, &folder, what).await {
            remove(&folder, what).await;
        }
    };
    stream::iter(left).for_each_concurrent(LEFTOVERS, sweep).await;
}

/// Ends the VM that was left in this folder, where there is one. False: it may still run.
pub(crate) async fn end_orphan(vmm: &dyn Vmm, folder: &Path, what: &str) -> bool {
    match vmm.end_orphan(folder).await {
        Ok(true) => tracing::info!(folder = %folder.display(), "ended {what} that was left"),
        Ok(false) => {}
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "{what} may still run");
            return false;
        }
    }
    true
}

/// Removes the folder of one that has ended.
pub(crate) async fn remove(folder: &Path, what: &str) {
    if let Err(error) = tokio::fs::remove_dir_all(folder).await
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "what is left of {what} was not removed");
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use hostd_core::{recipe::Cpu, session::Size};

    use super::*;
    use crate::{forge::BareRepositories, testing::FakeVmm, vm::Memory};

    const WITHIN: Duration = Duration::from_secs(30);

    pub(crate) fn spec(folder: &Path) -> VmSpec {
        VmSpec {
            name: "one".into(),
            directory: folder.into(),
            size: Size { vcpus: 1, memory: 64 << 20, disk: 1 << 20 },
            layers: vec![],
            disk: folder.join("disk.qcow2"),
            memory: Memory::Own,
            cpu: Cpu::default(),
        }
    }

    async fn one(vmm: &FakeVmm) -> GuestVm {
        let folder = tempfile::tempdir().unwrap();
        let spec = spec(folder.path());
        std::fs::write(&spec.disk, "disk").unwrap();
        GuestVm::start(vmm, spec).await.unwrap()
    }

    /// Waits until none of its VMs runs.
    async fn all_ended(vmm: &FakeVmm) {
        let vms: Vec<_> = vmm.vms.lock().unwrap().iter().map(|vm| vm.guest.ended.subscribe()).collect();
        for mut vm in vms {
            tokio::time::timeout(WITHIN, vm.wait_for(Option::is_some)).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_vm_ends_however_its_scope_is_left() {
        let vmm = Arc::new(FakeVmm::scripted());
        one(&vmm).await.end().await;
        assert_eq!(vmm.running(), 0);
        drop(one(&vmm).await);
        all_ended(&vmm).await;
        let (cut_off, panics) = (one(&vmm).await, one(&vmm).await);
        let task = tokio::spawn(async move { cut_off.unless_it_ends(std::future::pending::<()>()).await.is_ok() });
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        let task = tokio::spawn(async move {
            let _panics = panics;
            panic!("as the test wants it");
        });
        assert!(task.await.unwrap_err().is_panic());
        all_ended(&vmm).await;
    }

    #[tokio::test]
    async fn a_vm_is_left_where_hostd_leaves_it() {
        let (vmm, leaving) = (Arc::new(FakeVmm::scripted()), CancellationToken::new());
        assert!(one(&vmm).await.left_when(leaving.clone()).give_up().await);
        drop(one(&vmm).await.left_when(leaving.clone()));
        all_ended(&vmm).await;
        let (given_up, dropped) = (one(&vmm).await, one(&vmm).await);
        let (given_up, dropped) = (given_up.left_when(leaving.clone()), dropped.left_when(leaving.clone()));
        let ended = one(&vmm).await.left_when(leaving.clone());
        leaving.cancel();
        assert!(!given_up.give_up().await);
        drop(dropped);
        // What is to end ends.
        ended.end().await;
        // Its end would come by a task of its own.
        tokio::task::yield_now().await;
        assert_eq!(vmm.running(), 2);
    }

    #[tokio::test]
    async fn its_guest_is_met_and_its_end_noticed() {
        let vmm = FakeVmm::scripted();
        let guest = one(&vmm).await;
        let gateway = Arc::new(Gateway::new(BareRepositories::at("/nonexistent".into())));
        let identity = || Identity::lasting("01A", "one".into(), 1);
        let met = guest.meet(identity(), &gateway, Caller::nowhere("01A", "one", "demo")).await.unwrap();
        assert_eq!(met.hello.handshake.boot_id, "first");
        assert_eq!(guest.unless_it_ends(async { 1 }).await, Ok(1));
        vmm.vm(0).gone(Cause::LinkLost);
        assert_eq!(guest.unless_it_ends(std::future::pending::<()>()).await, Err(Cause::LinkLost));
    }

    #[tokio::test]
    async fn what_was_left_is_ended_and_removed() {
        let (vmm, root) = (FakeVmm::scripted(), tempfile::tempdir().unwrap());
        sweep(&vmm, &root.path().join("none"), "a VM").await;
        let folders: Vec<PathBuf> = ["a", "b"].map(|name| root.path().join(name)).into();
        for folder in &folders {
            std::fs::create_dir(folder).unwrap();
        }
        sweep(&vmm, root.path(), "a VM").await;
        let mut ended = vmm.orphans.lock().unwrap().clone();
        ended.sort();
        assert_eq!(ended, folders);
        assert!(folders.iter().all(|folder| !folder.exists()));
    }
}
