//! A made-up host: sessions are entries in a list, `exec` runs on this machine, a terminal echoes.

mod diffs;
mod environments;
mod forward;
mod host;
pub(crate) mod pulls;
mod sessions;
mod spending;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use pilothouse_proto::hostd::v1::{
    Actor, Event, Pull, Session, WatchResponse, checks_server::ChecksServer, diffs_server::DiffsServer,
    environments_server::EnvironmentsServer, host_server::HostServer, repositories_server::RepositoriesServer,
    reviews_server::ReviewsServer, sessions_server::SessionsServer, spending_server::SpendingServer,
    watch_response::Change,
};
use tempfile::TempDir;
use tokio::{net::UnixListener, process::Command, sync::broadcast, task::JoinHandle};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::program::{self, Ran};

/// A running made-up host.
pub(crate) struct Fake {
    pub(crate) folder: TempDir,
    pub(crate) state: Arc<State>,
    server: JoinHandle<()>,
}

/// What it knows.
pub(crate) struct State {
    sessions: Mutex<Vec<Session>>,
    pulls: Mutex<Vec<Pull>>,
    /// Where its repositories are.
    git: PathBuf,
    changes: broadcast::Sender<WatchResponse>,
    pull_changes: broadcast::Sender<Pull>,
    /// What happens to `alpha` from now on.
    story: broadcast::Sender<Event>,
    /// What was typed into attached terminals, and which commands were hung up on.
    heard: Arc<Mutex<Vec<u8>>>,
    /// Whether the host is drained.
    drained: Mutex<bool>,
}

impl Fake {
    /// With these sessions.
    pub(crate) async fn start(sessions: Vec<Session>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (pulls, changes, pull_changes) = (Mutex::default(), broadcast::channel(64).0, broadcast::channel(64).0);
        let git = folder.path().join("git");
        let sessions = Mutex::new(sessions);
        let story = broadcast::channel(64).0;
        let state = State {
            sessions,
            pulls,
            git,
            changes,
            pull_changes,
            story,
            heard: Arc::default(),
            drained: Mutex::default(),
        };
        let state = Arc::new(state);
        let server = serve(folder.path().join("hostd.sock"), state.clone());
        Self { folder, state, server }
    }

    /// With these pull requests.
    pub(crate) async fn with_pulls(pulls: Vec<Pull>) -> Self {
        let fake = Self::start(vec![]).await;
        *fake.state.pulls.lock().unwrap() = pulls;
        fake
    }

    /// Ends it as kill -9 would, connections included.
    pub(crate) async fn kill(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) {
        self.server = serve(self.socket(), self.state.clone());
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("hostd.sock")
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// The program, with this as its host.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        program::command(self.folder.path(), Some(&self.address()), arguments)
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, b"").await
    }

    /// The same, with this on its stdin.
    pub(crate) async fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Ran {
        program::run(self.command(arguments), stdin).await
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// On a runtime of its own, so that its end takes every connection along.
fn serve(socket: PathBuf, state: Arc<State>) -> JoinHandle<()> {
    let _ = std::fs::remove_file(&socket);
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let guard = Runtime(Some(runtime));
    let handle = guard.0.as_ref().unwrap().handle().clone();
    tokio::spawn(async move {
        let _guard = guard;
        let serving = handle.spawn(async move {
            let incoming = UnixListenerStream::new(UnixListener::from_std(listener).unwrap());
            tonic::transport::Server::builder()
                .add_service(SessionsServer::from_arc(state.clone()))
                .add_service(EnvironmentsServer::from_arc(state.clone()))
                .add_service(ReviewsServer::from_arc(state.clone()))
                .add_service(ChecksServer::from_arc(state.clone()))
                .add_service(DiffsServer::from_arc(state.clone()))
                .add_service(RepositoriesServer::from_arc(state.clone()))
                .add_service(SpendingServer::from_arc(state.clone()))
                .add_service(HostServer::from_arc(state))
                .serve_with_incoming(incoming)
                .await
        });
        serving.await.unwrap().unwrap();
    })
}

struct Runtime(Option<tokio::runtime::Runtime>);

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl State {
    /// The session of this id, slug or unique prefix.
    fn find(&self, id: &str) -> Result<Session, Status> {
        let sessions = self.sessions.lock().unwrap();
        let found: Vec<_> = sessions.iter().filter(|s| s.slug.starts_with(id) || s.id.starts_with(id)).collect();
        match found[..] {
            [session] => Ok(session.clone()),
            [] => Err(status(Code::NotFound, "SESSION_NOT_FOUND", "there is no such session")),
            _ => Err(status(Code::InvalidArgument, "ID_AMBIGUOUS", "more than one session is meant")),
        }
    }

    /// Changes a session and tells the watchers.
    pub(crate) fn change(&self, slug: &str, change: impl FnOnce(&mut Session)) {
        let mut sessions = self.sessions.lock().unwrap();
        let session = sessions.iter_mut().find(|s| s.slug == slug).unwrap();
        change(session);
        self.tell(Change::Session(session.clone()));
    }

    /// Removes it.
    pub(crate) fn remove(&self, id: &str) {
        self.sessions.lock().unwrap().retain(|s| s.id != id);
        self.tell(Change::SessionRemoved(id.into()));
    }

    pub(crate) fn sessions(&self) -> Vec<Session> {
        self.sessions.lock().unwrap().clone()
    }

    /// How many watch.
    pub(crate) fn watchers(&self) -> usize {
        self.changes.receiver_count()
    }

    /// How many follow the story of `alpha`.
    pub(crate) fn followers(&self) -> usize {
        self.story.receiver_count()
    }

    /// Something happens to `alpha`, for whoever follows its story.
    pub(crate) fn happens(&self, event: Event) {
        let _ = self.story.send(event);
    }

    fn tell(&self, change: Change) {
        let _ = self.changes.send(WatchResponse { epoch: "1".into(), revision: 2, change: Some(change) });
    }

    /// What it heard.
    pub(crate) fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    fn hear(&self, bytes: &[u8]) {
        self.heard.lock().unwrap().extend_from_slice(bytes);
    }

    fn heard_by(&self) -> Arc<Mutex<Vec<u8>>> {
        self.heard.clone()
    }
}

/// A session at work.
pub(crate) fn session(slug: &str) -> Session {
    let actor = Some(Actor { kind: "session".into(), name: "fix".into(), person: "ann".into() });
    Session {
        last_event: Some(Event { id: 9, at: 0, actor, what: "asks".into(), text: "which\u{1b}[2J?".into() }),
        id: format!("01J{}", slug.to_uppercase()),
        slug: slug.into(),
        title: format!("Title of {slug}"),
        environment: "demo".into(),
        owner: "me".into(),
        lifecycle: "running".into(),
        activity: "working".into(),
        attention: "agent".into(),
        reason: "working".into(),
        created_at: 1_700_000_000_000,
        updated_at: 1_700_000_000_000,
        ..Default::default()
    }
}

fn status(code: Code, reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "pilothouse", std::collections::HashMap::new());
    Status::with_error_details(code, message, details)
}
