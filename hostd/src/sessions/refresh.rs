//! Keeps on the board what changes without anybody saying so.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::broadcast::error::RecvError,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{HostStatus, fleet::Host, relief, shelf, usage, waits};
use crate::environments::EnvironmentState;

/// Between two looks, while somebody watches.
const EVERY: Duration = Duration::from_secs(2);
/// Looks, from one at which guests and folders are looked into to the next.
const INTO: u32 = 5;

/// Begins; ends when the token is cancelled.
pub(super) fn start(host: &Arc<Host>) -> CancellationToken {
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(numbers(host.clone())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(environments(host.clone())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(shelf::tidy(host.clone())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(relief::watch(host.clone())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(waits::pass_on(host.clone())));
    stop
}

/// Memory, disk, viewers, problems.
async fn numbers(host: Arc<Host>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut first, mut number) = (true, 0);
    loop {
        ticks.tick().await;
        let ballast = host.parts.store.ballast().clone();
        let _ = tokio::task::spawn_blocking(move || ballast.restore()).await;
        // The first look is for whoever asks first.
        if host.board.readers() > 0 || std::mem::take(&mut first) {
            if number % INTO == 0 {
                usage::look_at_all(&host).await;
            }
            number = number.wrapping_add(1);
            look(&host).await;
        }
    }
}

/// Reads everything and puts it on the board.
pub(super) async fn look(host: &Arc<Host>) {
    let reader = host.clone();
    let read = tokio::task::spawn_blocking(move || {
        HostStatus::read(&reader.parts.data, reader.parts.vmm.info(), reader.started_at)
    });
    if let Ok(status) = read.await {
        host.board.host(status);
    }
    let handles: Vec<_> = host.handles().values().cloned().collect();
    for handle in handles {
        if !handle.gone.is_cancelled() {
            host.board.session(handle.view());
        }
    }
}

async fn environments(host: Arc<Host>) {
    let environments = &host.parts.environments;
    let mut changes = environments.changes();
    let all = || environments.list().into_iter().for_each(|info| host.board.environment(info));
    all();
    loop {
        match changes.recv().await {
            Ok(info) => {
                if info.state != EnvironmentState::Building {
                    host.shelf.look_again();
                    waits::environments_changed(&host);
                }
                host.board.environment(info);
            }
            Err(RecvError::Lagged(_)) => all(),
            Err(RecvError::Closed) => return,
        }
    }
}
