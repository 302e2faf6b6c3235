//! One run of hostd on one data folder, from lock to last VM.

use std::{
    fs::{self, DirBuilder, File},
    io::{Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use color_eyre::eyre::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Listen, Socket},
    environments::Environments,
    gateway::Gateway,
    sessions::{Fleet, Parts},
    store::Store,
    vm::{
        Vmm,
        qemu::{Choice, Qemu},
        simulated::{self, Simulated},
    },
};

/// For calls under way to end, once all streams were told to.
const LAST_CALLS: Duration = Duration::from_secs(3);

/// How hostd runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder; made where it is not there.
    pub data: PathBuf,
    /// Empty: `hostd.sock` in the data folder.
    pub listen: Vec<Listen>,
    /// Guests are made up, and nothing is run.
    pub simulated: bool,
    /// For QEMU.
    pub accelerator: Choice,
    /// The static `pilothouse-guest`.
    pub guest: PathBuf,
    /// The guests' kernel; None: fetched when it is needed.
    pub kernel: Option<PathBuf>,
}

/// Serves until SIGTERM, SIGINT or SIGHUP, then powers off all VMs. A second signal ends at once; what still runs then is
/// ended by the next hostd.
///
/// # Errors
/// Where the data folder or a socket cannot be used.
pub async fn run(options: Options) -> color_eyre::Result<()> {
    let mut signals = Signals::new()?;
    make_folder(&options.data)?;
    let data = fs::canonicalize(&options.data).wrap_err_with(|| options.data.display().to_string())?;
    let _lock = lock(&data)?;
    let sockets = listen(&options.listen, &data)?;
    let fleet = open(&options, &data).await?;
    let closing = CancellationToken::new();
    let mut server = tokio::spawn(api::serve(fleet.clone(), sockets, closing.clone()));
    tracing::info!(data = %data.display(), "hostd serves");
    let served = tokio::select! {
        served = &mut server => Some(served),
        () = signals.next() => None,
    };
    tracing::info!("hostd ends; its VMs are powered off");
    let end = async {
        fleet.stop().await;
        fleet.environments().close().await;
        closing.cancel();
        match served {
            Some(served) => served.wrap_err("the server")?,
            // Who does not hang up in time is cut off.
            None => tokio::time::timeout(LAST_CALLS, server).await.unwrap_or(Ok(Ok(()))).wrap_err("the server")?,
        }
    };
    tokio::select! {
        ended = end => ended,
        () = signals.next() => bail!("ended by a second signal; the next hostd ends the VMs that are left"),
    }
}

async fn open(options: &Options, data: &Path) -> color_eyre::Result<Arc<Fleet>> {
    let qemu = Qemu::new(data, options.guest.clone()).with_accelerator(options.accelerator);
    let qemu = match &options.kernel {
        Some(kernel) => qemu.with_kernel(kernel),
        None => qemu,
    };
    let vmm: Arc<dyn Vmm> =
        if options.simulated { Arc::new(Simulated::new(simulated::Options::default())) } else { Arc::new(qemu) };
    for problem in vmm.info().problems {
        tracing::warn!(problem, "VMs cannot start yet");
    }
    let path = data.join("store.sqlite");
    let (store, records) = tokio::task::spawn_blocking(move || Store::open(&path)).await??;
    let gateway = Arc::new(Gateway::new(data.join("git")));
    let environments = Environments::open(data, vmm.clone(), gateway.clone()).await?;
    let parts = Parts { data: data.into(), store, vmm, gateway, environments };
    Ok(Fleet::open(parts, records, ulid::Ulid::new().to_string()).await?)
}

fn listen(addresses: &[Listen], data: &Path) -> color_eyre::Result<Vec<Socket>> {
    let default = [Listen::Unix(data.join("hostd.sock"))];
    let addresses = if addresses.is_empty() { &default } else { addresses };
    let mut sockets = Vec::with_capacity(addresses.len());
    for Listen::Unix(path) in addresses {
        sockets.push(Socket::open(path)?);
        tracing::info!("listens on unix:{}", path.display());
    }
    Ok(sockets)
}

/// Private: sessions' disks are in it.
fn make_folder(data: &Path) -> color_eyre::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(data).wrap_err_with(|| data.display().to_string())
}

/// Held for as long as hostd runs, and let go by the system however it ends.
fn lock(data: &Path) -> color_eyre::Result<File> {
    let path = data.join("hostd.lock");
    let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = open.wrap_err_with(|| path.display().to_string())?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = (&file).take(20).read_to_string(&mut pid);
        let pid = pid.trim();
        bail!("another hostd (pid {pid}) uses {}; end it, or choose another folder with --data", data.display());
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.wrap_err_with(|| path.display().to_string())?;
    Ok(file)
}

/// The signals that end hostd.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> color_eyre::Result<Self> {
        let listen = |kind| signal(kind).wrap_err("signals cannot be listened to");
        Ok(Self([listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?]))
    }

    async fn next(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hostd_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        let error = lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("another hostd (pid {})", std::process::id())), "{error}");
        drop(first);
        lock(folder.path()).unwrap();
    }
}
