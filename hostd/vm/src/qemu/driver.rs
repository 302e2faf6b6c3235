//! The task that owns a VM's process and its control connection, from its start to its end.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hostd_core::session::Cause;
use pilothouse_proto::console::BOOT_AGAIN;
use serde_json::json;
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};

use super::{
    age,
    deadlines::ANSWER,
    disk::{Disk, NotPivoted},
    errors::gone,
    halt,
    kills::Kills,
    layout::Layout,
    process::Process,
    qmp::{Event, Qmp, QmpError},
    record::{Change, Kept, Record},
    serial::Serial,
    snapshot, sockets,
    stall::Stall,
};
use crate::{
    VmError, accelerator,
    disk::{GO_ON, measure},
    file, program,
    snapshot::store::Manifest,
};

/// Longest time for QEMU to write what it holds of the disk and end.
const QUIT: Duration = Duration::from_secs(60);
/// Most times that one guest is booted again which resets its machine before its first word. On a machine with three times as
/// much to do as it can, 3 of 200 guests found no timer; with six times as much, one measured it wrongly ten times in a row.
const BOOTS: u32 = 40;
/// Cause of the end of a VM that was ended before it could write to a layer that no record names.
const NO_TOP: &str =
    "QEMU did not say which layer of its disk is the top, and hostd ended it before it wrote to either";
/// Most bytes of what QEMU says that stand in a cause.
const WORDS: usize = 512;
/// Most bytes of the processors' registers that stand in the log.
const REGISTERS: usize = 4096;
/// Most times that what is kept of a VM is written, and the pause between two.
const WRITES: u32 = 5;
const WRITE_AGAIN: Duration = Duration::from_millis(100);
/// Name of the file with QEMU's own words in the VM's folder, where it had any.
const LOG: &str = "qemu.log";

/// A request to the task that owns the VM.
#[derive(Debug)]
pub(super) enum Request {
    Serial(oneshot::Sender<Vec<u8>>),
    Snapshot(PathBuf, oneshot::Sender<Result<Manifest, VmError>>),
    Pivot(PathBuf, oneshot::Sender<Result<(), VmError>>),
    Rebase(usize, PathBuf, oneshot::Sender<Result<(), VmError>>),
    Pause(oneshot::Sender<Result<(), VmError>>),
    GoOn(oneshot::Sender<Result<(), VmError>>),
    End,
}

/// State of the task that owns the VM.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) directory: PathBuf,
    pub(super) process: Process,
    /// Control connection; None: it broke.
    pub(super) qmp: Option<Qmp<UnixStream>>,
    pub(super) layout: Layout,
    pub(super) disk: Disk,
    pub(super) serial: Serial,
    pub(super) stall: Stall,
    pub(super) kills: Kills,
    /// Whether the guest has shaken hands once, or came from a snapshot.
    pub(super) up: Arc<AtomicBool>,
    /// Number of times that the guest was booted again.
    pub(super) boots: u32,
    /// When the guest booted last; None: it came from a snapshot, and is old enough for the next.
    pub(super) booted: Option<Instant>,
    /// What is kept of the VM in its folder.
    pub(super) record: Record,
    /// Copy of the template's RAM that QEMU maps, kept for as long as the VM runs.
    pub(super) _sealed: Option<Arc<OwnedFd>>,
}

