//! A simulated VM: its ports, its fate and its end.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use hostd_core::session::Cause;
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use pilothouse_proto::{
    greet::{greet, shake},
    guest::v1::guest_server::GuestServer,
};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream, duplex},
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use super::{
    cause::{died, end},
    guest::Guest,
    options::Options,
    random::Random,
};
use crate::{
    Io, MemoryUse, Port, Vm, VmError,
    snapshot::{SnapshotError, store::Manifest},
};

/// Most bytes that may be under way on a port, each way.
const PORT: usize = 64 << 10;

/// One simulated VM: a guest and its two ports.
pub(super) struct Machine {
    name: String,
    resident: u64,
    guest: Guest,
    up_at: Instant,
    /// Cause of the VM's end; set once, when it ends.
    cause: Arc<watch::Sender<Option<Cause>>>,
    /// Tasks that serve the ports: link, tunnel.
    connections: Mutex<[Option<AbortHandle>; 2]>,
    fate: Option<AbortHandle>,
}

impl Machine {
    pub(super) fn start(options: &Options, name: &str, mut random: Random) -> Self {
        let cause = Arc::new(watch::Sender::new(None));
        let up_at = Instant::now() + random.duration(&options.boot);
        let resident = (64 << 20) + random.below(128 << 20);
        let fate = random.chance(options.death).then(|| {
            let (after, cause) = (random.duration(&options.death_after), cause.clone());
            let dies = async move {
                tokio::time::sleep(after).await;
                end(&cause, died());
            };
            tokio::spawn(dies).abort_handle()
        });
        let guest = Guest::new(options.script.clone(), random, cause.clone());
        Self { name: name.into(), resident, guest, up_at, cause, connections: Mutex::default(), fate }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [Option<AbortHandle>; 2]> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end(&self.cause, Cause::VmDied("nobody has it any more".into()));
        self.fate.iter().for_each(AbortHandle::abort);
        self.lock().iter().flatten().for_each(AbortHandle::abort);
    }
}

#[async_trait]
impl Vm for Machine {
    async fn connect(&self, port: Port) -> io::Result<Box<dyn Io>> {
        let mut ended = self.cause.subscribe();
        if ended.borrow().is_some() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = duplex(PORT);
        let (guest, up_at) = (self.guest.clone(), self.up_at);
        let lives = async move {
            sleep_until(up_at).await;
            match port {
                Port::Link => serve(far, guest).await,
                Port::Tunnel => idle(far).await,
            }
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                _ = ended.wait_for(Option::is_some) => {}
                _ = lives => {}
            }
        });
        // One connection at a time: the new one ends the old one.
        if let Some(before) = self.lock()[port as usize].replace(task.abort_handle()) {
            before.abort();
        }
        Ok(Box::new(near))
    }

    async fn ended(&self) -> Cause {
        let mut ended = self.cause.subscribe();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(cause)) => cause.clone(),
            Ok(None) | Err(_) => died(),
        }
    }

    async fn end(&self) {
        end(&self.cause, Cause::VmDied("it was ended".into()));
    }

    async fn serial(&self) -> Vec<u8> {
        format!("[    0.000000] simulated guest of {}\r\n", self.name).into_bytes()
    }

    async fn snapshot(&self, folder: &Path) -> Result<Manifest, VmError> {
        Err(no_memory(folder))
    }

    async fn pivot(&self, top: &Path) -> Result<(), VmError> {
        Err(no_memory(top))
    }

    async fn rebase(&self, _: usize, _: &Path) -> Result<(), VmError> {
        // It has no disk whose layers it could hold.
        Ok(())
    }

    async fn pause(&self) -> Result<(), VmError> {
        // Its guest is a script, which writes to no disk.
        Ok(())
    }

    async fn go_on(&self) -> Result<(), VmError> {
        Ok(())
    }

    fn memory(&self) -> MemoryUse {
        let private = if self.cause.borrow().is_some() { 0 } else { self.resident };
        MemoryUse { private, shared: 0 }
    }

    fn memory_part(&self) -> MemoryUse {
        self.memory()
    }
}

async fn serve(io: DuplexStream, guest: Guest) -> io::Result<()> {
    let mut io = greet(io).await?;
    if !shake(&mut io, &guest).await? {
        return Ok(());
    }
    let service = TowerToHyperService::new(GuestServer::new(guest));
    let server = http2::Builder::new(TokioExecutor::new());
    server.serve_connection(TokioIo::new(io), service).await.map_err(io::Error::other)
}

/// Simulated programs connect to nothing, so the tunnel is there and silent.
async fn idle(io: DuplexStream) -> io::Result<()> {
    let mut io = greet(io).await?;
    let mut bytes = [0; 1024];
    while io.read(&mut bytes).await? > 0 {}
    Ok(())
}

/// The error of whatever would need a simulated VM's memory in this folder.
pub(super) fn no_memory(folder: &Path) -> VmError {
    SnapshotError::Refused { path: folder.into(), why: "simulated VMs have no memory that could be kept".into() }.into()
}
