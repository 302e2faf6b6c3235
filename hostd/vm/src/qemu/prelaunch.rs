//! A QEMU that was started and answers, and runs no guest yet.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::net::UnixStream;

use super::{
    address::host_address,
    argv::Inherited,
    deadlines::GREETING,
    plan::{Begin, Plan},
    process::{self, Process},
    qmp::{Qmp, QmpError},
    record::Record,
    sockets::{self, Listeners},
};
use crate::{
    Port, VmError, VmSpec,
    file::failed,
    identity::ProcessIdentity,
    program::{self, QEMU},
};

/// A QEMU that runs no guest yet: its process, its control connection and its record. It has to be ended: it lives on when this
/// is dropped.
#[derive(Debug)]
pub(super) struct Prelaunch {
    pub(super) process: Process,
    pub(super) qmp: Qmp<UnixStream>,
    pub(super) record: Record,
    pub(super) folder: PathBuf,
    /// Address in the process of the guest's first byte of RAM.
    pub(super) base: u64,
    /// Copy of its template's RAM that it maps, where there is one: while it runs, others map the same.
    pub(super) sealed: Option<Arc<OwnedFd>>,
}

impl Prelaunch {
    /// Starts a QEMU in the folder of `spec`, and has it recorded before anything else: a later hostd finds whatever runs.
    /// Nothing is left behind on an error.
    pub(super) async fn start(plan: &Plan, spec: &VmSpec, program: &Path, begin: Begin) -> Result<Self, VmError> {
        let folder = &spec.directory;
        let started = Self::launch(plan, spec, program, begin).await;
        if started.is_err() {
            sockets::remove(folder);
            Record::remove(folder);
        }
        started
    }

    async fn launch(plan: &Plan, spec: &VmSpec, program: &Path, begin: Begin) -> Result<Self, VmError> {
        let folder = &spec.directory;
        let sockets = Listeners::bind(folder).map_err(failed(folder))?;
        let template = plan.sealed.as_ref().map(|sealed| sealed.try_clone()).transpose().map_err(failed(folder))?;
        let numbers = Inherited {
            qmp: sockets.qmp.as_raw_fd(),
            link: sockets.link.as_raw_fd(),
            tunnel: sockets.tunnel.as_raw_fd(),
            template: template.as_ref().map(AsRawFd::as_raw_fd),
        };
        let argv = plan.machine(spec, numbers, begin).argv()?;
        let inherited = [sockets.qmp, sockets.link, sockets.tunnel].into_iter().chain(template).collect();
        let mut process = process::spawn(program, &argv, inherited).map_err(failed(program))?;
        let words = std::iter::once(program.as_os_str()).chain(argv.iter().map(AsRef::as_ref));
        let words = words.map(|word: &std::ffi::OsStr| word.to_string_lossy().into_owned()).collect();
        match take_over(folder, &process, words).await {
            Ok((record, qmp, base)) => {
                Ok(Self { process, qmp, record, folder: folder.clone(), base, sealed: plan.sealed.clone() })
            }
            Err(error) => {
                process.kill().await;
                Err(error)
            }
        }
    }

    /// Moves it into another folder of the same file system. Its record is in one of the two at any time.
    pub(super) fn move_to(&mut self, folder: &Path) -> Result<(), VmError> {
        self.record.write(folder).map_err(failed(folder))?;
        let from = std::mem::replace(&mut self.folder, folder.to_owned());
        Record::remove(&from);
        sockets::rename(&from, folder).map_err(failed(folder))
    }

    /// Connects the link's port.
    pub(super) async fn connect(&self) -> Result<UnixStream, VmError> {
        sockets::connect_port(&self.folder, Port::Link).await.map_err(failed(&self.folder))
    }

    pub(super) fn runs(&mut self) -> bool {
        self.process.runs()
    }

    /// Ends it, and leaves its folder tidy. False: it does not end, and stays in its record.
    pub(super) async fn end(mut self) -> bool {
        let ended = self.process.kill().await;
        if ended {
            sockets::remove(&self.folder);
            Record::remove(&self.folder);
        }
        ended
    }

    /// The error of a command, with what QEMU printed.
    pub(super) fn said(&self, error: &QmpError) -> VmError {
        said(&self.process, error)
    }
}

async fn take_over(
    folder: &Path,
    process: &Process,
    argv: Vec<String>,
) -> Result<(Record, Qmp<UnixStream>, u64), VmError> {
    let record = Record::new(ProcessIdentity::of(process.pid).map_err(failed(folder))?, argv);
    record.write(folder).map_err(failed(folder))?;
    let greeted = async {
        let stream = sockets::connect(folder, sockets::QMP).await?;
        Qmp::open(stream, GREETING).await
    };
    let mut qmp = greeted.await.map_err(|error| said(process, &error))?;
    let base = host_address(&mut qmp, 0, GREETING).await?;
    Ok((record, qmp, base))
}

fn said(process: &Process, error: &QmpError) -> VmError {
    VmError::Failed { program: QEMU.name.into(), output: program::message(&process.output.read(), &error.to_string()) }
}
