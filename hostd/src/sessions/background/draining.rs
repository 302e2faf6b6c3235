//! While the host is drained, whatever runs is put to disk, as soon as it can be. What was at work is wanted back at once, and waits
//! for the host to take VMs again.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use hostd_core::{Actor, Input, Lifecycle, Session};

use crate::sessions::{
    context::Context,
    registry::{Handle, Registry},
};

/// Pause before what could not be put to disk is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Goes on until it is dropped.
pub(in crate::sessions) async fn watch(ctx: Arc<Context>, registry: Arc<Registry>) {
    let mut drained = ctx.drain.changes();
    loop {
        let by = match drained.wait_for(Option::is_some).await {
            Ok(drained) => drained.as_ref().map(|drained| drained.by.clone()).unwrap_or_default(),
            Err(_) => return,
        };
        let (actor, all) = (Actor::person(by), registry.all());
        stream::iter(all).for_each_concurrent(None, |handle| suspend(&ctx, handle, &actor)).await;
        tokio::time::sleep(AGAIN).await;
    }
}

/// Puts one to disk that runs and whose VM is this hostd's.
async fn suspend(ctx: &Context, handle: Arc<Handle>, actor: &Actor) {
    // As many at a time as when hostd stops: each writes its memory.
    let Ok(_turn) = ctx.turns.suspends.acquire().await else { return };
    if ctx.drain.now().is_none() {
        return;
    }
    let (at_work, runs) = {
        let session = &handle.record.borrow().session;
        (!session.waits() && session.exited.is_none(), session.lifecycle == Lifecycle::Running && !session.deleting)
    };
    if !runs || handle.live.borrow().is_none() {
        return;
    }
    match handle.command(actor.clone(), Input::Suspend).await {
        Ok(()) if at_work => {
            // It says itself why it does not come back.
            let _ = handle.command(Actor::Host, Input::Resume).await;
        }
        Ok(()) => {}
        Err(error) => {
            tracing::info!(slug = handle.slug, %error, "it is not suspended for the drain yet");
            return;
        }
    }
    // Where it stands still or is gone the next one need not wait.
    let _ = handle.settled(Session::moves).await;
}
