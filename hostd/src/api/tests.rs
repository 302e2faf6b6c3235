//! What the API says of itself, over a real socket, and whom it lets in.

use std::path::Path;

use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, task::JoinHandle};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::*;

const SERVICES: [&str; 9] =
    ["Checks", "Credentials", "Diffs", "Environments", "Host", "Repositories", "Reviews", "Sessions", "Spending"];

/// Serves what is said of the API to these users.
async fn served(path: &Path, users: principal::Allowed) -> (Channel, JoinHandle<()>) {
    let (health, reflection) = about().await.unwrap();
    let Socket { listener, guard } = Socket::open(path).unwrap();
    let server = tokio::spawn(async move {
        let _guard = guard;
        Server::builder()
            .layer(tonic::service::InterceptorLayer::new(move |request| users.check(request)))
            .add_service(health)
            .add_service(reflection)
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await
            .unwrap();
    });
    let path = path.to_owned();
    let connect = tower::service_fn(move |_| {
        let path = path.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    (Endpoint::from_static("http://hostd").connect_with_connector(connect).await.unwrap(), server)
}

#[tokio::test]
async fn it_serves_and_says_what() {
    let folder = tempfile::tempdir().unwrap();
    let (channel, server) = served(&folder.path().join("a.sock"), principal::Allowed::of_this_process()).await;
    let mut health = HealthClient::new(channel.clone());
    for service in SERVICES.iter().map(|name| format!("hostd.v1.{name}")).chain([String::new()]) {
        let answer = health.check(HealthCheckRequest { service: service.clone() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(list)).await.unwrap();
    let answer = answers.into_inner().next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().filter_map(|service| service.name.strip_prefix("hostd.v1.")).collect();
    let missing: Vec<_> = SERVICES.iter().filter(|name| !names.contains(name)).collect();
    assert!(missing.is_empty() && names.len() == SERVICES.len(), "{names:?}");
    server.abort();
}

#[tokio::test]
async fn another_user_gets_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (channel, server) = served(&folder.path().join("a.sock"), principal::Allowed::nobody_here()).await;
    let refused = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("only the user that hostd runs as"));
    server.abort();
}
