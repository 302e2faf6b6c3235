//! A running VM: one task owns its process and its control connection; everybody else asks that task.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use hostd_core::session::Cause;
use pilothouse_proto::console::BOOT_AGAIN;
use serde_json::json;
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    disk::{Disk, NotPivoted},
    halt,
    process::Process,
    qmp::{Event, Qmp, QmpError},
    record::Record,
    serial::Serial,
    snapshot::{self, Layout},
    sockets,
    stall::Stall,
};
use crate::vm::{
    Io, MemoryUse, Port, Vm, VmError, file, identity::ProcessIdentity, program, snapshot::store::Manifest,
};

/// For an answer of QEMU that takes no time.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// For QEMU to write what it holds of the disk and end.
const QUIT: Duration = Duration::from_secs(60);
/// For the kernel to clear away a killed process.
pub(super) const KILL: Duration = Duration::from_secs(30);
/// Of one VM, at its guest's wish. On a machine with three times as much to do as it can, 3 of 200 guests found no timer.
const BOOTS: u32 = 10;
/// Of one that was ended before it could write to a layer that no record names.
const NO_TOP: &str =
    "QEMU did not say which layer of its disk is the top, and hostd ended it before it wrote to either";
/// QEMU's own words in the VM's folder, where it had any.
const LOG: &str = "qemu.log";

/// The handle; see [`Vm`].
#[derive(Debug)]
pub(super) struct Machine {
    directory: PathBuf,
    process: ProcessIdentity,
    requests: mpsc::Sender<Request>,
    cause: watch::Receiver<Option<Cause>>,
    /// The serial output as of the end.
    last: watch::Receiver<Vec<u8>>,
    stalled: watch::Receiver<bool>,
    up: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Request {
    Serial(oneshot::Sender<Vec<u8>>),
    Snapshot(PathBuf, oneshot::Sender<Result<Manifest, VmError>>),
    Pivot(PathBuf, oneshot::Sender<Result<(), VmError>>),
    GoOn(oneshot::Sender<Result<(), VmError>>),
    End,
}

/// What the task owns.
#[derive(Debug)]
struct Owner {
    directory: PathBuf,
    process: Process,
    /// None when it broke.
    qmp: Option<Qmp<UnixStream>>,
    layout: Layout,
    disk: Disk,
    serial: Serial,
    stall: Stall,
    /// Its guest has shaken hands once, or came from a snapshot.
    up: Arc<AtomicBool>,
    /// Its guest's, so far.
    boots: u32,
}

impl Machine {
    /// Starts the task that owns a running QEMU.
    pub(super) fn start(
        directory: &Path,
        process: Process,
        identity: ProcessIdentity,
        qmp: Qmp<UnixStream>,
        layout: Layout,
        serial: Serial,
        up: bool,
    ) -> Self {
        let (requests, inbox) = mpsc::channel(16);
        let (set_cause, cause) = watch::channel(None);
        let (set_last, last) = watch::channel(Vec::new());
        let (stall, stalled) = Stall::new();
        let (folder, disk) = (directory.to_owned(), Disk::default());
        let up = Arc::new(AtomicBool::new(up));
        let owner =
            Owner { directory: folder, process, qmp: Some(qmp), layout, disk, serial, stall, up: up.clone(), boots: 1 };
        tokio::spawn(async move {
            let (cause, last) = owner.run(inbox).await;
            set_last.send_replace(last);
            set_cause.send_replace(Some(cause));
        });
        Self { directory: directory.to_owned(), process: identity, requests, cause, last, stalled, up }
    }
}

#[async_trait]
impl Vm for Machine {
    async fn connect(&self, port: Port) -> io::Result<Box<dyn Io>> {
        let name = match port {
            Port::Link => sockets::LINK,
            Port::Tunnel => sockets::TUNNEL,
        };
        Ok(Box::new(sockets::connect(&self.directory, name).await?))
    }

    async fn ended(&self) -> Cause {
        let mut cause = self.cause.clone();
        match cause.wait_for(Option::is_some).await.map(|cause| cause.clone()) {
            Ok(Some(cause)) => cause,
            // The task ends without a word only when the runtime does.
            _ => Cause::VmDied("hostd is ending".into()),
        }
    }

    async fn end(&self) {
        // Refused when the task is gone, and so is the VM.
        let _ = self.requests.send(Request::End).await;
        self.ended().await;
    }

    async fn serial(&self) -> Vec<u8> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::Serial(reply)).await.is_ok()
            && let Ok(bytes) = answer.await
        {
            return bytes;
        }
        self.ended().await;
        self.last.borrow().clone()
    }

    async fn snapshot(&self, folder: &Path) -> Result<Manifest, VmError> {
        let folder = std::path::absolute(folder).map_err(file::failed(folder))?;
        self.ask(|reply| Request::Snapshot(folder, reply)).await
    }

    async fn pivot(&self, top: &Path) -> Result<(), VmError> {
        let top = std::path::absolute(top).map_err(file::failed(top))?;
        self.ask(|reply| Request::Pivot(top, reply)).await
    }

    async fn go_on(&self) -> Result<(), VmError> {
        self.ask(Request::GoOn).await
    }

    fn came_up(&self) {
        self.up.store(true, Ordering::Relaxed);
    }

    fn stalled(&self) -> bool {
        *self.stalled.borrow()
    }

    fn memory(&self) -> MemoryUse {
        self.process.memory()
    }

    fn memory_part(&self) -> MemoryUse {
        self.process.memory_part()
    }
}

