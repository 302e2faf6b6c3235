//! One attempt of a run, in a VM of its own.

use std::{path::Path, sync::Arc, time::Duration};

use hostd_core::{ci::Key, text};
use pilothouse_proto::guest::v1::{ExecStart, guest_client::GuestClient};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use ulid::Ulid;

use super::{Ci, Job, Log, State};
use crate::{
    gateway::{Access, Beside, Caller},
    guest::{
        Identity,
        command::{self, Output},
    },
    guest_vm::{self, GuestVm, Met},
    vm::{Memory, Vm, VmError, VmSpec},
};

/// One of them, in the log.
const WHAT: &str = "the VM of a check";
/// Longest time for the commit to be fetched and checked out.
const FETCH_DEADLINE: Duration = Duration::from_secs(600);

/// End of an attempt.
pub(super) enum End {
    /// The check passed.
    Passed,
    /// The check found something wrong; in a line, what.
    Failed(String),
    /// The check took longer than its recipe allows.
    TimedOut,
    /// The check could not be run to its end, and says nothing of the commit; in a line, why.
    Broken(String),
    /// Nobody waits for the check any more.
    Cancelled,
    /// hostd stops.
    Closing,
}

impl Ci {
    /// Runs a check once. Neither its VM nor its folder is left.
    pub(super) async fn attempt(&self, key: &Key, job: &Job, log: &Log, cancel: &CancellationToken) -> End {
        let id = Ulid::new().to_string();
        let folder = self.folder().join(&id);
        let end = match self.machine(&id, &folder, job, log).await {
            Err(error) => End::Broken(format!("its VM did not start: {error}")),
            Ok(guest) => {
                let vm = guest.vm();
                self.set_vm(key, Some(vm.clone()));
                let end = tokio::select! {
                    biased;
                    () = self.closing.cancelled() => End::Closing,
                    () = cancel.cancelled() => End::Cancelled,
                    cause = vm.ended() => {
                        log.push(&vm.serial().await);
                        End::Broken(format!("its VM ended: {cause}"))
                    }
                    end = self.inside(&guest, &id, key, job, log) => end,
                };
                guest.end().await;
                self.set_vm(key, None);
                end
            }
        };
        guest_vm::remove(&folder, WHAT).await;
        end
    }

    /// Ends the VMs that an earlier hostd left, and removes their folders.
    pub(super) async fn sweep(&self) {
        guest_vm::sweep(&*self.deps.vmm, &self.folder(), WHAT).await;
    }

    fn set_vm(&self, key: &Key, now: Option<Arc<dyn Vm>>) {
        if let Some(State::Running { reservation, .. }) = self.runs().get(key).map(|run| &run.state) {
            reservation.set_vm(now);
        }
    }

    /// Starts the attempt's VM: a clone of the build's template; where there is none, or it does not fit this machine any more,
    /// the build's disk boots.
    async fn machine(&self, id: &str, folder: &Path, job: &Job, log: &Log) -> Result<GuestVm, VmError> {
        let (vmm, build) = (&self.deps.vmm, &job.build);
        let failed = |error| VmError::File { path: folder.into(), error };
        tokio::fs::create_dir_all(folder).await.map_err(failed)?;
        let disk = folder.join("disk.qcow2");
        vmm.create_disk(&disk, build.recipe.size.disk).await?;
        let spec = |memory| VmSpec {
            name: slug(id, job),
            directory: folder.into(),
            size: build.recipe.size,
            layers: build.layers.clone(),
            disk: disk.clone(),
            memory,
            cpu: build.recipe.cpu,
        };
        if let Some(template) = &build.template {
            match GuestVm::resume(&**vmm, spec(Memory::Clone(template.clone())), template).await {
                Ok(guest) => return Ok(guest),
                Err(error) => {
                    tracing::warn!(environment = build.recipe.name, %error, "a run boots, because it cannot be cloned");
                    log.note(&format!("it boots: {error}; run `pilothouse env build {}`", build.recipe.name));
                }
            }
        }
        GuestVm::start(&**vmm, spec(Memory::Own)).await
    }

