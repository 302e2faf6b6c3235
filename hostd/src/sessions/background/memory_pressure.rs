//! Watches the host's memory, and suspends sessions before the kernel would have to end some of its choice. Who goes is
//! [`hostd_core::relief`]'s to say.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hostd_core::{
    Actor, Input, Lifecycle,
    relief::{Relief, Resident, is_short, plan},
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::sampling;
use crate::sessions::{
    context::Context,
    pool::Pool,
    registry::{Handle, Registry},
};

/// Who could not be suspended is not asked again before.
const PAUSE: Duration = Duration::from_secs(60);

/// Begins; ends when it is dropped.
pub(in crate::sessions) async fn watch(ctx: Arc<Context>, registry: Arc<Registry>, pool: Arc<Pool>) {
    let mut ticks = interval(ctx.timings.memory_look);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut short, mut asked) = (false, BTreeMap::new());
    loop {
        ticks.tick().await;
        sampling::take(&ctx, &registry.all()).await;
        // The second time in a row: what has only just begun may be over already, and the pool gets its turn.
        short = look(&ctx, registry.all(), &pool, short, &mut asked).await;
    }
}

/// Whether memory is short now.
async fn look(
    ctx: &Arc<Context>,
    handles: Vec<Arc<Handle>>,
    pool: &Pool,
    again: bool,
    asked: &mut BTreeMap<String, Instant>,
) -> bool {
    let measured = ctx.clone();
    let Ok(room) = tokio::task::spawn_blocking(move || measured.room()).await else { return false };
    for handle in handles.iter().filter(|handle| handle.live.borrow().is_some()) {
        handle.relieved.send_if_modified(|why| why.take().is_some());
    }
    if !is_short(&room) {
        return false;
    }
    pool.look_again();
    let leaves = |handle: &Arc<Handle>| handle.record.borrow().session.lifecycle == Lifecycle::Suspending;
    // What one that is on its way frees is not free yet.
    if !again || handles.iter().any(leaves) {
        return true;
    }
    asked.retain(|_, at| at.elapsed() < PAUSE);
    let residents: Vec<_> = handles.iter().filter_map(resident).filter(|r| !asked.contains_key(&r.id)).collect();
    if let Some(relief) = plan(&residents, &room, pool.ready())
        && let Some(handle) = handles.iter().find(|handle| handle.id == relief.id)
    {
        asked.insert(relief.id.clone(), Instant::now());
        suspend(handle, relief).await;
    }
    true
}

fn resident(handle: &Arc<Handle>) -> Option<Resident> {
    let (memory, streams) =
        handle.live.borrow().as_ref().map(|live| (live.vm.memory().private, live.link.streams()))?;
    let session = &handle.record.borrow().session;
    let used = *handle.terminal.viewers().borrow() > 0 || *handle.busy.borrow() > 0;
    let runs = session.lifecycle == Lifecycle::Running && !session.deleting;
    runs.then(|| Resident { id: handle.id.clone(), memory, waits: session.waits(), used, streams })
}

/// One at work is wanted again at once: it waits for room, in the queue of all that do.
async fn suspend(handle: &Handle, relief: Relief) {
    if handle.command(Actor::Host, Input::Suspend).await.is_err() {
        return;
    }
    handle.span().in_scope(|| tracing::warn!(slug = handle.slug, at_work = relief.at_work, "{}", relief.why));
    if relief.at_work {
        handle.relieved.send_replace(Some(relief.why));
        // It says itself why it does not come back.
        let _ = handle.command(Actor::Host, Input::Resume).await;
    }
}
