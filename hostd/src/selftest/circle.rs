use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use hostd_core::{recipe::Cpu, session::Size};
use pilothouse_proto::guest::v1::{
    EventsRequest, ExecRequest, ExecStart, QuiesceRequest, event, exec_request, exec_response,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    place,
    steps::{Circle, Failure, Step},
};
use crate::{
    forge::BareRepositories,
    gateway::{Caller, Gateway},
    guest::Identity,
    guest_vm::{GuestVm, Met},
    vm::{
        Memory, VmSpec, Vmm,
        qemu::{BLANK, Confinement, Loaded, Qemu},
    },
};

const MEMORY: u64 = 256 << 20;
/// Longest time for a call into a guest.
const CALL: Duration = Duration::from_secs(60);
/// Path in the guest of its own program, which is there whatever its root file system holds.
pub(super) const SESSION: &str = "/run/pilothouse/bin/session";
/// Most bytes that are kept of what a program prints, from its beginning.
const OUTPUT: usize = 64 << 10;
/// Most bytes of the serial console's last words that an error shows.
const LAST_WORDS: usize = 512;

/// One way around the circle, under way.
pub(super) struct Runner {
    qemu: Qemu,
    pub(super) folder: PathBuf,
    vcpus: u32,
    lines: mpsc::Sender<String>,
    layers: Vec<PathBuf>,
    steps: Vec<Step>,
    step: &'static str,
    /// The VM that runs now.
    vm: Option<GuestVm>,
}

/// A guest that has shaken hands, and its link.
pub(super) type Guest = Met;

impl Runner {
    pub(super) fn new(qemu: Qemu, folder: &Path, vcpus: u32, lines: mpsc::Sender<String>) -> Self {
        Self { qemu, folder: folder.into(), vcpus, lines, layers: vec![], steps: vec![], step: "folder", vm: None }
    }

    /// Goes once around the circle, to the end or to where it breaks. No VM is left.
    pub(super) async fn run(self, cancel: &CancellationToken) -> Result<Circle, Failure> {
        let (confinement, steps) = self.conclude(async |runner| runner.circle().await, cancel).await?;
        Ok(Circle { steps, confinement })
    }

    /// A load without a guest, as [`Runner::run`].
    pub(super) async fn load(self, cancel: &CancellationToken) -> Result<Loaded, Failure> {
        let load = async |runner: &mut Self| {
            runner.begin("load").await;
            runner.qemu.try_load(&runner.folder).await.map_err(text)
        };
        Ok(self.conclude(load, cancel).await?.0)
    }

    /// What came of this work, and the steps that it took. No VM is left.
    pub(super) async fn conclude<T>(
        mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, String>,
        cancel: &CancellationToken,
    ) -> Result<(T, Vec<Step>), Failure> {
        let outcome = cancel.run_until_cancelled(work(&mut self)).await.unwrap_or_else(|| Err("interrupted".into()));
        let said = match &self.vm {
            Some(guest) if outcome.is_err() => last_words(&guest.vm().serial().await),
            _ => String::new(),
        };
        match self.vm.take() {
            Some(vm) => vm.end().await,
            // Perhaps cut off between its start and our knowing of it.
            None => place::end_all(&self.folder, &self.qemu).await,
        }
        let found = outcome.map_err(|why| Failure { step: self.step, why: why + &said })?;
        Ok((found, self.steps))
    }

    /// Makes the image that lies below all layers.
    pub(super) async fn root(&mut self) -> Result<(), String> {
        let root = self.folder.join("root.ext4");
        self.qemu.create_blank_root(&root).await.map_err(text)?;
        self.layers.push(root);
        Ok(())
    }

    /// Bytes that the VM which runs now holds for itself.
    pub(super) fn private(&self) -> u64 {
        self.vm.as_ref().map_or(0, |guest| guest.vm().memory().private)
    }

    async fn circle(&mut self) -> Result<Confinement, String> {
        self.root().await?;
        let (template, snapshot) = (self.folder.join("template"), self.folder.join("snapshot"));

        let began = self.begin("cold boot").await;
        let memory = Memory::Template(self.folder.join("maker.ram"));
        let guest = self.wake("maker", 1, memory, None).await?;
        self.done(began, None);
        let boot_id = guest.hello.handshake.boot_id.clone();
        self.put_down("template", guest, &template).await?;

        let began = self.begin("clone").await;
        let guest = self.wake("clone", 2, Memory::Clone(template.clone()), Some(&template)).await?;
        self.done(began, None);
        let nonce = nonce()?;
        tell(&guest, &nonce).await?;
        let confinement =
            Qemu::confinement(&self.folder.join("clone")).map_err(|error| format!("its rights: {error}"))?;
        self.put_down("suspend", guest, &snapshot).await?;

        let began = self.begin("resume").await;
        let guest = self.wake("resumed", 3, Memory::Clone(template), Some(&snapshot)).await?;
        self.done(began, None);
        let now = &guest.hello.handshake.boot_id;
        if *now != boot_id {
            return Err(format!("the guest booted anew instead of going on (boot id {boot_id}, then {now})"));
        }
        remembers(&guest, &nonce).await?;
        if let Some(vm) = self.vm.take() {
            vm.end().await;
        }
        Ok(confinement)
    }

    pub(super) async fn begin(&mut self, step: &'static str) -> Instant {
        self.step = step;
        // Whoever reads along may have gone.
        let _ = self.lines.send(format!("self-test: {step}")).await;
        Instant::now()
    }

