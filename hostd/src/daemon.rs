//! One run of hostd on one data folder, from lock to last VM.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use eyre::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    admission::Admission,
    api::{self, Listen, Socket},
    ballast::Ballast,
    check_webhook::{self, Endpoint},
    ci::{self, Ci},
    credentials::Credentials,
    data_folder, descriptors,
    diff::Diffs,
    disk,
    environments::Environments,
    forge::{Forge, Local},
    gateway::{Gateway, SPENDING_QUEUE},
    local_services::LocalFile,
    metrics::{self, Sources},
    selftest::SelfTest,
    service::{self, Notify},
    sessions::{AtStop, Deps, Fleet, Timings},
    signals::Signals,
    spending::{Keeper, PriceTable},
    stop,
    store::Store,
    vm::{
        Vmm,
        qemu::{Choice, Qemu},
        simulated::{self, Simulated},
    },
};

/// Most connections of all guests together through the gateway.
const CONNECTIONS: usize = 4096;
/// Digits of the pid in the lock's file.
const PID_WIDTH: usize = 10;
/// Longest wait for children of a hostd that has ended: each has what that hostd had open until it runs its program.
const LAST_CHILDREN: Duration = Duration::from_secs(10);
/// Longest wait for calls under way to end, once all streams were told to.
const LAST_CALLS: Duration = Duration::from_secs(3);

/// Options of a run of hostd.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path of the data folder; the folder is made where it is not there.
    pub data: PathBuf,
    /// Addresses of the API; empty: `hostd.sock` in the data folder.
    pub listen: Vec<Listen>,
    /// Address where reports of checks are taken over HTTP; None: they are not taken over HTTP.
    pub checks: Option<SocketAddr>,
    /// File with the token for reports of checks; None: a file in the data folder.
    pub checks_token: Option<PathBuf>,
    /// Address where metrics are shown; None: they are not shown.
    pub metrics: Option<SocketAddr>,
    /// Whether guests are made up, and no VM is started.
    pub simulated: bool,
    /// Accelerator that QEMU is to use.
    pub accelerator: Choice,
    /// Path of the static `pilothouse-guest`.
    pub guest: PathBuf,
    /// Path of the guests' kernel; None: it is fetched when it is needed.
    pub kernel: Option<PathBuf>,
    /// Bytes of memory that VMs of sessions together may use; None: all but a reserve.
    pub memory: Option<u64>,
    /// What becomes of the VMs of sessions when a signal ends hostd, where [`stop`] does not say otherwise.
    pub at_stop: AtStop,
}

/// Serves until SIGTERM, SIGINT or SIGHUP, then leaves the VMs of sessions to the next hostd, suspends or ends them. A second signal
/// ends at once; what still runs then is taken over by the next hostd.
///
/// It starts the runtime by itself, since futures are compiled where they are polled: here, and not in the program once more.
///
/// # Errors
/// Where the runtime does not start, and where the data folder or a socket cannot be used.
pub fn run(options: Options) -> eyre::Result<()> {
    Runtime::new().wrap_err("the runtime did not start")?.block_on(serve(options))
}

