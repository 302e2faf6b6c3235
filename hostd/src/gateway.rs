//! The guests' only way out: an HTTP/1.1 proxy that knows who asks, because each guest has its own link.
//!
//! ```text
//! http://pilothouse.internal/git/NAME.git/...   the local forge, by `git http-backend`   (git)
//! http://HOST:PORT/... , CONNECT HOST:PORT      only what the recipe's egress lists      (egress, forward)
//! anything else                                 refused, with a text that says how to allow it
//! ```

mod answer;
mod ask;
mod cgi;
mod egress;
mod forward;
#[cfg(fuzzing)]
pub mod fuzz;
mod git;
mod refusals;
#[cfg(test)]
mod tests;
mod turn;

use std::{
    collections::HashMap,
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hostd_core::{
    capacity::Disk,
    recipe::{Egress, INTERNAL_HOST},
};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use crate::{
    forge::{Forge, Repositories},
    vm::Io,
};
use answer::Body;
use refusals::Refusals;
pub use refusals::Refused;

/// Connections of one session at a time; each has at most one git process or one connection to the world.
const CONNECTIONS: usize = 64;
/// Longest pack that a guest may push.
const PUSH_BYTES: u64 = 512 << 20;
/// For the head of a request, and for the wait between two.
const HEAD_DEADLINE: Duration = Duration::from_secs(120);
/// Of a request's head.
const HEAD_BYTES: usize = 64 * 1024;

/// Whose guest it is that asks, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Session id, or the id of a build.
    pub session_id: String,
    /// For messages.
    pub slug: String,
    /// Its environment's name, for messages.
    pub environment: String,
    /// The repository of the local forge that it may read, e.g. `widgets`.
    pub repository: Option<String>,
    /// It may push to `refs/heads/<branch_prefix>*` of that repository, e.g. `agent/fix-parser-3f/`. None: it may not push.
    pub branch_prefix: Option<String>,
    /// Names of repositories of the local forge that it may read beside its own.
    pub also_read: Vec<String>,
    /// Destinations that it may reach.
    pub egress: Vec<Egress>,
}

/// Serves guests' connections to the world.
#[derive(Debug)]
pub struct Gateway {
    repositories: Repositories,
    forge: Option<Arc<dyn Forge>>,
    hooks: tokio::sync::OnceCell<PathBuf>,
    git_root: PathBuf,
    /// By session.
    uses: Mutex<HashMap<String, Uses>>,
    refusals: Mutex<Refusals>,
    /// Turns for git, of all sessions.
    turns: Arc<Semaphore>,
    /// Longest pack that a guest may push, in bytes.
    push_bytes: u64,
    /// Measures the disk that a folder is on.
    disk: fn(&Path) -> Option<Disk>,
}

/// What a session has of the gateway.
#[derive(Debug)]
struct Uses {
    connections: usize,
    turns: Arc<Semaphore>,
}

impl Gateway {
    /// A gateway whose repositories are the `NAME.git` folders in `git_root`.
    #[must_use]
    pub fn new(git_root: PathBuf) -> Self {
        let repositories = Repositories::new(git_root.clone());
        Self {
            repositories,
            forge: None,
            hooks: tokio::sync::OnceCell::new(),
            git_root,
            uses: Mutex::default(),
            refusals: Mutex::default(),
            turns: Arc::new(Semaphore::new(turn::OF_HOST)),
            push_bytes: PUSH_BYTES,
            disk: crate::disk::measure,
        }
    }

    /// Tells this forge of pushes.
    #[must_use]
    pub fn with_forge(self, forge: Arc<dyn Forge>) -> Self {
        Self { forge: Some(forge), ..self }
    }