    /// Everything between the start and the end of the VM.
    async fn inside(&self, guest: &GuestVm, id: &str, key: &Key, job: &Job, log: &Log) -> End {
        let identity = match Identity::passing(format!("ci-{id}"), slug(id, job), 1) {
            Ok(identity) => identity,
            Err(why) => return End::Broken(why),
        };
        let access = Access::to(&job.build.recipe.credentials, None).await;
        let identity = identity.trusting(self.deps.gateway.trust(&access, &job.build.recipe.name));
        let (_link, client) = match guest.meet(identity, &self.deps.gateway, caller(id, key, job, access)).await {
            Ok(Met { link, hello }) => (link, hello.client.clone()),
            Err(error) => {
                log.push(&guest.vm().serial().await);
                return End::Broken(error.to_string());
            }
        };
        match timeout(FETCH_DEADLINE, fetch(&client, key, job, log)).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return End::Broken(why),
            Err(_) => return End::Broken(format!("the commit was not there after {} s", FETCH_DEADLINE.as_secs())),
        }
        log.note(&job.check.command.join(" "));
        let limit = Duration::from_secs(job.check.timeout);
        match timeout(limit, run(&client, key, job, &job.check.command, log)).await {
            Ok(Ok(None)) => End::Passed,
            Ok(Ok(Some(end))) => End::Failed(match log.last_line() {
                last if last.is_empty() => end,
                last => format!("{end}: {last}"),
            }),
            Ok(Err(why)) => End::Broken(why),
            Err(_) => End::TimedOut,
        }
    }
}

/// Checks the commit out into the working tree. Files that the setup left beside it stay.
async fn fetch(client: &GuestClient<Channel>, key: &Key, job: &Job, log: &Log) -> Result<(), String> {
    let commands: [&[&str]; 2] = [
        &["git", "fetch", "--quiet", "origin", &key.commit],
        &["git", "checkout", "--quiet", "--force", "--detach", &key.commit],
    ];
    for command in commands {
        let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        if let Some(end) = run(client, key, job, &words, log).await? {
            return Err(format!("`git {}` of the commit {end}", command[1]));
        }
    }
    Ok(())
}

/// Runs a command in the repository. None: it ended well; otherwise how. An error says that it was not seen to end.
async fn run(
    client: &GuestClient<Channel>,
    key: &Key,
    job: &Job,
    words: &[String],
    log: &Log,
) -> Result<Option<String>, String> {
    let variables = [
        ("CI", "true"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("PILOTHOUSE_CHECK", &key.name),
        ("PILOTHOUSE_COMMIT", &key.commit),
        ("PILOTHOUSE_REPOSITORY", &key.repository),
    ];
    let own = job.build.recipe.environment.clone().into_iter();
    let start = ExecStart {
        command: words.to_vec(),
        environment: own.chain(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect(),
        directory: directory(job),
        terminal: None,
        beside_frozen: false,
        user: job.build.recipe.user.clone(),
    };
    let exit = command::follow(client.clone(), start, |(Output::Out(bytes) | Output::Err(bytes))| log.push(&bytes));
    match exit.await {
        Ok(exit) => Ok(command::bad_end(&exit)),
        Err(status) => Err(format!("the guest does not answer: {}", text::clean(status.message(), 256))),
    }
}

fn directory(job: &Job) -> String {
    job.build.recipe.directory().to_owned()
}

/// The VM as the gateway knows it: it may read the repository and push nothing.
fn caller(id: &str, key: &Key, job: &Job, access: Access) -> Caller {
    Caller {
        session_id: format!("ci-{id}"),
        slug: slug(id, job),
        environment: job.build.recipe.name.clone(),
        repository: Some(key.repository.clone()),
        branch_prefix: None,
        opens_pulls: None,
        also_read: job.build.recipe.also_read().to_vec(),
        egress: job.build.recipe.egress.clone(),
        beside: Beside::default(),
        access,
    }
}

/// Slug of the attempt's VM, which is also its hostname.
fn slug(id: &str, job: &Job) -> String {
    let end = id[id.len().saturating_sub(4)..].to_ascii_lowercase();
    format!("ci-{}-{end}", text::slug(&job.check.name, 28))
}
