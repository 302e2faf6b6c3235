//! The guests' only way out: an HTTP/1.1 proxy that knows who asks, because each guest has its own link.
//!
//! ```text
//! http://pilothouse.internal/git/NAME.git/...   the local forge, by `git http-backend`   (git)
//! http://pilothouse.internal/modules/RELEASE/NAME   modules of the guests' kernel                (modules)
//! http://HOST:PORT/... , CONNECT HOST:PORT      only what the recipe's egress lists      (egress, forward)
//! CONNECT to a host of the session's credentials ended here, the secret put in                      (inspected, credentials)
//! anything else                                 refused, with a text that says how to allow it
//! ```

mod accepted;
mod allowed;
mod ask;
mod authority;
mod bounds;
mod caller;
mod cgi;
mod counted;
mod credentials;
mod egress;
mod forward;
#[cfg(fuzzing)]
pub mod fuzz;
mod git;
mod git_permits;
mod inspected;
mod leave;
mod ledger;
mod limits;
mod meter;
mod modules;
mod outer;
mod outer_tls;
mod prefixed;
mod pushed;
mod refusals;
mod response;
mod spending;
#[cfg(test)]
mod tests;
mod tied;
mod trial;

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
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc},
    time::timeout,
};
use tokio_rustls::rustls::ClientConfig;

use crate::{
    credentials::Credentials,
    forge::{Forge, Mirror},
    local_services::LocalFile,
    vm::Io,
};
use accepted::{Accepted, Inspected};
pub use authority::Authority;
use bounds::{HEAD_BYTES, HEAD_DEADLINE, PLACE};
pub use caller::{Access, Beside, Caller};
use counted::Counted;
pub(crate) use credentials::put as put_secret;
pub(crate) use egress::is_public;
use egress::{Destination, Refusal, Spoken};
use forward::Ended;
use git_permits::Permit;
use leave::with_leave;
pub use ledger::{Ledger, UnderWay, UsedUp};
pub use limits::Limits;
use meter::Asked;
pub(crate) use meter::Meter;
use modules::Modules;
use outer_tls::OuterTls;
use pushed::Bound;
use refusals::Refusals;
pub use refusals::{Denied, Refused};
use response::Body;
pub use spending::{QUEUE as SPENDING_QUEUE, Spent};

/// Most connections of one session at a time, where hostd has descriptors for many; each has at most one git process or one
/// connection to the world. More of them wait.
const CONNECTIONS: usize = 64;
/// Longest pack that a guest may push, in bytes.
const PUSH_BYTES: u64 = 512 << 20;
/// Most refusals that may wait to be heard of; of more the first ones are not told.
const DENIALS: usize = 256;
/// Port of HTTP.
const HTTP: u16 = 80;
/// Serves guests' connections to the world.
#[derive(Debug)]
pub struct Gateway {
    mirror: Arc<dyn Mirror>,
    forge: Option<Arc<dyn Forge>>,
    hooks: tokio::sync::OnceCell<PathBuf>,
    /// What each session has of the gateway, by session id.
    uses: Mutex<HashMap<String, Uses>>,
    refusals: Mutex<Refusals>,
    /// Destinations that people have allowed sessions beside those of their recipes, by session id.
    allowed: Mutex<HashMap<String, Arc<[Egress]>>>,
    /// Tells of refusals whoever wants to hear of them.
    denials: broadcast::Sender<Denied>,
    /// Bounds what pushes open.
    pushes: Bound,
    /// Credentials of the host; None: it has none.
    credentials: Option<Arc<Credentials>>,
    /// Which of its own services the host names; None: it bounds nothing.
    local: Option<Arc<LocalFile>>,
    outer_tls: OuterTls,
    /// Who is told what answers of models took; None: nobody is.
    spending: Option<mpsc::Sender<Spent>>,
    modules: Modules,
    ledger: Arc<Ledger>,
    limits: Arc<Limits>,
    meter: Meter,
    /// Places for connections, of all sessions together.
    connections: Arc<Semaphore>,
    /// Number of connections that one session may have.
    of_session: usize,
    /// Permits for git, of all sessions together.
    git_permits: Arc<Semaphore>,
    /// Longest wait for a permit for git.
    permit_wait: Duration,
    /// Longest pack that a guest may push, in bytes.
    push_bytes: u64,
    /// Measures the disk that a folder is on; None: it cannot be measured.
    disk: fn(&Path) -> Option<Disk>,
}

/// What one session has of the gateway.
#[derive(Debug)]
struct Uses {
    /// Number of connections that the session has, or waits for.
    users: usize,
    connections: Arc<Semaphore>,
    git_permits: Arc<Semaphore>,
}

