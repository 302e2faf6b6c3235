//! The pool's own task: one step after the other, as planned from what there is and what sessions are about to do.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use hostd_core::{
    Lifecycle, Session,
    capacity::{Need, PoolStep, Stock, plan_pool},
};
use tokio::time::Instant;

use super::{Host, Warm, make::make, standby};
use crate::{environments::ReadyBuild, room::Kind, sessions::WarmView};

/// Between two looks when nobody asks for one.
const EVERY: Duration = Duration::from_secs(3);
/// Dispatches of this time back count as demand for as many more.
const DEMAND: Duration = Duration::from_secs(300);
/// After one that did not come up.
const PAUSE: Duration = Duration::from_secs(30);

/// Keeps the pool, until it is closed.
pub(in crate::sessions) async fn keep(host: Arc<Host>) {
    let _over = host.pool.over.clone().drop_guard();
    while !host.pool.stop.is_cancelled() {
        if !step(&host).await {
            tokio::select! {
                () = host.pool.stop.cancelled() => {}
                () = host.pool.look.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
    host.parts.vmm.stand_by(&[]).await;
    let (ready, reserved) = {
        let mut state = host.pool.lock();
        (std::mem::take(&mut state.ready), std::mem::take(&mut state.reserved))
    };
    join_all(ready.into_iter().chain(reserved.into_values()).map(Warm::end)).await;
}

/// One step; true where another may be due at once.
async fn step(host: &Arc<Host>) -> bool {
    let builds = builds(host);
    for gone in outdated(host, &builds) {
        tracing::info!(environment = gone.environment, "a warm VM that is of no use any more is ended");
        gone.end().await;
    }
    let stocks = stocks(host, &builds);
    let queue = queue(host);
    let busy = queue.busy;
    let measured = host.clone();
    let (planned, waiting) = (stocks.clone(), queue.waiting);
    let decided = tokio::task::spawn_blocking(move || {
        measured.parts.rooms.decide(Kind::Warm, |room| {
            let step =
                plan_pool(&planned, room, waiting).filter(|step| !(busy && matches!(step, PoolStep::Start { .. })));
            let started = planned.iter().find(|s| step == Some(PoolStep::Start { environment: s.environment.clone() }));
            (step.clone(), started.map(|stock| stock.need.memory))
        })
    });
    let Ok((planned, promise)) = decided.await else { return false };
    match planned {
        Some(PoolStep::Start { environment }) => {
            let Some(build) = builds.get(&environment) else { return false };
            start(host, &environment, build).await;
            drop(promise);
            stocks_shown(host, &builds);
            true
        }
        Some(PoolStep::End { environment }) => {
            let one = {
                let mut state = host.pool.lock();
                let at = state.ready.iter().position(|warm| warm.environment == environment);
                at.map(|at| state.ready.swap_remove(at))
            };
            if let Some(warm) = one {
                warm.end().await;
                host.parts.rooms.freed();
            }
            stocks_shown(host, &builds);
            true
        }
        None => {
            show(host, &stocks);
            standby::keep(host, busy, waiting).await;
            false
        }
    }
}

/// The builds that can be cloned, by environment.
fn builds(host: &Host) -> BTreeMap<String, ReadyBuild> {
    let environments = &host.parts.environments;
    let ready = environments.list().into_iter().filter_map(|info| Some((environments.ready(&info.name).ok()?, info)));
    ready.filter(|(build, _)| build.template.is_some()).map(|(build, info)| (info.name, build)).collect()
}

/// Those that have died, and those of a build that is not in use any more.
fn outdated(host: &Host, builds: &BTreeMap<String, ReadyBuild>) -> Vec<Warm> {
    let of_use = |warm: &Warm| builds.get(&warm.environment).is_some_and(|b| b.id == warm.build) && warm.lives();
    host.pool.lock().ready.extract_if(.., |warm| !of_use(warm)).collect()
}

fn stocks(host: &Host, builds: &BTreeMap<String, ReadyBuild>) -> Vec<Stock> {
    let mut state = host.pool.lock();
    state.dispatched.retain(|(_, at)| at.elapsed() < DEMAND);
    state.not_before.retain(|_, until| Instant::now() < *until);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let stock = |(name, build): (&String, &ReadyBuild)| Stock {
        environment: name.clone(),
        min: build.recipe.warm.min,
        max: build.recipe.warm.max,
        ready: count(state.ready.iter().filter(|warm| warm.environment == *name).count()),
        starting: 0,
        paused: state.not_before.contains_key(name),
        demand: count(state.dispatched.iter().filter(|(of, _)| of == name).count()),
        need: Need { memory: build.recipe.size.memory, disk: 0 },
    };
    builds.iter().map(stock).collect()
}

fn stocks_shown(host: &Host, builds: &BTreeMap<String, ReadyBuild>) {
    show(host, &stocks(host, builds));
}

fn show(host: &Host, stocks: &[Stock]) {
    for stock in stocks {
        host.board.warm(&stock.environment, WarmView { ready: stock.ready, wanted: stock.wanted() });
    }
}

/// What sessions are about to do.
struct Queue {
    /// One starts, is resumed, or waits for its place.
    busy: bool,
    /// What the one that has waited longest needs.
    waiting: Option<Need>,
}

fn queue(host: &Host) -> Queue {
    let sessions: Vec<Session> = host.handles().values().map(|handle| handle.record.borrow().session.clone()).collect();
    let starts = |of: &Lifecycle| matches!(of, Lifecycle::Starting | Lifecycle::Resuming);
    let waiting = {
        let state = host.pool.lock();
        // Who is about to take a warm VM does not wait for memory, and that VM is not in its way.
        let served = |session: &Session| {
            let first = session.lifecycle == Lifecycle::Queued && session.generation == 0;
            let ready = || state.ready.iter().any(|warm| warm.build == session.build);
            first && (state.reserved.contains_key(&session.id) || ready())
        };
        sessions.iter().filter(|session| session.waits_for_room()).find(|session| !served(session))
    };
    let waiting = waiting.map(|session| Need { memory: session.size.memory, disk: 0 });
    // Builds wait there too.
    let waiting = waiting.or_else(|| host.parts.rooms.waiting());
    let busy = sessions.iter().any(|session| session.waits_for_room() || starts(&session.lifecycle));
    Queue { busy: busy || waiting.is_some(), waiting }
}

async fn start(host: &Host, environment: &str, build: &ReadyBuild) {
    match make(host, environment, build).await {
        Ok(warm) => {
            host.pool.lock().ready.push(warm);
            host.pool.stocked.notify_waiters();
        }
        Err(why) if host.pool.stop.is_cancelled() => tracing::debug!(environment, why, "no warm VM: hostd ends"),
        Err(why) => {
            tracing::warn!(environment, why, "a warm VM did not come up");
            host.pool.lock().not_before.insert(environment.into(), Instant::now() + PAUSE);
        }
    }
}
