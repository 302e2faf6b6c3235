//! tonic services: convert, call, convert back. No rule lives here.

mod attach;
mod checks;
mod convert;
mod diff;
mod environments;
mod events;
mod exec;
mod git;
mod host;
mod listen;
mod log;
mod principal;
mod pulls;
mod repositories;
mod reviews;
mod sessions;
mod status;
mod streams;

#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc};

use pilothouse_proto::hostd::v1::{
    checks_server::ChecksServer, diffs_server::DiffsServer, environments_server::EnvironmentsServer,
    host_server::HostServer, repositories_server::RepositoriesServer, reviews_server::ReviewsServer,
    sessions_server::SessionsServer,
};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

use crate::{ci::Ci, forge::Keeper, sessions::Fleet};

pub use listen::{Listen, ListenError, Socket};
pub use principal::Principal;

/// HTTP/2 windows of a stream and of a connection, in bytes. Local sockets carry bulk (`exec`, logs) beside keystrokes.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// What every service works on.
#[derive(Clone)]
struct Api {
    fleet: Arc<Fleet>,
    ci: Arc<Ci>,
    /// The part of the built-in forge that people alone may use.
    keeper: Arc<dyn Keeper>,
    /// Cancelled when hostd stops: streams that would go on for ever end then.
    closing: CancellationToken,
}

/// Serves the API on these sockets until `closing` is cancelled and every call has ended.
///
/// # Errors
/// Where the server cannot run at all.
pub async fn serve(
    fleet: Arc<Fleet>,
    ci: Arc<Ci>,
    keeper: Arc<dyn Keeper>,
    sockets: Vec<Socket>,
    closing: CancellationToken,
) -> color_eyre::Result<()> {
    let api = Api { fleet, ci, keeper, closing: closing.clone() };
    let (health, reflection) = about().await?;
    let mut guards = Vec::with_capacity(sockets.len());
    let mut listeners = Vec::with_capacity(sockets.len());
    for Socket { listener, guard } in sockets {
        listeners.push(UnixListenerStream::new(listener));
        guards.push(guard);
    }
    let principals = principal::Allowed::of_this_process();
    Server::builder()
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .layer(tonic::service::InterceptorLayer::new(move |request| principals.check(request)))
        .add_service(SessionsServer::new(api.clone()))
        .add_service(EnvironmentsServer::new(api.clone()))
        .add_service(HostServer::new(api.clone()))
        .add_service(ReviewsServer::new(api.clone()))
        .add_service(ChecksServer::new(api.clone()))
        .add_service(DiffsServer::new(api.clone()))
        .add_service(RepositoriesServer::new(api))
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(futures::stream::select_all(listeners), closed(closing))
        .await?;
    drop(guards);
    Ok(())
}

/// The services that describe the API itself: that its services are there, and what they take.
async fn about() -> color_eyre::Result<(HealthServer<impl Health>, ServerReflectionServer<impl ServerReflection>)> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<SessionsServer<Api>>().await;
    health.set_serving::<EnvironmentsServer<Api>>().await;
    health.set_serving::<HostServer<Api>>().await;
    health.set_serving::<ReviewsServer<Api>>().await;
    health.set_serving::<ChecksServer<Api>>().await;
    health.set_serving::<RepositoriesServer<Api>>().await;
    health.set_serving::<DiffsServer<Api>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pilothouse_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Ok((health_service, reflection))
}

fn closed(closing: CancellationToken) -> impl Future<Output = ()> {
    closing.cancelled_owned()
}