impl Gateway {
    /// A gateway that serves these repositories.
    #[must_use]
    pub fn new(mirror: Arc<dyn Mirror>) -> Self {
        let denials = broadcast::Sender::new(DENIALS);
        Self {
            mirror,
            forge: None,
            hooks: tokio::sync::OnceCell::new(),
            uses: Mutex::default(),
            refusals: Mutex::default(),
            allowed: Mutex::default(),
            pushes: Bound::telling(denials.clone()),
            denials,
            credentials: None,
            local: None,
            outer_tls: OuterTls::default(),
            spending: None,
            modules: Modules::of(None),
            ledger: Arc::default(),
            limits: Arc::default(),
            meter: Meter::default(),
            connections: Arc::new(Semaphore::new(CONNECTIONS * 16)),
            of_session: CONNECTIONS,
            git_permits: Arc::new(Semaphore::new(git_permits::OF_HOST)),
            permit_wait: git_permits::WAIT,
            push_bytes: PUSH_BYTES,
            disk: crate::disk::measure,
        }
    }

    /// Sets the number of connections at a time, of all sessions together: at most half of them are one session's.
    #[must_use]
    pub fn with_connections(self, most: usize) -> Self {
        let of_session = CONNECTIONS.min(most / 2).max(1);
        Self { connections: Arc::new(Semaphore::new(most)), of_session, ..self }
    }

    /// Sets the forge that is told of pushes.
    #[must_use]
    pub fn with_forge(self, forge: Arc<dyn Forge>) -> Self {
        Self { forge: Some(forge), ..self }
    }

    /// Sets the credentials that guests' requests are given.
    #[must_use]
    pub fn with_credentials(self, credentials: Arc<Credentials>) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// Sets the file in which the host names its own services.
    #[must_use]
    pub fn with_local(self, local: LocalFile) -> Self {
        Self { local: Some(Arc::new(local)), ..self }
    }

    /// Sets the folder of the kernels whose modules guests may ask for.
    #[must_use]
    pub fn with_kernels(self, kernels: PathBuf) -> Self {
        Self { modules: Modules::of(Some(kernels)), ..self }
    }

    /// Credentials of the host; None: it has none.
    pub(crate) fn host_credentials(&self) -> Option<Arc<Credentials>> {
        self.credentials.clone()
    }

    /// TLS to servers that this file of certificates vouches for; None: those that the system does. Blocks.
    ///
    /// # Errors
    /// A text for people.
    pub(crate) fn client_tls(&self, ca: Option<&str>) -> Result<Arc<ClientConfig>, String> {
        self.outer_tls.settings(ca).map(|settings| settings.http1)
    }

    /// Sets who is told what answers of models took.
    #[must_use]
    pub fn with_spending(self, spending: mpsc::Sender<Spent>) -> Self {
        Self { spending: Some(spending), ..self }
    }

    /// What sessions have spent on models, and what they may spend.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Which sessions models' APIs answer nothing for now.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is counted of guests' requests.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Number of connections of guests that are served now.
    pub(crate) fn open_connections(&self) -> usize {
        self.uses().values().map(|uses| uses.users).sum()
    }

