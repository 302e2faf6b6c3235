//! The pool's own task: one step after the other, as planned from what there is and what sessions are about to do.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use hostd_core::{
    Lifecycle, Session,
    capacity::{Need, PoolStep, Stock, plan_pool},
};
use tokio::time::Instant;

use super::{Pool, Warm, make::make, root, standby};
use crate::{
    admission::Kind,
    environments::ReadyBuild,
    sessions::{context::Context, feed::WarmView, registry::Registry},
};

/// Between two looks when nobody asks for one.
const EVERY: Duration = Duration::from_secs(3);
/// Dispatches of this time back count as demand for as many more.
const DEMAND: Duration = Duration::from_secs(300);
/// After one was taken: its session's agent starts now.
const AFTER_TAKE: Duration = Duration::from_secs(3);
/// After one that did not come up.
const PAUSE: Duration = Duration::from_secs(30);

/// What keeps a host's pool.
struct Keeper {
    ctx: Arc<Context>,
    registry: Arc<Registry>,
    pool: Arc<Pool>,
}

/// Keeps the pool, until it is closed.
pub(in crate::sessions) async fn keep(ctx: Arc<Context>, registry: Arc<Registry>, pool: Arc<Pool>) {
    let _over = pool.over.clone().drop_guard();
    let keeper = Keeper { ctx, registry, pool };
    let Keeper { ctx, pool, .. } = &keeper;
    while !pool.stop.is_cancelled() {
        if !keeper.step().await {
            tokio::select! {
                () = pool.stop.cancelled() => {}
                () = pool.look.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
    ctx.vmm.stand_by(&[]).await;
    let (ready, reserved) = {
        let mut state = pool.lock();
        (std::mem::take(&mut state.ready), std::mem::take(&mut state.reserved))
    };
    join_all(ready.into_iter().chain(reserved.into_values()).map(Warm::end)).await;
}

impl Keeper {
    /// One step; true where another may be due at once.
    async fn step(&self) -> bool {
        let builds = self.builds();
        for gone in self.outdated(&builds) {
            tracing::info!(environment = gone.environment, "a warm VM that is of no use any more is ended");
            gone.end().await;
        }
        let stocks = self.stocks(&builds);
        let queue = self.queue();
        let busy = queue.busy;
        let admission = self.ctx.admission.clone();
        let (planned, waiting) = (stocks.clone(), queue.waiting);
        let starts_none = busy || self.took_lately();
        let decided = tokio::task::spawn_blocking(move || {
            admission.decide(Kind::Warm, |room| {
                let step = plan_pool(&planned, room, waiting)
                    .filter(|step| !(starts_none && matches!(step, PoolStep::Start { .. })));
                let started =
                    planned.iter().find(|s| step == Some(PoolStep::Start { environment: s.environment.clone() }));
                (step.clone(), started.map(|stock| stock.need.memory))
            })
        });
        let Ok((planned, reservation)) = decided.await else { return false };
        match planned {
            Some(PoolStep::Start { environment }) => {
                let Some(build) = builds.get(&environment) else { return false };
                self.start(&environment, build).await;
                drop(reservation);
                self.stocks_shown(&builds);
                true
            }
            Some(PoolStep::End { environment }) => {
                let one = {
                    let mut state = self.pool.lock();
                    let at = state.ready.iter().position(|warm| warm.environment == environment);
                    at.map(|at| state.ready.swap_remove(at))
                };
                if let Some(warm) = one {
                    warm.end().await;
                    self.ctx.admission.freed();
                }
                self.stocks_shown(&builds);
                true
            }
            None => {
                self.show(&stocks);
                standby::keep(&self.ctx, &self.registry, busy, waiting).await;
                false
            }
        }
    }

    fn took_lately(&self) -> bool {
        self.pool.lock().took.is_some_and(|at| at.elapsed() < AFTER_TAKE)
    }

    /// The builds that can be cloned, by environment.
    fn builds(&self) -> BTreeMap<String, ReadyBuild> {
        let environments = &self.ctx.environments;
        let ready =
            environments.list().into_iter().filter_map(|info| Some((environments.ready(&info.name).ok()?, info)));
        ready.filter(|(build, _)| build.template.is_some()).map(|(build, info)| (info.name, build)).collect()
    }

    /// Those that have died, and those of a build that is not in use any more.
    fn outdated(&self, builds: &BTreeMap<String, ReadyBuild>) -> Vec<Warm> {
        let of_use = |warm: &Warm| builds.get(&warm.environment).is_some_and(|b| b.id == warm.build) && warm.lives();
        self.pool.lock().ready.extract_if(.., |warm| !of_use(warm)).collect()
    }

    fn stocks(&self, builds: &BTreeMap<String, ReadyBuild>) -> Vec<Stock> {
        let mut state = self.pool.lock();
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

    fn stocks_shown(&self, builds: &BTreeMap<String, ReadyBuild>) {
        self.show(&self.stocks(builds));
    }

    fn show(&self, stocks: &[Stock]) {
        for stock in stocks {
            let unrehearsed = self.pool.lock().unrehearsed.get(&stock.environment).cloned().unwrap_or_default();
            let view = WarmView { ready: stock.ready, wanted: stock.wanted(), unrehearsed };
            self.ctx.feed.warm(&stock.environment, view);
        }
    }

    fn queue(&self) -> Queue {
        let sessions: Vec<Session> = self.registry.records().iter().map(|record| record.session.clone()).collect();
        let starts = |of: &Lifecycle| matches!(of, Lifecycle::Starting | Lifecycle::Resuming);
        let waiting = {
            let state = self.pool.lock();
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
        let waiting = waiting.or_else(|| self.ctx.admission.waiting());
        let busy = sessions.iter().any(|session| session.waits_for_room() || starts(&session.lifecycle));
        Queue { busy: busy || waiting.is_some(), waiting }
    }

    /// Ready once somebody waits for the room of a VM, or for one.
    async fn is_wanted(&self) {
        while self.queue().waiting.is_none() {
            tokio::select! {
                () = self.pool.look.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Says of a new one whether its agent was rehearsed in it.
    fn note(&self, warm: &Warm) {
        let Warm { environment, unrehearsed: why, .. } = warm;
        let mut state = self.pool.lock();
        if why.is_empty() {
            state.unrehearsed.remove(environment);
        } else {
            tracing::warn!(
                environment,
                why,
                "the agent was not rehearsed in a warm VM: its first start there takes longer"
            );
            state.unrehearsed.insert(environment.clone(), why.clone());
        }
    }

    async fn start(&self, environment: &str, build: &ReadyBuild) {
        let folder = root(&self.ctx.data);
        let made =
            make(&*self.ctx.vmm, &self.ctx.gateway, &folder, environment, build, &self.pool.stop, self.is_wanted())
                .await;
        match made {
            Ok(warm) => {
                self.note(&warm);
                self.pool.lock().ready.push(warm);
                self.pool.stocked.notify_waiters();
            }
            Err(why) if self.pool.stop.is_cancelled() => tracing::debug!(environment, why, "no warm VM: hostd ends"),
            Err(why) => {
                tracing::warn!(environment, why, "a warm VM did not come up");
                self.pool.lock().not_before.insert(environment.into(), Instant::now() + PAUSE);
            }
        }
    }
}

/// What sessions are about to do.
struct Queue {
    /// One starts, is resumed, or waits for its place.
    busy: bool,
    /// What the one that has waited longest needs.
    waiting: Option<Need>,
}