    /// Serves one HTTP/1.1 proxy connection until either side ends it. Every byte of `io` is foreign. Dropping it ends
    /// whatever was started for it.
    pub async fn serve(&self, caller: &Caller, io: impl Io) {
        let place = Place::take(self, &caller.session_id);
        let tunnel = Mutex::new(None);
        let service = service_fn(|request| async {
            let response = match &place {
                Some(_) => self.answer(caller, request, &tunnel).await,
                None => answer::text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &format!("pilothouse: {} has {CONNECTIONS} connections open already; close some", caller.slug),
                ),
            };
            Ok::<_, Infallible>(response)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        if let Err(error) = connection.await {
            tracing::debug!(caller = caller.slug, %error, "a guest's connection ended");
        }
        let accepted = tunnel.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(tunnel) = accepted {
            forward::tunnel(tunnel).await;
        }
    }

    /// Answers one request. An accepted CONNECT leaves its two ends in `tunnel`.
    async fn answer(
        &self,
        caller: &Caller,
        mut request: Request<Incoming>,
        tunnel: &Mutex<Option<forward::Tunnel>>,
    ) -> Response<Body> {
        let Some(destination) = egress::Destination::of(&request) else {
            let help =
                format!("pilothouse: this is a proxy; ask it for http://{INTERNAL_HOST}/ or CONNECT to host:port");
            return answer::text(StatusCode::BAD_REQUEST, &help);
        };
        if destination.host == INTERNAL_HOST {
            return self.internal(caller, &destination, request).await;
        }
        let stream = match egress::connect(caller, &destination).await {
            Ok(stream) => stream,
            Err(refusal) => {
                tracing::info!(caller = caller.slug, %destination, "refused: {refusal}");
                let now = jiff::Timestamp::now().as_millisecond();
                self.refusals().add(&caller.session_id, &destination, &refusal, now);
                return answer::text(refusal.status(), &refusal.to_string());
            }
        };
        if request.method() == Method::CONNECT {
            let end = hyper::upgrade::on(&mut request);
            *tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some((end, stream));
            return answer::empty();
        }
        forward::request(&destination, request, stream).await
    }

    /// What hostd itself serves.
    async fn internal(
        &self,
        caller: &Caller,
        destination: &egress::Destination,
        request: Request<Incoming>,
    ) -> Response<Body> {
        if request.method() == Method::CONNECT || destination.port != 80 {
            let text = format!("pilothouse: {INTERNAL_HOST} speaks plain HTTP on port 80; use http://{INTERNAL_HOST}/");
            return answer::text(StatusCode::FORBIDDEN, &text);
        }
        if request.uri().path().starts_with("/git/") {
            return git::answer(self, caller, request).await;
        }
        match request.uri().path() {
            "/" => answer::text(StatusCode::OK, &help(caller)),
            path => {
                answer::text(StatusCode::NOT_FOUND, &format!("pilothouse: there is no {path:?} here\n{}", help(caller)))
            }
        }
    }

    /// Lets the forge read what was pushed.
    fn look_after_push(&self, caller: &Caller) -> cgi::Then {
        let Caller { repository, branch_prefix, .. } = caller.clone();
        let (Some(forge), Some(repository), Some(branches)) = (self.forge.clone(), repository, branch_prefix) else {
            return cgi::Then::nothing();
        };
        let slug = caller.slug.clone();
        cgi::Then::new(async move {
            if let Err(error) = forge.look(&repository, &branches).await {
                tracing::warn!(slug, repository, %error, "what was pushed cannot be read yet");
            }
        })
    }

    /// A turn for git; None: it did not come in time.
    async fn turn(&self, session: &str) -> Option<turn::Turn> {
        let of_session = self.uses().get(session).map(|uses| uses.turns.clone())?;
        turn::Turn::take(of_session, self.turns.clone()).await
    }

    /// Destinations that a session was refused since hostd began, the last one first.
    #[must_use]
    pub fn refused(&self, session: &str) -> Vec<Refused> {
        self.refusals().of(session)
    }

    /// The session is gone: forgets what it was refused.
    pub fn forget(&self, session: &str) {
        self.refusals().forget(session);
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<String, Uses>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hooks' folder; written when the first push asks for it.
    async fn hooks(&self) -> std::io::Result<&PathBuf> {
        self.hooks.get_or_try_init(|| crate::forge::install(&self.git_root)).await
    }
}

fn help(caller: &Caller) -> String {
    let repository = match &caller.repository {
        Some(name) => format!("git clone http://{INTERNAL_HOST}/git/{name}.git"),
        None => "none in this environment".into(),
    };
    let push = match &caller.branch_prefix {
        Some(prefix) => format!("refs/heads/{prefix}*"),
        None => "nowhere".into(),
    };
    let list = |words: Vec<&str>| if words.is_empty() { "nothing".into() } else { words.join(", ") };
    let also = list(caller.also_read.iter().map(String::as_str).collect());
    let egress = list(caller.egress.iter().map(|entry| entry.to.as_str()).collect());
    format!(
        "This is Pilothouse's gateway, for {}.\nRepository: {repository}\nMay also read: {also}\nMay push to: {push}\nMay reach: {egress}\n",
        caller.slug
    )
}

/// A counted connection of a session; given back when dropped.
struct Place<'a> {
    gateway: &'a Gateway,
    session: &'a str,
}

impl<'a> Place<'a> {
    /// None: the session has too many.
    fn take(gateway: &'a Gateway, session: &'a str) -> Option<Self> {
        let mut uses = gateway.uses();
        let uses = uses
            .entry(session.to_owned())
            .or_insert_with(|| Uses { connections: 0, turns: Arc::new(Semaphore::new(turn::OF_SESSION)) });
        (uses.connections < CONNECTIONS).then(|| {
            uses.connections += 1;
            Self { gateway, session }
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut uses = self.gateway.uses();
        if let Some(of_session) = uses.get_mut(self.session) {
            of_session.connections -= 1;
            if of_session.connections == 0 {
                uses.remove(self.session);
            }
        }
    }
}