    /// Serves one HTTP/1.1 proxy connection until it has ended. Every byte of `io` is foreign. Dropping it ends whatever was started for
    /// it.
    ///
    /// # Errors
    /// It carried a connection to the world that broke, at either end.
    pub async fn serve(self: &Arc<Self>, caller: &Arc<Caller>, io: impl Io) -> std::io::Result<()> {
        let place = Place::take(self, &caller.session_id).await;
        let accepted = Mutex::new(None);
        let service = service_fn(|request| async {
            let response = match &place {
                Some(_) => self.answer(caller, request, &accepted).await,
                None => response::text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &format!(
                        "pilothouse: {} may have {} connections at a time, and none of those that are open was closed \
                         within {} s; close some",
                        caller.slug,
                        self.of_session,
                        PLACE.as_secs()
                    ),
                ),
            };
            Ok::<_, Infallible>(response)
        });
        let connection =
            http1_server().serve_connection(TokioIo::new(Counted::new(io, &self.meter)), service).with_upgrades();
        if let Err(error) = connection.await {
            tracing::debug!(caller = caller.slug, %error, "a guest's connection ended");
        }
        match accepted.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Accepted::Tunnel(tunnel)) => match forward::tunnel(tunnel).await {
                Ok(()) => Ok(()),
                Err(Ended::Broken) => Err(std::io::ErrorKind::ConnectionAborted.into()),
                Err(Ended::NotSpoken(spoken)) => {
                    self.refused_by(caller, spoken.destination(), &spoken.refusal(caller));
                    Err(std::io::ErrorKind::PermissionDenied.into())
                }
            },
            Some(Accepted::Inspected(inspected)) => {
                self.inspect(&Arc::new(self.with_allowed(caller).into_owned()), inspected).await;
                Ok(())
            }
            Some(Accepted::Internal(guest)) => {
                self.serve_internal(caller, guest).await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Answers one request. An accepted CONNECT leaves its two ends in `accepted`.
    async fn answer(
        &self,
        caller: &Caller,
        mut request: Request<Incoming>,
        accepted: &Mutex<Option<Accepted>>,
    ) -> Response<Body> {
        let Some(destination) = Destination::of(&request) else {
            let help = format!(
                "pilothouse: this is a proxy; ask it for http://{INTERNAL_HOST}/ or CONNECT to host:port, where a host is an \
                 address, or a name of letters, digits, dots, dashes and underscores"
            );
            return response::text(StatusCode::BAD_REQUEST, &help);
        };
        let tunnels = request.method() == Method::CONNECT;
        if destination.host == INTERNAL_HOST {
            if tunnels && destination.port == HTTP {
                let guest = Accepted::Internal(hyper::upgrade::on(&mut request));
                *accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(guest);
                return response::empty();
            }
            return self.internal(caller, destination.port, request).await;
        }
        self.meter.asked(if tunnels { Asked::Connect } else { Asked::Http });
        let caller = &self.with_allowed(caller);
        let mut held = self.held(caller, &destination);
        held.retain(|one| one.goes_plain_to(&destination.host) || (tunnels && caller.access.authority.is_some()));
        let leave = with_leave(caller, &destination, &held);
        let spoken = Spoken::with(&leave, &destination);
        let connected = match &spoken {
            Some(spoken) if !tunnels && !spoken.has_http() => Err(spoken.refusal(caller)),
            _ => egress::connect(&leave, &destination, self.local.as_deref()).await,
        };
        let stream = match connected {
            Ok(stream) => stream,
            Err(refusal) => {
                self.refused_by(caller, &destination, &refusal);
                let mut text = refusal.to_string();
                if let Some(says) = refusal.allowed_by(&caller.slug).filter(|_| self.ledger.knows(&caller.session_id)) {
                    text.push_str(&format!("; for this session alone, a person may say: {says}"));
                }
                return response::text(refusal.status(), &text);
            }
        };
        if tunnels {
            let guest = hyper::upgrade::on(&mut request);
            let next = if held.is_empty() {
                Accepted::Tunnel(forward::Tunnel { guest, world: stream, spoken })
            } else {
                Accepted::Inspected(Inspected { destination, guest, world: stream })
            };
            *accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
            return response::empty();
        }
        let mut reading = None;
        if !held.is_empty() {
            // A header that the request names as one of this hop alone does not take the secret away.
            forward::only_end_to_end(request.headers_mut());
            match self.equip(caller, &destination, &held, false, &mut request).await {
                Ok(credential) => {
                    match self.reading(caller, &destination.host, credential.as_deref(), &mut request).await {
                        Ok(read) => reading = read,
                        Err(refusal) => return *refusal,
                    }
                }
                Err(refusal) => return *refusal,
            }
        }
        let response = forward::request(&destination, request, stream).await;
        match reading {
            Some(reading) => reading.of(response),
            None => response,
        }
    }

    /// Records a refusal, and tells of it.
    fn refused_by(&self, caller: &Caller, destination: &Destination, refusal: &Refusal) {
        tracing::info!(caller = caller.slug, %destination, "refused: {refusal}");
        self.meter.refused(refusal.kind());
        let now = jiff::Timestamp::now().as_millisecond();
        if let Some(denied) = self.refusals().add(&caller.session_id, destination, refusal, now) {
            // Where nobody listens, it is kept all the same.
            let _ = self.denials.send(denied);
        }
    }

    /// Serves the requests of a CONNECT to [`INTERNAL_HOST`], which come from programs that know of no proxy.
    async fn serve_internal(&self, caller: &Caller, guest: OnUpgrade) {
        let Ok(guest) = guest.await else { return };
        let service = service_fn(|request: Request<Incoming>| async {
            let response = match request.uri().authority() {
                None => self.internal(caller, HTTP, request).await,
                Some(_) => {
                    let text = format!("pilothouse: this connection is to {INTERNAL_HOST}, which is no proxy");
                    response::text(StatusCode::MISDIRECTED_REQUEST, &text)
                }
            };
            Ok::<_, Infallible>(response)
        });
        if let Err(error) = http1_server().serve_connection(guest, service).await {
            tracing::debug!(caller = caller.slug, %error, "a guest's connection ended");
        }
    }

    /// Answers a request to this port of [`INTERNAL_HOST`], which hostd itself serves.
    async fn internal(&self, caller: &Caller, port: u16, request: Request<Incoming>) -> Response<Body> {
        if request.method() == Method::CONNECT || port != HTTP {
            let text = format!("pilothouse: {INTERNAL_HOST} speaks plain HTTP on port 80; use http://{INTERNAL_HOST}/");
            return response::text(StatusCode::FORBIDDEN, &text);
        }
        self.meter.asked(Asked::Internal);
        if request.uri().path().starts_with("/git/") {
            return git::answer(self, caller, request).await;
        }
        match request.uri().path() {
            path if path.starts_with("/modules/") => self.modules.answer(path).await,
            "/" => response::text(StatusCode::OK, &help(&self.with_allowed(caller))),
            path => response::text(
                StatusCode::NOT_FOUND,
                &format!("pilothouse: there is no {path:?} here\n{}", help(&self.with_allowed(caller))),
            ),
        }
    }

    /// Waits for a permit for git; None: it did not come in time.
    async fn git_permit(&self, session: &str) -> Option<Permit> {
        let of_session = self.uses().get(session).map(|uses| uses.git_permits.clone())?;
        Permit::take(of_session, self.git_permits.clone(), self.permit_wait).await
    }

    /// Destinations that the session with this id was refused since hostd began, the last one first.
    #[must_use]
    pub fn refused(&self, session: &str) -> Vec<Refused> {
        self.refusals().of(session)
    }

    /// What sessions are refused from now on: each destination once for a session, and the first of them alone where there are many.
    #[must_use]
    pub fn denials(&self) -> broadcast::Receiver<Denied> {
        self.denials.subscribe()
    }

    /// Forgets what a session was refused, allowed and given that is gone.
    pub fn forget(&self, session: &str) {
        self.refusals().forget(session);
        self.allow(session, &[]);
        self.ledger.close(session);
        self.limits.close(session);
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<String, Uses>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folder of the hooks; they are written when the first push asks for it.
    async fn hooks(&self) -> std::io::Result<&PathBuf> {
        self.hooks.get_or_try_init(|| crate::forge::install(self.mirror.root())).await
    }
}

/// How HTTP is spoken with guests.
fn http1_server() -> http1::Builder {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(HEAD_BYTES);
    server
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
    let egress = list(caller.reach().map(|entry| entry.to.as_str()).collect());
    let credentials = list(caller.access.credentials.iter().map(String::as_str).collect());
    format!(
        "This is Pilothouse's gateway, for {}.\nRepository: {repository}\nMay also read: {also}\nMay push to: {push}\nMay reach: {egress}\nCredentials: {credentials}\n",
        caller.slug
    )
}

/// A place among the connections of a session and of the host; given back when dropped.
struct Place<'a> {
    _user: User<'a>,
    _of_session: OwnedSemaphorePermit,
    _of_host: OwnedSemaphorePermit,
}

