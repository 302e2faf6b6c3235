//! The part of a build that happens in a VM: clone, set up, power off. What is left is the build's disk.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hostd_core::{Recipe, recipe::INTERNAL_HOST, session::Cause};
use pilothouse_proto::guest::v1::{PowerOffRequest, QuiesceRequest, guest_client::GuestClient};
use tokio::time::timeout;
use tonic::transport::Channel;

use super::{
    agent,
    devcontainer::Ready,
    exec::{self, Inside},
    files, packages,
    progress::Progress,
    types::EnvironmentError,
};
use crate::{
    admission::Reservation,
    forge::Head,
    gateway::{Access, Beside, Caller, Gateway},
    guest::{Identity, Link},
    guest_vm::{GuestVm, Met},
    vm::{Memory, Vm, VmSpec, Vmm},
};

/// Longest time for the disks to be synced, and for the VM to power off.
const POWER_OFF_DEADLINE: Duration = Duration::from_secs(180);

/// File of a running guest by which git there knows where a session pushes to.
const PUSHES: &str = "/run/pilothouse/gitconfig";

/// Script that says whether a clone has pointers in place of files.
const LFS: &str = r#"cd -- "$1" || exit 0
if [ -n "$(git ls-files -z -- .gitattributes '*/.gitattributes' | xargs -0r grep -l 'filter=lfs')" ]; then
    echo "it uses Git LFS, whose objects are not served here: such files are left as their pointers"
fi"#;

/// A build under way: its inputs and its folder.
pub(super) struct Batch<'a> {
    pub(super) id: &'a str,
    pub(super) recipe: &'a Recipe,
    /// Branch and commit of the repository; empty: the recipe has no repository.
    pub(super) head: &'a Head,
    pub(super) base: PathBuf,
    /// Folder for the disk that is made, and for the VMs' own files.
    pub(super) workshop: PathBuf,
    /// What its devcontainer.json says; None: it has none, or all of it is done.
    pub(super) devcontainer: Option<&'a Ready>,
    pub(super) progress: &'a Progress,
    /// Room that is reserved for whichever VM of the build runs.
    pub(super) reservation: &'a Reservation,
}

impl Batch<'_> {
    pub(super) fn disk(&self) -> PathBuf {
        self.workshop.join("disk.qcow2")
    }

    /// The folder of whichever VM of the build runs, one at a time.
    pub(super) fn vm(&self) -> PathBuf {
        self.workshop.join("vm")
    }

    pub(super) fn slug(&self, what: &str) -> String {
        format!("{what}-{}", self.recipe.name)
    }

    /// Identity of this VM of the build, and of no other.
    pub(super) fn identity(&self, what: &str, generation: u64) -> Result<Identity, EnvironmentError> {
        let identity = Identity::passing(format!("{what}-{}", self.id), self.slug(what), generation);
        identity.map_err(|why| self.progress.failure(&why))
    }

    fn caller(&self, access: Access) -> Caller {
        Caller {
            session_id: self.id.into(),
            slug: self.slug("build"),
            environment: self.recipe.name.clone(),
            repository: self.recipe.local_repository().map(str::to_owned),
            branch_prefix: None,
            opens_pulls: None,
            also_read: self.recipe.also_read().to_vec(),
            egress: self.recipe.egress.clone(),
            beside: Beside::default(),
            access,
        }
    }
}

/// Number of steps that [`bake`] takes.
pub(super) fn steps(recipe: &Recipe) -> u32 {
    let commands =
        recipe.setup.len() + usize::from(recipe.repository.is_some()) + usize::from(packages::wanted(recipe));
    u32::try_from(commands).unwrap_or(u32::MAX).saturating_add(3)
}

