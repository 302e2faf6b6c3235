//! PID 1's child: everything in the guest that is not a reaper.

use std::{convert::Infallible, fs, io, path::Path, process::ExitCode, sync::Arc, thread, time::Duration};

use pilothouse_proto::guest::v1::BootStep;

use crate::{
    boot_log::report,
    direct,
    init::Devices,
    link::{self, Port},
    machine::{linux::Linux, oom, usage},
    process::Cgroups,
    proxy,
    service::Guest,
    session_protocol, session_socket,
    tunnel::{self, Gateway},
};

/// Time for which an idle thread is kept. To start one takes an emulated guest as long as a whole suspend should.
const KEEP: Duration = Duration::from_secs(365 * 24 * 3600);

/// Runs until something fails that the guest cannot live without. Its end is the guest's end.
#[must_use]
pub fn run(devices: &Devices, boot: Vec<BootStep>) -> ExitCode {
    // The kernel shall rather kill anything else.
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
    // By groups of sessions, the thread of the link would have the share of that of the way out, and wait where that is busy.
    let _ = fs::write("/proc/sys/kernel/sched_autogroup_enabled", "0");
    // One thread for the link: most guests have one processor, and what blocks has threads of its own.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(8).thread_keep_alive(KEEP).build();
    let error = match runtime.map(|runtime| runtime.block_on(serve(devices, boot))) {
        Ok(Ok(never)) => match never {},
        Ok(Err(error)) | Err(error) => error,
    };
    report(&format!("the supervisor failed: {error}"));
    ExitCode::FAILURE
}

async fn serve(devices: &Devices, boot: Vec<BootStep>) -> io::Result<Infallible> {
    let link = Port::open(&devices.link)?;
    let cgroups = match Cgroups::make(Path::new("/sys/fs/cgroup")) {
        Ok(cgroups) => Some(cgroups),
        Err(error) => {
            report(&format!("no cgroups: {error}"));
            None
        }
    };
    let guest = Guest::new(Arc::new(Linux::new(cgroups.clone())), cgroups, boot);
    let gateway = Gateway::default();
    way_out(&devices.tunnel, gateway.clone())?;
    let (events, waits) = (guest.events().clone(), guest.waits().clone());
    // The link is what the guest lives for; without the others it lives on, and says so.
    tokio::select! {
        result = link::serve(link, guest.clone()) => result,
        never = async {
            tokio::join!(
                async { optional("`session`", session_socket::run(Path::new(session_protocol::SOCKET), events.clone(), waits, gateway.clone()).await) },
                async { optional("the watch for OOM kills", oom::watch(Path::new("/dev/kmsg"), events.clone()).await) },
                async { optional("the watch for a full disk", usage::watch(events.clone()).await) },
            );
            std::future::pending::<Infallible>().await
        } => match never {},
    }
}

/// Carries the way out in a thread of its own, so that no byte of the link, a keystroke, waits for those of the tunnel: the kernel
/// lets a thread that has slept go first.
fn way_out(device: &Path, gateway: Gateway) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tunnel = {
        let _in_it = runtime.enter();
        Port::open(device)?
    };
    let all = async move {
        tokio::join!(
            async { optional("the tunnel", tunnel::keep(tunnel, gateway.clone()).await) },
            async { optional("the proxy", proxy::run(gateway.clone()).await) },
            async { optional("the way out without the proxy", direct::run(gateway.clone()).await) },
        );
    };
    thread::Builder::new().name("way-out".into()).spawn(move || runtime.block_on(all))?;
    Ok(())
}

fn optional(what: &str, result: io::Result<Infallible>) {
    match result {
        Ok(never) => match never {},
        Err(error) => report(&format!("{what} does not work: {error}")),
    }
}
