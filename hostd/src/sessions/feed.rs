//! What the host shows: every session, environment and the host itself, with a revision for each change.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hostd_core::{Lifecycle, Session};
use tokio::sync::watch;

use super::view::SessionView;
use crate::{environments::EnvironmentInfo, host_status::HostStatus};

/// Changes kept for readers that are behind; who is further behind gets a snapshot.
const KEPT: usize = 1024;

/// An environment, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentView {
    /// The environment as it stands.
    pub info: EnvironmentInfo,
    /// Number of sessions that were made from the environment.
    pub sessions: usize,
    /// Number of sessions that were made from each of its builds, by the build's id.
    pub users: BTreeMap<String, usize>,
    /// The environment's warm VMs.
    pub warm: WarmView,
}

/// An environment's warm VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WarmView {
    /// Number of VMs that stand ready for sessions to come.
    pub ready: u32,
    /// Number of VMs that are to stand ready.
    pub wanted: u32,
    /// Why the agent's program has not been rehearsed in the newest of them; empty: it has, or was not to be.
    pub unrehearsed: String,
}

impl EnvironmentView {
    fn new<'a>(info: EnvironmentInfo, warm: WarmView, sessions: impl Iterator<Item = &'a Session>) -> Self {
        let mut users = BTreeMap::new();
        for session in sessions.filter(|session| session.environment == info.name) {
            *users.entry(session.build.clone()).or_default() += 1;
        }
        Self { sessions: users.values().sum(), info, users, warm }
    }
}

/// One change of what the host shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A session is new or has changed.
    Session(Arc<SessionView>),
    /// The session with this id is gone.
    Removed(String),
    /// The host has changed.
    Host(HostStatus),
    /// An environment is new or has changed.
    Environment(EnvironmentView),
}

/// Everything that the host shows, at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The host as it stands.
    pub host: HostStatus,
    /// Sessions, ordered by id: oldest first.
    pub sessions: Vec<Arc<SessionView>>,
    /// Environments, ordered by name.
    pub environments: Vec<EnvironmentView>,
}

/// What a reader is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A snapshot replaces all that the reader knew.
    Snapshot(Snapshot),
    /// A change comes on top of what the reader knew.
    Change(Change),
}

/// The feed. Writers are supervisors and refreshers; readers come by [`Feed::read`].
#[derive(Debug)]
pub struct Feed {
    epoch: String,
    inner: Mutex<Inner>,
    revision: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    revision: u64,
    /// The newest changes; the last one has the revision above.
    changes: VecDeque<Change>,
    sessions: BTreeMap<String, Arc<SessionView>>,
    environments: BTreeMap<String, EnvironmentInfo>,
    warm: BTreeMap<String, WarmView>,
    host: HostStatus,
}

impl Feed {
    /// An empty feed. `epoch` is that of no earlier one.
    #[must_use]
    pub fn new(epoch: String) -> Arc<Self> {
        Arc::new(Self { epoch, inner: Mutex::default(), revision: watch::channel(0).0 })
    }