/// Makes `workshop/disk.qcow2`. The VM is gone afterwards, however it went.
pub(super) async fn bake(vmm: &dyn Vmm, gateway: &Arc<Gateway>, batch: &Batch<'_>) -> Result<(), EnvironmentError> {
    batch.progress.step("start a VM on the base");
    let (directory, disk) = (files::folder(batch.vm()).await?, batch.disk());
    vmm.create_disk(&disk, batch.recipe.size.disk).await?;
    let layers = vec![batch.base.clone()];
    let (name, size, cpu) = (batch.slug("build"), batch.recipe.size, batch.recipe.cpu);
    let spec = VmSpec { name, directory, size, layers, disk, memory: Memory::Own, cpu };
    let guest = GuestVm::start(vmm, spec).await?;
    batch.reservation.set_vm(Some(guest.vm().clone()));
    let done = unless_it_ends(&guest, batch.progress, inside(&guest, gateway, batch)).await;
    let finished = match done {
        Ok((_link, client)) => power_off(&**guest.vm(), client, batch.progress).await,
        Err(error) => Err(error),
    };
    guest.end().await;
    batch.reservation.set_vm(None);
    finished
}

/// Everything up to a synced disk; returns what the VM's power off needs.
async fn inside(
    guest: &GuestVm,
    gateway: &Arc<Gateway>,
    batch: &Batch<'_>,
) -> Result<(Arc<Link>, GuestClient<Channel>), EnvironmentError> {
    let progress = batch.progress;
    let Met { link, hello } = meet(guest, batch.identity("build", 1)?, gateway, batch).await?;
    let mut client = hello.client.clone();
    let guest = &Inside::of(hello.client.clone(), batch.recipe);
    if packages::wanted(batch.recipe) {
        progress.step("packages of the image's own system");
        packages::install(guest, batch.recipe, progress).await?;
    }
    if batch.recipe.repository.is_some() {
        let Head { branch, commit } = batch.head;
        progress.step(format!("clone {branch} at {}", commit.get(..12).unwrap_or(commit)));
        clone(guest, batch).await?;
    }
    if let Some(devcontainer) = batch.devcontainer {
        devcontainer.make(guest, progress).await?;
        devcontainer.create(guest, batch.recipe, progress).await?;
    }
    let directory = batch.recipe.directory();
    for command in &batch.recipe.setup {
        progress.step(format!("setup: {}", hostd_core::text::one_line(command)));
        exec::run(guest, &["sh", "-c", command], directory, progress).await?;
    }
    agent::settle_in(guest, batch.recipe, progress).await?;
    agent::check(guest, batch.recipe, progress).await?;
    progress.step("power off and keep the disk");
    let quiesce = client.quiesce(QuiesceRequest { freeze: false, trim: true });
    match timeout(POWER_OFF_DEADLINE, quiesce).await {
        Ok(Ok(_)) => Ok((link, client)),
        Ok(Err(status)) => Err(progress.failure(&format!("the guest's disk was not synced: {}", status.message()))),
        Err(_) => Err(progress.failure("the guest's disk was not synced in time")),
    }
}

/// Shakes hands with a VM of the build.
pub(super) async fn meet(
    guest: &GuestVm,
    identity: Identity,
    gateway: &Arc<Gateway>,
    batch: &Batch<'_>,
) -> Result<Met, EnvironmentError> {
    // Of each VM its own: nothing of it is left once sessions run.
    let access = Access::to(&batch.recipe.credentials, None).await;
    let identity = identity.trusting(gateway.trust(&access, &batch.recipe.name));
    match guest.meet(identity, gateway, batch.caller(access)).await {
        Ok(met) => Ok(met),
        Err(error) => {
            batch.progress.text(&guest.vm().serial().await);
            Err(batch.progress.failure(&error.to_string()))
        }
    }
}

/// Waits for `work`, unless its VM ends meanwhile; that is an error.
pub(super) async fn unless_it_ends<T>(
    guest: &GuestVm,
    progress: &Progress,
    work: impl Future<Output = Result<T, EnvironmentError>>,
) -> Result<T, EnvironmentError> {
    match guest.unless_it_ends(work).await {
        Ok(done) => done,
        Err(cause) => Err(ended_early(&**guest.vm(), &cause, progress).await),
    }
}