impl<'a> Place<'a> {
    /// Waits for a place; None: it did not come in time.
    async fn take(gateway: &'a Gateway, session: &'a str) -> Option<Self> {
        let (user, connections) = User::new(gateway, session);
        let both = async {
            // In this order: who waits for its own does not hold one of the host's.
            let of_session = connections.acquire_owned().await.ok()?;
            let of_host = gateway.connections.clone().acquire_owned().await.ok()?;
            Some(Self { _user: user, _of_session: of_session, _of_host: of_host })
        };
        timeout(PLACE, both).await.ok().flatten()
    }
}

/// Use of the gateway by a session, which the gateway knows as long as there is one.
struct User<'a> {
    gateway: &'a Gateway,
    session: &'a str,
}

impl<'a> User<'a> {
    /// Notes a use by this session; returns it with the session's places for connections.
    fn new(gateway: &'a Gateway, session: &'a str) -> (Self, Arc<Semaphore>) {
        let mut all = gateway.uses();
        let uses = all.entry(session.to_owned()).or_insert_with(|| Uses {
            users: 0,
            connections: Arc::new(Semaphore::new(gateway.of_session)),
            git_permits: Arc::new(Semaphore::new(git_permits::OF_SESSION)),
        });
        uses.users += 1;
        (Self { gateway, session }, uses.connections.clone())
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        let mut all = self.gateway.uses();
        if let Some(uses) = all.get_mut(self.session) {
            uses.users -= 1;
            if uses.users == 0 {
                all.remove(self.session);
            }
        }
    }
}