async fn serve(options: Options) -> eyre::Result<()> {
    let mut signals = Signals::new()?;
    let descriptors = descriptors::raise();
    data_folder::claim(&options.data)?;
    let data = fs::canonicalize(&options.data).wrap_err_with(|| options.data.display().to_string())?;
    let _lock = lock(&data).await?;
    // The first that is written beside it.
    Ballast::of(&data).make_room_to_start();
    stop::forget(&data);
    let sockets = listen(&options.listen, &data)?;
    let webhook = match options.checks {
        Some(address) => Some(open_check_webhook(address, &options, &data).await?),
        None => None,
    };
    let metrics = match options.metrics {
        Some(address) => Some(open_metrics(address).await?),
        None => None,
    };
    let (deps, local, keeper) = open(&options, &data, descriptors).await?;
    let (fleet, ci, environments) = (deps.fleet.clone(), deps.ci.clone(), deps.environments.clone());
    let _left = fleet.leaves_at_end();
    // Ended with this run.
    let _tidy = AbortOnDropHandle::new(tokio::spawn(local.clone().tidy()));
    let _fetches = AbortOnDropHandle::new(tokio::spawn(local.fetch_on_schedule()));
    let _webhook = webhook.map(|endpoint| AbortOnDropHandle::new(tokio::spawn(endpoint.serve(deps.forge.clone()))));
    let _metrics = metrics.map(|endpoint| AbortOnDropHandle::new(tokio::spawn(endpoint.serve(Sources::of(&deps)))));
    let closing = CancellationToken::new();
    let mut server = tokio::spawn(api::serve(deps, sockets, closing.clone()));
    tracing::info!(data = %data.display(), "hostd serves");
    warn_of_kill_mode();
    let notify = Notify::ready("serves");
    let served = tokio::select! {
        served = &mut server => Some(served),
        () = signals.next() => None,
    };
    let vms = stop::wish(&data).unwrap_or(options.at_stop);
    let then = match vms {
        AtStop::Leave => "what runs goes on, and the next hostd takes it over",
        AtStop::Suspend => "what runs is suspended, and resumed by the next hostd",
        AtStop::End => "what runs is powered off",
    };
    notify.stopping(then);
    tracing::info!("hostd ends; {then}; a second signal ends it at once");
    let end = async {
        tokio::join!(fleet.close(vms), ci.close());
        environments.close().await;
        // All that models answered has ended with the VMs.
        keeper.close().await;
        closing.cancel();
        match served {
            Some(served) => served.wrap_err("the server")?,
            // Who does not hang up in time is cut off.
            None => tokio::time::timeout(LAST_CALLS, server).await.unwrap_or(Ok(Ok(()))).wrap_err("the server")?,
        }
    };
    tokio::select! {
        ended = end => ended,
        () = signals.next() => bail!("ended by a second signal; the next hostd takes over the VMs that are left"),
    }
}

async fn open(options: &Options, data: &Path, descriptors: u64) -> eyre::Result<(api::Deps, Local, Keeper)> {
    let qemu = Qemu::new(data, options.guest.clone()).with_accelerator(options.accelerator);
    let qemu = qemu.with_prover(Arc::new(SelfTest::new(data)));
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
    let local = Local::new(Arc::new(store.clone()), data).with_disk(disk::measure);
    local.catch_up().await;
    let (forge, mirror): (Arc<dyn Forge>, _) = (Arc::new(local.clone()), local.mirror());
    fs::create_dir_all(mirror.root()).wrap_err("the folder for repositories")?;
    // The rest is for VMs, their files and whoever calls.
    let connections = usize::try_from(descriptors / 4).unwrap_or(usize::MAX).min(CONNECTIONS);
    let credentials = Arc::new(Credentials::of(data));
    let gateway = Gateway::new(mirror.clone()).with_forge(forge.clone()).with_connections(connections);
    let prices = PriceTable::of(data);
    let (spending, spent) = mpsc::channel(SPENDING_QUEUE);
    let gateway = gateway.with_credentials(credentials.clone()).with_local(LocalFile::of(data)).with_spending(spending);
    let gateway = Arc::new(gateway.with_kernels(data.join("kernel")));
    let admission = Admission::new(data.into(), options.memory);
    let environments =
        Environments::open(data, vmm.clone(), gateway.clone(), mirror.clone(), admission.clone()).await?;
    let diffs = Arc::new(Diffs::open(data, mirror).wrap_err("the folder for diffs")?);
    let store_of_all = store.clone();
    let deps = Deps {
        data: data.into(),
        store,
        vmm: vmm.clone(),
        gateway: gateway.clone(),
        environments: environments.clone(),
        forge: forge.clone(),
        diffs: diffs.clone(),
        admission: admission.clone(),
        timings: Timings::default(),
    };
    let fleet = Fleet::open(deps, records, ulid::Ulid::new().to_string()).await?;
    let keeper = Keeper::start(spent, store_of_all.clone(), prices.clone(), fleet.clone());
    let ci = Ci::start(ci::Deps {
        data: data.into(),
        forge: forge.clone(),
        environments: environments.clone(),
        vmm,
        gateway: gateway.clone(),
        admission,
        sessions: fleet.clone(),
        most: None,
        look_again: ci::LOOK_AGAIN,
    });
    Ok((
        api::Deps {
            fleet,
            environments,
            forge,
            keeper: Arc::new(local.clone()),
            ci,
            diffs,
            credentials,
            gateway,
            store: store_of_all,
            prices,
        },
        local,
        keeper,
    ))
}