impl Driver {
    /// Lives as long as the VM, whether or not anyone still holds its handle; leaves its folder tidy.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Request>) -> (Cause, Vec<u8>) {
        let cause = self.watch(&mut inbox).await;
        drop(inbox);
        let output = self.process.output.read();
        if !output.is_empty()
            && let Err(error) = file::write_atomically(&self.directory.join(LOG), &output)
        {
            tracing::warn!(directory = ?self.directory, %error, "QEMU's log cannot be written");
        }
        sockets::remove(&self.directory);
        Record::remove(&self.directory);
        (cause, self.serial.bytes().to_vec())
    }

    /// Serves requests and events until the process is gone; returns why it ended.
    async fn watch(&mut self, inbox: &mut mpsc::Receiver<Request>) -> Cause {
        loop {
            tokio::select! {
                biased;
                ended = self.process.wait() => return self.died(ended).await,
                Some(request) = inbox.recv() => match request {
                    Request::Serial(reply) => {
                        self.read_serial().await;
                        // Whoever asked may have gone meanwhile.
                        let _ = reply.send(self.serial.bytes().to_vec());
                    }
                    Request::Snapshot(folder, reply) => {
                        self.stall.over();
                        self.grow_old_enough().await;
                        let saved = match &mut self.qmp {
                            Some(qmp) => snapshot::save(qmp, &self.layout, &folder).await,
                            None => Err(gone()),
                        };
                        let _ = reply.send(saved);
                    }
                    Request::Pivot(top, reply) => {
                        let (pivoted, known) = self.pivot(&top).await;
                        if !known {
                            self.process.kill().await;
                            return Cause::VmDied(NO_TOP.into());
                        }
                        let _ = reply.send(pivoted);
                    }
                    Request::Rebase(below, merged, reply) => {
                        let _ = reply.send(self.rebase(below, &merged).await);
                    }
                    Request::Pause(reply) => {
                        self.stall.over();
                        let _ = reply.send(self.pause().await);
                    }
                    Request::GoOn(reply) => {
                        let _ = reply.send(self.go_on().await);
                    }
                    Request::End => {
                        self.read_serial().await;
                        self.process.kill().await;
                        return Cause::VmDied("ended by hostd".into());
                    }
                },
                () = self.kills.due() => self.kills.look(),
                () = self.stall.due() => if self.stall.tries() {
                    self.try_on().await;
                },
                event = next_event(&mut self.qmp) => match event {
                    Ok(event) => if let Some(cause) = self.on_event(event).await { return cause },
                    Err(error) => {
                        tracing::warn!(directory = ?self.directory, %error, "QEMU's control connection broke");
                        self.qmp = None;
                        return self.after_silence().await;
                    }
                },
            }
        }
    }

    /// The cause, where an event ends the VM; then the process is gone.
    async fn on_event(&mut self, event: Event) -> Option<Cause> {
        let ended = match event {
            Event::Shutdown { .. } => {
                self.read_serial().await;
                event
            }
            // Nothing but a full disk stops it: see the device's arguments.
            Event::DiskStopped { reason } => {
                tracing::warn!(directory = ?self.directory, reason, "a VM waits for room on the disk");
                self.stall.stopped();
                return None;
            }
            Event::Stopped => return self.on_stop().await,
            Event::Other => return None,
        };
        Some(match ended {
            Event::Shutdown { guest: true, reset: true } => {
                // A kernel has no console yet when it fails that early; the next boot mostly gets past it.
                let silent = self.serial.bytes().is_empty();
                if silent {
                    self.keep_registers().await;
                }
                if (silent || self.serial.last_words().contains(BOOT_AGAIN)) && self.boot_again().await {
                    return None;
                }
                self.process.kill().await;
                Cause::of_reset(self.serial.bytes(), self.serial.last_words())
            }
            Event::Shutdown { guest: true, .. } => self.quit().await,
            Event::Shutdown { .. } => {
                let status = self.quit().await;
                if status == Cause::PoweredOff { self.told_to() } else { status }
            }
            Event::DiskStopped { .. } | Event::Stopped | Event::Other => return None,
        })
    }

    /// QEMU says that the VM stands; perhaps because hostd asked for it, or for room. A guest that KVM gave up on stands for
    /// good.
    async fn on_stop(&mut self) -> Option<Cause> {
        let broken = halt::broken(self.qmp.as_mut()?).await;
        match broken {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => {
                tracing::warn!(directory = ?self.directory, %error, "QEMU does not say why a VM stands");
                return None;
            }
        }
        self.read_serial().await;
        let words = given_up(&self.process.output.read());
        self.process.kill().await;
        Some(Cause::VmDied(words))
    }

    /// Waits until the guest is old enough to be suspended.
    async fn grow_old_enough(&self) {
        let Some(booted) = self.booted.filter(|_| self.layout.kvm()) else { return };
        let rest = age::rest(&accelerator::host_kernel(), booted.elapsed());
        if !rest.is_zero() {
            tracing::debug!(directory = ?self.directory, ?rest, "a young guest runs on before its snapshot");
            sleep(rest).await;
        }
    }

    /// Logs where the processors of a guest stand that has reset its machine without a word.
    async fn keep_registers(&mut self) {
        let Some(qmp) = &mut self.qmp else { return };
        let question = json!({"command-line": "info registers -a"});
        let registers = match qmp.execute("human-monitor-command", question, ANSWER).await {
            Ok(answer) => hostd_core::text::clean(answer.as_str().unwrap_or_default(), REGISTERS),
            Err(error) => error.to_string(),
        };
        tracing::warn!(directory = ?self.directory, registers, "a guest has reset its machine before its first word");
    }

    /// Boots a guest again that has reset its machine before its first word; returns whether it boots.
    async fn boot_again(&mut self) -> bool {
        let may = self.boots < BOOTS && !self.up.load(Ordering::Relaxed);
        let Some(qmp) = self.qmp.as_mut().filter(|_| may) else { return false };
        self.boots += 1;
        tracing::info!(directory = ?self.directory, why = self.serial.last_words(), "a guest is booted again");
        match halt::boot_again(qmp).await {
            Ok(()) => {
                self.booted = Some(Instant::now());
                true
            }
            Err(error) => {
                tracing::warn!(directory = ?self.directory, %error, "a guest is not booted again");
                false
            }
        }
    }

    /// Lets QEMU write what it still holds of the disk: a build goes on from it.
    async fn quit(&mut self) -> Cause {
        if let Some(qmp) = &mut self.qmp {
            // QEMU may end before it has answered.
            let _ = qmp.execute("quit", json!({}), ANSWER).await;
        }
        match timeout(QUIT, self.process.wait()).await {
            // It was told to, where nobody hears how.
            Ok(None) => Cause::PoweredOff,
            Ok(Some(Ok(status))) if status.success() => Cause::PoweredOff,
            Ok(ended) => self.died(ended).await,
            Err(_) => {
                self.process.kill().await;
                Cause::VmDied(format!("powered off, but QEMU did not end within {} s", QUIT.as_secs()))
            }
        }
    }

    /// A QEMU that closed its control connection is about to end; one that broke the protocol is made to.
    async fn after_silence(&mut self) -> Cause {
        match timeout(ANSWER, self.process.wait()).await {
            Ok(ended) => self.died(ended).await,
            Err(_) => {
                self.process.kill().await;
                Cause::VmDied("its control connection broke, and hostd ended it".into())
            }
        }
    }

    /// Puts a new top on the disk; returns also whether it is known which layer the guest would write to now.
    async fn pivot(&mut self, top: &Path) -> (Result<(), VmError>, bool) {
        // Whoever takes the VM over has to know that it may write to the new layer.
        if let Err(error) = self.intend(Change::Pivot(top.to_owned())) {
            return (Err(error), true);
        }
        let Some(qmp) = &mut self.qmp else { return (Err(gone()), true) };
        let pivoted = match self.disk.pivot(qmp, top).await {
            Ok(()) => {
                self.layout.disk = file_name(top);
                (Ok(()), true)
            }
            Err(NotPivoted::AsItWas(error)) => (Err(error), true),
            Err(NotPivoted::Unknown(error)) => (Err(error), false),
        };
        let disk = self.disk.clone();
        self.keep(|kept| {
            if pivoted.0.is_ok() {
                top.clone_into(&mut kept.top);
            }
            (kept.nodes, kept.change) = (disk, None);
        })
        .await;
        pivoted
    }

    /// Puts one layer in place of several.
    async fn rebase(&mut self, below: usize, merged: &Path) -> Result<(), VmError> {
        self.intend(Change::Rebase)?;
        let qmp = self.qmp.as_mut().ok_or_else(gone)?;
        let rebased = self.disk.rebase(qmp, below, merged).await;
        let disk = self.disk.clone();
        self.keep(|kept| (kept.nodes, kept.change) = (disk, None)).await;
        rebased
    }

    /// Keeps what is about to become of the disk for a hostd that may come to take the VM over.
    ///
    /// # Errors
    /// It cannot be written: then it must not be done.
    fn intend(&mut self, change: Change) -> Result<(), VmError> {
        let Some(kept) = &mut self.record.machine else { return Ok(()) };
        kept.change = Some(change);
        let written = self.record.write(&self.directory);
        if written.is_err()
            && let Some(kept) = &mut self.record.machine
        {
            kept.change = None;
        }
        written.map_err(file::failed(&self.directory))
    }

    /// Keeps what has become of it. Where that cannot be written, the next hostd finds it out by what was intended.
    async fn keep(&mut self, change: impl FnOnce(&mut Kept)) {
        let Some(kept) = &mut self.record.machine else { return };
        change(kept);
        for _ in 1..WRITES {
            if self.record.write(&self.directory).is_ok() {
                return;
            }
            sleep(WRITE_AGAIN).await;
        }
        if let Err(error) = self.record.write(&self.directory) {
            tracing::warn!(directory = ?self.directory, %error, "what is kept of a VM is not up to date");
        }
    }

    /// Stops the VM. One that stood still for want of room is told to go on later, too, and says again that it has none.
    async fn pause(&mut self) -> Result<(), VmError> {
        halt::stop(self.qmp.as_mut().ok_or_else(gone)?).await
    }

    async fn go_on(&mut self) -> Result<(), VmError> {
        halt::go_on(self.qmp.as_mut().ok_or_else(gone)?).await
    }

    /// Lets a stalled VM run. Not waited for long: it is tried again anyway, and somebody may want to end it meanwhile.
    async fn try_on(&mut self) {
        if measure(&self.directory).is_some_and(|disk| disk.available < GO_ON) {
            self.stall.stopped();
            return;
        }
        let Some(qmp) = &mut self.qmp else { return };
        if let Err(error) = qmp.execute("cont", json!({}), ANSWER).await {
            tracing::warn!(directory = ?self.directory, %error, "a VM that waits for room does not go on");
        }
    }

    async fn read_serial(&mut self) {
        let Some(qmp) = &mut self.qmp else { return };
        match qmp.execute("ringbuf-read", Serial::question(), ANSWER).await {
            Ok(answer) => self.serial.answer(&answer),
            Err(error) => {
                tracing::warn!(directory = ?self.directory, %error, "the serial output cannot be read");
                if matches!(error, QmpError::Io(_)) {
                    self.qmp = None;
                }
            }
        }
    }
}

async fn next_event(qmp: &mut Option<Qmp<UnixStream>>) -> io::Result<Event> {
    match qmp {
        Some(qmp) => qmp.event().await,
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}

/// Name of a layer's file.
pub(super) fn file_name(layer: &Path) -> String {
    layer.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Why KVM does not run a guest any more, with what QEMU says of it; the registers that QEMU prints after that are in its log.
fn given_up(output: &[u8]) -> String {
    let words = program::message(output, "QEMU does not say why");
    let words: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let from =
        words.iter().rposition(|line| line.contains("KVM internal error")).unwrap_or(words.len().saturating_sub(1));
    let said = words.iter().skip(from).take_while(|line| !line.contains('=')).copied().collect::<Vec<_>>().join("; ");
    format!("KVM cannot run its guest any further (internal-error): {}", hostd_core::text::clean(&said, WORDS))
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