/// Clones the branch at the very commit that the build is named by; and says who commits are by, until an agent says otherwise.
async fn clone(guest: &Inside, batch: &Batch<'_>) -> Result<(), EnvironmentError> {
    let Some(repository) = &batch.recipe.repository else { return Ok(()) };
    let (branch, url, path) = (&batch.head.branch, &repository.url, &repository.path);
    let email = format!("agent@{INTERNAL_HOST}");
    let below = format!("{path}/*");
    let commands: [&[&str]; 8] = [
        &["git", "config", "--system", "user.name", "agent"],
        &["git", "config", "--system", "user.email", &email],
        // Whoever it belongs to, every user of the guest may work with it: hostd's git, checks, the agent. What lies in it,
        // such as submodules, too, where git knows that form.
        &["git", "config", "--system", "--add", "safe.directory", path],
        &["git", "config", "--system", "--add", "safe.directory", &below],
        &["git", "clone", "--branch", branch, "--", url, path],
        // Where the guest says which branches a plain push goes to: the session's own.
        &["git", "-C", path, "config", "include.path", PUSHES],
        &["git", "-C", path, "reset", "--quiet", "--hard", &batch.head.commit],
        &["sh", "-c", LFS, "sh", path],
    ];
    for command in commands {
        exec::run(guest, command, "/", batch.progress).await?;
    }
    Ok(())
}

async fn power_off(vm: &dyn Vm, mut client: GuestClient<Channel>, progress: &Progress) -> Result<(), EnvironmentError> {
    let ended = async {
        // The connection may end before the answer arrives; whether it worked is seen by the VM.
        let _ = client.power_off(PowerOffRequest {}).await;
        vm.ended().await
    };
    match timeout(POWER_OFF_DEADLINE, ended).await {
        Ok(Cause::PoweredOff) => Ok(()),
        Ok(cause) => Err(ended_early(vm, &cause, progress).await),
        Err(_) => Err(progress.failure("the VM did not power off in time")),
    }
}

async fn ended_early(vm: &dyn Vm, cause: &Cause, progress: &Progress) -> EnvironmentError {
    progress.text(&vm.serial().await);
    progress.failure(&format!("the VM ended too early: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::LFS;

    fn run(folder: &Path, command: &[&str]) -> String {
        let mut words = command.iter();
        let output = std::process::Command::new(words.next().unwrap())
            .args(words)
            .current_dir(folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Checked out as in a guest, where git-lfs is installed and would ask for the objects.
    #[test]
    fn a_tree_with_lfs_is_checked_out_with_its_pointers_and_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        run(folder.path(), &["git", "init", "-q", "-b", "main", "from"]);
        fs::create_dir(from.join("art")).unwrap();
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 5\n";
        fs::write(from.join("art/logo.png"), pointer).unwrap();
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let commit = || {
            run(&from, &["git", "add", "."]);
            run(&from, &[&["git"], &identity[..], &["commit", "-q", "-m", "Art"]].concat());
        };
        commit();
        let said = || run(folder.path(), &["sh", "-c", LFS, "sh", from.to_str().unwrap()]);
        assert_eq!(said(), "");
        fs::write(from.join("art/.gitattributes"), "*.png filter=lfs diff=lfs merge=lfs -text\n").unwrap();
        commit();
        assert!(said().starts_with("it uses Git LFS, whose objects are not served here"), "{}", said());

        // What git-lfs does with this variable, which every program of a guest finds.
        let smudge = "filter.lfs.smudge=[ \"$GIT_LFS_SKIP_SMUDGE\" = 1 ] && cat";
        let clone = |skip: &str| {
            let mut command = std::process::Command::new("git");
            command.args(["-c", smudge, "-c", "filter.lfs.required=true", "clone", "-q"]).arg(&from).arg(&to);
            let output =
                command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_LFS_SKIP_SMUDGE", skip).output().unwrap();
            output.status.success()
        };
        assert!(!clone("0"));
        let _ = fs::remove_dir_all(&to);
        assert!(clone("1"));
        assert_eq!(fs::read_to_string(to.join("art/logo.png")).unwrap(), pointer);
    }
}