    /// Name of this feed's revisions; those of another epoch mean nothing here.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Number of readers that the feed has now.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.revision.receiver_count()
    }

    /// Everything that the host shows now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot()
    }

    /// A reader that knows everything up to `revision` of `epoch`.
    #[must_use]
    pub fn read(self: &Arc<Self>, epoch: &str, revision: u64) -> Reader {
        let known = (epoch == self.epoch && revision > 0).then_some(revision);
        Reader { feed: self.clone(), known, changed: self.revision.subscribe() }
    }

    /// A session is new or may have changed.
    pub fn session(&self, view: SessionView) {
        self.change(|inner| {
            let (id, environment) = (view.session.id.clone(), view.session.environment.clone());
            let view = Arc::new(view);
            let before = inner.sessions.insert(id, view.clone());
            if before.as_ref() == Some(&view) {
                return vec![];
            }
            let new = before.is_none();
            let mut changes = vec![Change::Session(view)];
            changes.extend(inner.environment(&environment).filter(|_| new).map(Change::Environment));
            changes
        });
    }

    /// A session is gone.
    pub fn removed(&self, id: &str) {
        self.change(|inner| {
            let Some(view) = inner.sessions.remove(id) else { return vec![] };
            let mut changes = vec![Change::Removed(id.into())];
            changes.extend(inner.environment(&view.session.environment).map(Change::Environment));
            changes
        });
    }

    /// An environment is new or may have changed.
    pub fn environment(&self, info: EnvironmentInfo) {
        self.change(|inner| {
            let name = info.name.clone();
            if inner.environments.get(&name) == Some(&info) {
                return vec![];
            }
            inner.environments.insert(name.clone(), info);
            inner.environment(&name).map(Change::Environment).into_iter().collect()
        });
    }

    /// How an environment's warm VMs stand.
    pub fn warm(&self, name: &str, warm: WarmView) {
        self.change(|inner| {
            if inner.warm.insert(name.into(), warm.clone()).unwrap_or_default() == warm {
                return vec![];
            }
            inner.environment(name).map(Change::Environment).into_iter().collect()
        });
    }

    /// This environment, which may have changed since it was last shown, as it would be shown.
    #[must_use]
    pub fn view(&self, info: EnvironmentInfo) -> EnvironmentView {
        self.lock().view(info)
    }

    /// The host may have changed. Its counts of sessions are the feed's own.
    pub fn host(&self, mut host: HostStatus) {
        self.change(|inner| {
            let running = inner.sessions.values().filter(|s| s.session.lifecycle == Lifecycle::Running).count();
            host.sessions = u32::try_from(inner.sessions.len()).unwrap_or(u32::MAX);
            host.running = u32::try_from(running).unwrap_or(u32::MAX);
            if inner.host == host {
                return vec![];
            }
            inner.host = host.clone();
            vec![Change::Host(host)]
        });
    }

    fn change(&self, work: impl FnOnce(&mut Inner) -> Vec<Change>) {
        let mut inner = self.lock();
        let changes = work(&mut inner);
        if changes.is_empty() {
            return;
        }
        for change in changes {
            inner.revision += 1;
            inner.changes.push_back(change);
        }
        let excess = inner.changes.len().saturating_sub(KEPT);
        inner.changes.drain(..excess);
        self.revision.send_replace(inner.revision);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn environment(&self, name: &str) -> Option<EnvironmentView> {
        Some(self.view(self.environments.get(name)?.clone()))
    }

    fn view(&self, info: EnvironmentInfo) -> EnvironmentView {
        let warm = self.warm.get(&info.name).cloned().unwrap_or_default();
        EnvironmentView::new(info, warm, self.sessions.values().map(|view| &view.session))
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            host: self.host.clone(),
            sessions: self.sessions.values().cloned().collect(),
            environments: self.environments.keys().filter_map(|name| self.environment(name)).collect(),
        }
    }

    /// What follows on a known revision; None: nothing yet.
    fn after(&self, known: Option<u64>) -> Option<(u64, News)> {
        let behind = known.and_then(|known| self.revision.checked_sub(known));
        match behind.and_then(|n| usize::try_from(n).ok()) {
            Some(0) => None,
            Some(n) if n <= self.changes.len() => {
                let change = self.changes.get(self.changes.len() - n)?;
                Some((self.revision - n as u64 + 1, News::Change(change.clone())))
            }
            _ => Some((self.revision, News::Snapshot(self.snapshot()))),
        }
    }
}

/// Reads a feed from where it stood; never holds anybody up.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Feed>,
    known: Option<u64>,
    changed: watch::Receiver<u64>,
}

impl Reader {
    /// The next news and its revision; waits for it. Cancel safe.
    pub async fn next(&mut self) -> (u64, News) {
        loop {
            self.changed.borrow_and_update();
            let news = self.feed.lock().after(self.known);
            if let Some((revision, news)) = news {
                self.known = Some(revision);
                return (revision, news);
            }
            if self.changed.changed().await.is_err() {
                // Not while the feed is held here.
                std::future::pending::<()>().await;
            }
        }
    }
}
