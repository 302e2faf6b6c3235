//! Keeps in the feed what changes without anybody saying so.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    build_gc::{self, BuildGc},
    denials, draining, forge_hints, last_events, memory_pressure,
};
use crate::{
    environments::EnvironmentState,
    host_status::HostStatus,
    sessions::{
        context::Context,
        pool::Pool,
        registry::{Handle, Registry},
        usage,
    },
};

/// Between two looks, while somebody watches.
const EVERY: Duration = Duration::from_secs(2);
/// Looks, from one at which guests and folders are looked into to the next.
const INTO: u32 = 5;
/// Guests that are asked at a time.
const AT_A_TIME: usize = 8;

/// Begins all that goes on in the background; ends when the token is cancelled.
pub(in crate::sessions) fn start(
    ctx: &Arc<Context>,
    registry: &Arc<Registry>,
    pool: &Arc<Pool>,
    gc: &Arc<BuildGc>,
) -> CancellationToken {
    let stop = CancellationToken::new();
    let (ctx, registry) = (|| ctx.clone(), || registry.clone());
    tokio::spawn(stop.clone().run_until_cancelled_owned(numbers(ctx(), registry())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(environments(ctx(), registry(), gc.clone())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(build_gc::tidy(ctx(), registry(), gc.clone())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(memory_pressure::watch(ctx(), registry(), pool.clone())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(forge_hints::pass_on(ctx(), registry())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(last_events::pass_on(ctx(), registry())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(denials::tell(ctx(), registry())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(draining::watch(ctx(), registry())));
    stop
}

/// Memory, disk, viewers, problems.
async fn numbers(ctx: Arc<Context>, registry: Arc<Registry>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut first, mut number) = (true, 0);
    loop {
        ticks.tick().await;
        let ballast = ctx.store.ballast().clone();
        let _ = tokio::task::spawn_blocking(move || ballast.restore()).await;
        if let Err(error) = ctx.store.reserve().await {
            tracing::debug!(%error, "the store takes no room for later");
        }
        // The first look is for whoever asks first.
        if ctx.feed.readers() > 0 || std::mem::take(&mut first) {
            if number % INTO == 0 {
                look_into_all(&ctx, &registry).await;
            }
            number = number.wrapping_add(1);
            look(&ctx, &registry).await;
        }
    }
}

/// Looks at what all sessions use.
async fn look_into_all(ctx: &Context, registry: &Registry) {
    let look = |handle: Arc<Handle>| async move {
        let live = handle.live.borrow().clone();
        usage::look(&ctx.folder(&handle.id), live, &handle.usage).await;
    };
    stream::iter(registry.all()).for_each_concurrent(AT_A_TIME, look).await;
}

/// Reads everything and puts it into the feed.
pub(in crate::sessions) async fn look(ctx: &Arc<Context>, registry: &Registry) {
    let reader = ctx.clone();
    let read =
        tokio::task::spawn_blocking(move || HostStatus::read(&reader.data, reader.vmm.info(), reader.started_at));
    if let Ok(status) = read.await {
        let drained = ctx.drain.now().map(|drained| (drained.by, drained.at));
        ctx.feed.host(HostStatus { drained, ..status });
    }
    for handle in registry.all() {
        if !handle.gone.is_cancelled() {
            ctx.feed.session(handle.view());
        }
    }
}

async fn environments(ctx: Arc<Context>, registry: Arc<Registry>, gc: Arc<BuildGc>) {
    let environments = &ctx.environments;
    let mut changes = environments.changes();
    let all = || environments.list().into_iter().for_each(|info| ctx.feed.environment(info));
    all();
    loop {
        match changes.recv().await {
            Ok(info) => {
                if info.state != EnvironmentState::Building {
                    gc.look_again();
                    forge_hints::environments_changed(&registry);
                }
                ctx.feed.environment(info);
            }
            Err(RecvError::Lagged(_)) => all(),
            Err(RecvError::Closed) => return,
        }
    }
}