impl Machine {
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T, VmError>>) -> Request) -> Result<T, VmError> {
        let (reply, answer) = oneshot::channel();
        // Refused, or left without an answer, when the VM is gone.
        let _ = self.requests.send(request(reply)).await;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> VmError {
    VmError::Failed { program: program::QEMU.name.into(), output: "the VM has ended".into() }
}

impl Owner {
    /// Lives as long as the VM, whether or not anyone still holds its handle; leaves its folder tidy.
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>) -> (Cause, Vec<u8>) {
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

    /// Until the process is gone.
    async fn watch(&mut self, inbox: &mut mpsc::Receiver<Request>) -> Cause {
        loop {
            tokio::select! {
                biased;
                status = self.process.child.wait() => return died(status, &self.process.output.read()),
                Some(request) = inbox.recv() => match request {
                    Request::Serial(reply) => {
                        self.read_serial().await;
                        // Whoever asked may have gone meanwhile.
                        let _ = reply.send(self.serial.bytes().to_vec());
                    }
                    Request::Snapshot(folder, reply) => {
                        self.stall.over();
                        let saved = match &mut self.qmp {
                            Some(qmp) => snapshot::save(qmp, &self.layout, &folder).await,
                            None => Err(gone()),
                        };
                        let _ = reply.send(saved);
                    }
                    Request::Pivot(top, reply) => {
                        let (pivoted, known) = self.pivot(&top).await;
                        if !known {
                            self.kill().await;
                            return Cause::VmDied(NO_TOP.into());
                        }
                        let _ = reply.send(pivoted);
                    }
                    Request::GoOn(reply) => {
                        let _ = reply.send(self.go_on().await);
                    }
                    Request::End => {
                        self.read_serial().await;
                        self.kill().await;
                        return Cause::VmDied("ended by hostd".into());
                    }
                },
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
            Event::Other => return None,
        };
        Some(match ended {
            Event::Shutdown { guest: true, reset: true } => {
                if self.serial.last_words().contains(BOOT_AGAIN) && self.boot_again().await {
                    return None;
                }
                self.kill().await;
                Cause::GuestReset(self.serial.last_words())
            }
            Event::Shutdown { guest: true, .. } => self.quit().await,
            Event::Shutdown { .. } => {
                let status = self.quit().await;
                if status == Cause::PoweredOff { Cause::VmDied("ended from outside hostd".into()) } else { status }
            }
            Event::DiskStopped { .. } | Event::Other => return None,
        })
    }

    /// Whether it boots.
    async fn boot_again(&mut self) -> bool {
        let may = self.boots < BOOTS && !self.up.load(Ordering::Relaxed);
        let Some(qmp) = self.qmp.as_mut().filter(|_| may) else { return false };
        self.boots += 1;
        tracing::info!(directory = ?self.directory, why = self.serial.last_words(), "a guest is booted again");
        match halt::boot_again(qmp).await {
            Ok(()) => true,
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
        match timeout(QUIT, self.process.child.wait()).await {
            Ok(Ok(status)) if status.success() => Cause::PoweredOff,
            Ok(status) => died(status, &self.process.output.read()),
            Err(_) => {
                self.kill().await;
                Cause::VmDied(format!("powered off, but QEMU did not end within {} s", QUIT.as_secs()))
            }
        }
    }

    /// A QEMU that closed its control connection is about to end; one that broke the protocol is made to.
    async fn after_silence(&mut self) -> Cause {
        match timeout(ANSWER, self.process.child.wait()).await {
            Ok(status) => died(status, &self.process.output.read()),
            Err(_) => {
                self.kill().await;
                Cause::VmDied("its control connection broke, and hostd ended it".into())
            }
        }
    }

    async fn kill(&mut self) {
        let killed = timeout(KILL, self.process.child.kill()).await;
        if !matches!(killed, Ok(Ok(()))) {
            tracing::error!(pid = self.process.pid, "QEMU does not end");
        }
    }

    /// And whether it is known which layer the guest would write to now.
    async fn pivot(&mut self, top: &Path) -> (Result<(), VmError>, bool) {
        let Some(qmp) = &mut self.qmp else { return (Err(gone()), true) };
        match self.disk.pivot(qmp, top).await {
            Ok(()) => {
                self.layout.disk = top.file_name().unwrap_or_default().to_string_lossy().into_owned();
                (Ok(()), true)
            }
            Err(NotPivoted::AsItWas(error)) => (Err(error), true),
            Err(NotPivoted::Unknown(error)) => (Err(error), false),
        }
    }

    async fn go_on(&mut self) -> Result<(), VmError> {
        halt::go_on(self.qmp.as_mut().ok_or_else(gone)?).await
    }

    /// Not waited for long: it is tried again anyway, and somebody may want to end it meanwhile.
    async fn try_on(&mut self) {
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

/// How a process ended that was not meant to.
fn died(status: io::Result<ExitStatus>, output: &[u8]) -> Cause {
    let how = match status {
        Ok(status) => match (status.signal(), status.code()) {
            (Some(9), _) => "killed (signal 9), by the kernel for want of memory or by somebody".into(),
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, code) => format!("QEMU ended with code {}", code.unwrap_or_default()),
        },
        Err(error) => format!("QEMU ended: {error}"),
    };
    let words = program::message(output, "");
    Cause::VmDied(words.lines().last().map_or(how.clone(), |words| format!("{how}: {words}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_it_died() {
        let died = |raw, output: &[u8]| died(Ok(ExitStatus::from_raw(raw)), output).to_string();
        assert!(died(9, b"").contains("signal 9"));
        assert!(died(11, b"").contains("killed by signal 11"));
        assert_eq!(died(256, b"one\nqemu: two\n"), "its VM died: QEMU ended with code 1: qemu: two");
    }
}