    pub(super) fn done(&mut self, began: Instant, bytes: Option<u64>) {
        self.steps.push(Step { name: self.step, took: began.elapsed(), bytes });
    }

    /// Starts a VM with a layer of its own on all earlier ones, and shakes hands with its guest.
    pub(super) async fn wake(
        &mut self,
        name: &str,
        generation: u64,
        memory: Memory,
        from: Option<&Path>,
    ) -> Result<Guest, String> {
        let directory = self.folder.join(name);
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let disk = directory.join("disk.qcow2");
        self.qemu.create_disk(&disk, BLANK).await.map_err(text)?;
        let size = Size { vcpus: self.vcpus, memory: MEMORY, disk: BLANK };
        let layers = self.layers.clone();
        self.layers.push(disk.clone());
        let spec =
            VmSpec { name: format!("selftest-{name}"), directory, size, layers, disk, memory, cpu: Cpu::default() };
        let vm = match from {
            Some(snapshot) => GuestVm::resume(&self.qemu, spec, snapshot).await,
            None => GuestVm::start(&self.qemu, spec).await,
        };
        let vm = self.vm.insert(vm.map_err(text)?);
        vm.unless_it_ends(shake(vm, generation)).await.map_err(text)?
    }

    /// Freezes the guest, writes its snapshot, and ends its VM.
    pub(super) async fn put_down(&mut self, step: &'static str, guest: Guest, folder: &Path) -> Result<(), String> {
        let began = self.begin(step).await;
        let mut client = guest.hello.client.clone();
        let quiesced = timeout(CALL, client.quiesce(QuiesceRequest { freeze: true, trim: true })).await;
        quiesced.map_err(|_| "the guest did not freeze in time")?.map_err(|status| said("freezing", &status))?;
        let _held = guest.link.close();
        let vm = self.vm.take().ok_or("its VM is gone")?;
        let saved = vm.vm().snapshot(folder).await;
        vm.end().await;
        saved.map_err(text)?;
        self.done(began, Some(on_disk(folder)));
        Ok(())
    }
}

async fn shake(vm: &GuestVm, generation: u64) -> Result<Guest, String> {
    let id = "selftest";
    // It has no repository, and so no way to any.
    let gateway = Arc::new(Gateway::new(BareRepositories::at("/nonexistent".into())));
    let identity = Identity::lasting(id, id.into(), generation);
    vm.meet(identity, &gateway, Caller::nowhere(id, id, "")).await.map_err(text)
}

/// Leaves a word in the guest's memory, and nowhere else.
async fn tell(guest: &Guest, word: &str) -> Result<(), String> {
    run_in(guest, [SESSION, "status", "idle", word].map(Into::into).into()).await.map(drop)
}

/// Runs a program in the guest to its end; returns what it printed.
pub(super) async fn run_in(guest: &Guest, command: Vec<String>) -> Result<Vec<u8>, String> {
    let start = ExecStart { command, directory: "/".into(), ..Default::default() };
    let start = ExecRequest { request: Some(exec_request::Request::Start(start)) };
    let talk = async {
        let mut client = guest.hello.client.clone();
        let mut answers = client.exec(tokio_stream::once(start)).await?.into_inner();
        let mut output = Vec::new();
        while let Some(answer) = answers.message().await? {
            match answer.response {
                Some(exec_response::Response::Exit(exit)) if exit.code == 0 => return Ok(Ok(output)),
                Some(exec_response::Response::Stdout(bytes) | exec_response::Response::Stderr(bytes)) => {
                    let room = OUTPUT.saturating_sub(output.len());
                    output.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
                }
                _ => {}
            }
        }
        Ok(Err(String::from_utf8_lossy(&output).into_owned()))
    };
    match timeout(CALL, talk).await {
        Ok(Ok(Ok(output))) => Ok(output),
        Ok(Ok(Err(output))) => Err(format!("a program failed: {}", hostd_core::text::clean(&output, LAST_WORDS))),
        Ok(Err(status)) => Err(said("running a program", &status)),
        Err(_) => Err("a program did not end in time".into()),
    }
}

/// Checks that the guest still has that word.
async fn remembers(guest: &Guest, word: &str) -> Result<(), String> {
    let first = async {
        let mut events = guest.hello.client.clone().events(EventsRequest { after: 0 }).await?.into_inner();
        events.message().await
    };
    let first = timeout(CALL, first).await.map_err(|_| "the guest forgot what it was told")?;
    let event = first.map_err(|status| said("asking for its memory", &status))?.and_then(|event| event.event);
    match event {
        Some(event::Event::Status(status)) if status.text == word => Ok(()),
        _ => Err("the guest remembers something else than it was told".into()),
    }
}

fn nonce() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(text)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Bytes that the files of a folder take on disk.
fn on_disk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.blocks() * 512).sum()
}

fn last_words(serial: &[u8]) -> String {
    let tail = serial.get(serial.len().saturating_sub(LAST_WORDS)..).unwrap_or_default();
    let text = hostd_core::text::clean(&String::from_utf8_lossy(tail), LAST_WORDS);
    if text.trim().is_empty() { String::new() } else { format!("; its console says: {}", text.trim()) }
}

fn said(what: &str, status: &tonic::Status) -> String {
    format!("{what} in the guest: {}", hostd_core::text::clean(status.message(), LAST_WORDS))
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
