//! tonic services: convert, call, convert back. No rule lives here.

mod agents;
mod attach;
mod bundle;
mod checks;
mod convert;
mod credentials;
mod diff;
mod environments;
mod events;
mod exec;
mod forward;
mod git;
mod host;
mod listen;
mod log;
mod principal;
mod pulls;
mod repositories;
mod reviews;
mod sessions;
mod spending;
mod status;
mod streams;

#[cfg(test)]
mod tests;

use std::{future::Future, ops::Deref, sync::Arc, time::Duration};

use pilothouse_proto::hostd::v1::{
    checks_server::ChecksServer, credentials_server::CredentialsServer, diffs_server::DiffsServer,
    environments_server::EnvironmentsServer, host_server::HostServer, repositories_server::RepositoriesServer,
    reviews_server::ReviewsServer, sessions_server::SessionsServer, spending_server::SpendingServer,
};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

use crate::{
    ci::Ci,
    credentials::Credentials,
    diff::Diffs,
    environments::Environments,
    forge::{Forge, Keeper},
    gateway::Gateway,
    sessions::Fleet,
    spending::PriceTable,
    store::Store,
};

pub use listen::{Listen, ListenError, Socket};
pub use principal::{Peer, Principal};

/// HTTP/2 windows of a stream and of a connection, in bytes. Local sockets carry bulk (`exec`, logs) beside keystrokes.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// What the API serves.
#[derive(Clone)]
pub struct Deps {
    /// The sessions.
    pub fleet: Arc<Fleet>,
    /// The environments that sessions are made from.
    pub environments: Arc<Environments>,
    /// The forge that repositories and pull requests are on.
    pub forge: Arc<dyn Forge>,
    /// The part of the built-in forge that people alone may use.
    pub keeper: Arc<dyn Keeper>,
    /// What runs the checks of environments.
    pub ci: Arc<Ci>,
    /// What makes differences between revisions.
    pub diffs: Arc<Diffs>,
    /// The credentials of this host.
    pub credentials: Arc<Credentials>,
    /// What puts them into requests.
    pub gateway: Arc<Gateway>,
    /// What is kept of models' answers.
    pub store: Store,
    /// Prices of models.
    pub prices: Arc<PriceTable>,
}

/// After how much silence a client is asked whether it is there, and how long it may take to say so: one whose machine is gone holds
/// terminals and commands until then, and one that a person has stopped for a while is still there after it.
const PEER_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15 * 60));

/// What every service works on.
#[derive(Clone)]
struct Api {
    deps: Deps,
    /// Cancelled when hostd stops: streams that would go on for ever end then.
    closing: CancellationToken,
}

impl Deref for Api {
    type Target = Deps;

    fn deref(&self) -> &Deps {
        &self.deps
    }
}

/// Serves the API on these sockets until `closing` is cancelled and every call has ended.
///
/// # Errors
/// Where the server cannot run at all.
pub async fn serve(deps: Deps, sockets: Vec<Socket>, closing: CancellationToken) -> eyre::Result<()> {
    let api = Api { deps, closing: closing.clone() };
    let (health, reflection) = about().await?;
    let mut guards = Vec::with_capacity(sockets.len());
    let mut listeners = Vec::with_capacity(sockets.len());
    for Socket { listener, guard } in sockets {
        listeners.push(UnixListenerStream::new(listener));
        guards.push(guard);
    }
    let principals = tokio::task::spawn_blocking(principal::Allowed::of_this_process).await?;
    Server::builder()
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .http2_keepalive_interval(Some(PEER_ALIVE.0))
        .http2_keepalive_timeout(Some(PEER_ALIVE.1))
        .layer(tonic::service::InterceptorLayer::new(move |request| principals.check(request)))
        .add_service(SessionsServer::new(api.clone()))
        .add_service(EnvironmentsServer::new(api.clone()))
        .add_service(HostServer::new(api.clone()))
        .add_service(ReviewsServer::new(api.clone()))
        .add_service(ChecksServer::new(api.clone()))
        .add_service(DiffsServer::new(api.clone()))
        .add_service(CredentialsServer::new(api.clone()))
        .add_service(SpendingServer::new(api.clone()))
        .add_service(RepositoriesServer::new(api))
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(futures::stream::select_all(listeners), closed(closing))
        .await?;
    drop(guards);
    Ok(())
}

/// The services that describe the API itself: that its services are there, and what they take.
async fn about() -> eyre::Result<(HealthServer<impl Health>, ServerReflectionServer<impl ServerReflection>)> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<SessionsServer<Api>>().await;
    health.set_serving::<EnvironmentsServer<Api>>().await;
    health.set_serving::<HostServer<Api>>().await;
    health.set_serving::<ReviewsServer<Api>>().await;
    health.set_serving::<ChecksServer<Api>>().await;
    health.set_serving::<RepositoriesServer<Api>>().await;
    health.set_serving::<DiffsServer<Api>>().await;
    health.set_serving::<CredentialsServer<Api>>().await;
    health.set_serving::<SpendingServer<Api>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pilothouse_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Ok((health_service, reflection))
}

fn closed(closing: CancellationToken) -> impl Future<Output = ()> {
    closing.cancelled_owned()
}
