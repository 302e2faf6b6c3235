//! Watches the host's memory, and suspends sessions before the kernel would have to end some of its choice. Who goes is
//! [`hostd_core::relief`]'s to say.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hostd_core::{
    Input, Lifecycle,
    relief::{Relief, Resident, is_short, plan},
};
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    fleet::{Handle, Host},
    message::Message,
};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 1000 });
/// Who could not be suspended is not asked again before.
const PAUSE: Duration = Duration::from_secs(60);

/// Begins; ends when it is dropped.
pub(super) async fn watch(host: Arc<Host>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut short, mut asked) = (false, BTreeMap::new());
    loop {
        ticks.tick().await;
        // The second time in a row: what has only just begun may be over already, and the pool gets its turn.
        short = look(&host, short, &mut asked).await;
    }
}

/// Whether memory is short now.
async fn look(host: &Arc<Host>, again: bool, asked: &mut BTreeMap<String, Instant>) -> bool {
    let measured = host.clone();
    let Ok(room) = tokio::task::spawn_blocking(move || measured.room()).await else { return false };
    let handles: Vec<_> = host.handles().values().cloned().collect();
    for handle in handles.iter().filter(|handle| handle.live.borrow().is_some()) {
        handle.relieved.send_if_modified(|why| why.take().is_some());
    }
    if !is_short(&room) {
        return false;
    }
    host.pool.look_again();
    let leaves = |handle: &Arc<Handle>| handle.record.borrow().session.lifecycle == Lifecycle::Suspending;
    // What one that is on its way frees is not free yet.
    if !again || handles.iter().any(leaves) {
        return true;
    }
    asked.retain(|_, at| at.elapsed() < PAUSE);
    let residents: Vec<_> = handles.iter().filter_map(resident).filter(|r| !asked.contains_key(&r.id)).collect();
    if let Some(relief) = plan(&residents, &room, host.pool.ready())
        && let Some(handle) = handles.iter().find(|handle| handle.id == relief.id)
    {
        asked.insert(relief.id.clone(), Instant::now());
        suspend(handle, relief).await;
    }
    true
}

fn resident(handle: &Arc<Handle>) -> Option<Resident> {
    let memory = handle.live.borrow().as_ref().map(|live| live.vm.memory().private)?;
    let session = &handle.record.borrow().session;
    let used = *handle.terminal.viewers().borrow() > 0 || *handle.busy.borrow() > 0;
    let runs = session.lifecycle == Lifecycle::Running && !session.deleting;
    runs.then(|| Resident { id: handle.id.clone(), memory, waits: session.waits(), used })
}

/// One at work is wanted again at once: it waits for room, in the queue of all that do.
async fn suspend(handle: &Handle, relief: Relief) {
    if !ask(handle, Input::Suspend).await {
        return;
    }
    tracing::warn!(slug = handle.slug, at_work = relief.at_work, "{}", relief.why);
    if relief.at_work {
        handle.relieved.send_replace(Some(relief.why));
        ask(handle, Input::Resume).await;
    }
}

async fn ask(handle: &Handle, input: Input) -> bool {
    let (answer, answered) = oneshot::channel();
    let sent = handle.messages.send(Message::Command { input, answer }).await;
    sent.is_ok() && matches!(answered.await, Ok(Ok(())))
}