impl ci::Sessions for Fleet {
    fn waiting(&self) -> usize {
        self.list().iter().filter(|view| view.session.waits_for_room()).count()
    }

    fn environment(&self, id: &str) -> Option<String> {
        self.get(id).ok().map(|view| view.session.environment)
    }
}

async fn open_check_webhook(address: SocketAddr, options: &Options, data: &Path) -> eyre::Result<Endpoint> {
    let token = options.checks_token.clone().unwrap_or_else(|| check_webhook::default_token(data));
    let endpoint = Endpoint::open(address, &token).await.wrap_err("reports of checks")?;
    tracing::info!(address = %endpoint.address()?, token = %token.display(), "takes reports of checks over HTTP");
    Ok(endpoint)
}

/// Says so where systemd would end the VMs of sessions with this hostd.
fn warn_of_kill_mode() {
    // systemctl may take its time; nothing waits for it.
    tokio::task::spawn_blocking(|| {
        if let Some((found, advice)) = service::of_this_process().and_then(|mode| mode.trouble()) {
            tracing::warn!("{found}; {advice}");
        }
    });
}

async fn open_metrics(address: SocketAddr) -> eyre::Result<metrics::Endpoint> {
    let endpoint = metrics::Endpoint::open(address).await.wrap_err("metrics")?;
    tracing::info!(address = %endpoint.address()?, "shows metrics at /metrics over HTTP");
    Ok(endpoint)
}

fn listen(addresses: &[Listen], data: &Path) -> eyre::Result<Vec<Socket>> {
    let default = [Listen::Unix(data.join(data_folder::SOCKET))];
    let addresses = if addresses.is_empty() { &default } else { addresses };
    let mut sockets = Vec::with_capacity(addresses.len());
    for Listen::Unix(path) in addresses {
        sockets.push(Socket::open(path)?);
        tracing::info!("listens on unix:{}", path.display());
    }
    Ok(sockets)
}

/// Locks the data folder for as long as hostd runs; the system lets go of the lock however hostd ends.
async fn lock(data: &Path) -> eyre::Result<File> {
    let path = data.join(data_folder::LOCK);
    let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = open.wrap_err_with(|| path.display().to_string())?;
    let deadline = Instant::now() + LAST_CHILDREN;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = file.seek(SeekFrom::Start(0)).and_then(|_| (&file).take(20).read_to_string(&mut pid));
        let pid = pid.trim();
        // Children of a hostd that has just ended have the lock's file open until they run their programs.
        let ended = pid.parse::<u32>().is_ok_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        if !ended || Instant::now() > deadline {
            bail!("another hostd (pid {pid}) uses {}; end it, or choose another folder with --data", data.display());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // In place, as long as any: a full disk has no room for a file that was emptied first.
    let written = file.seek(SeekFrom::Start(0)).and_then(|_| writeln!(file, "{:<PID_WIDTH$}", std::process::id()));
    written.wrap_err_with(|| path.display().to_string())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_hostd_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).await.unwrap();
        let error = lock(folder.path()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("another hostd (pid {})", std::process::id())), "{error}");
        drop(first);
        // A test beside this one may be between fork and exec of a program: its child has the lock's file open until then.
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = lock(folder.path()).await {
            assert!(Instant::now() < deadline, "{error}");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn children_of_a_hostd_that_has_ended_are_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let childs = lock(folder.path()).await.unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        fs::write(folder.path().join(data_folder::LOCK), format!("{}\n", gone.id())).unwrap();
        let next = lock(folder.path());
        tokio::pin!(next);
        assert!(futures::poll!(&mut next).is_pending(), "the lock is not had yet");
        drop(childs);
        next.await.unwrap();
    }
}
