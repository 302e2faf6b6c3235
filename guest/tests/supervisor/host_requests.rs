//! What `session pr open` asks of the host, over connections that break.

use std::{
    path::PathBuf,
    process::Output,
    sync::{Arc, Mutex},
};

use guest::{events::Events, session_socket, tunnel, waits::Waits};
use hyper_util::{rt::TokioExecutor, rt::TokioIo, service::TowerToHyperService};
use pilothouse_proto::guest::v1::{
    AskRequest, AskResponse, PullOpened, TunnelFrame, ask_request,
    ask_response::Answer,
    gateway_server::{Gateway, GatewayServer},
};
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};
use tonic::{Request, Response, Status, Streaming};

use crate::support::{Connections, eventually, greet};

/// A host that hears questions, and answers them unless it is silent.
#[derive(Clone, Default)]
struct Host {
    heard: Arc<Mutex<Vec<AskRequest>>>,
    silent: bool,
}

#[tonic::async_trait]
impl Gateway for Host {
    type TunnelStream = tokio_stream::Pending<Result<TunnelFrame, Status>>;

    async fn tunnel(&self, _: Request<Streaming<TunnelFrame>>) -> Result<Response<Self::TunnelStream>, Status> {
        Err(Status::unimplemented("no tunnel here"))
    }

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        let request = request.into_inner();
        self.heard.lock().unwrap().push(request.clone());
        if self.silent {
            std::future::pending::<()>().await;
        }
        let Some(ask_request::Request::OpenPull(open)) = request.request else {
            return Err(Status::unimplemented("what?"));
        };
        if open.branch == "none" {
            return Err(Status::failed_precondition("nothing was pushed"));
        }
        let (repository, branch, base) = ("widgets".into(), format!("agent/x/{}", open.branch), "main".into());
        let pull = PullOpened { repository, number: 12, branch, base, revision: 1 };
        Ok(Response::new(AskResponse { answer: Some(Answer::PullOpened(pull)) }))
    }
}

struct World {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    wires: mpsc::Sender<DuplexStream>,
    heard: Arc<Mutex<Vec<AskRequest>>>,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("session.sock");
        let (wires, connections) = mpsc::channel(4);
        let gateway = tunnel::Gateway::default();
        tokio::spawn(tunnel::keep(Connections(connections), gateway.clone()));
        let (path, events) = (socket.clone(), Events::default());
        tokio::spawn(async move { session_socket::run(&path, events.clone(), Waits::new(events), gateway).await });
        eventually("the socket is there", || socket.exists()).await;
        Self { _folder: folder, socket, wires, heard: Arc::default() }
    }

    /// A connection of the host; it ends with what is returned.
    async fn connect(&self, silent: bool) -> tokio::task::JoinHandle<()> {
        let (mut near, far) = duplex(64 << 10);
        self.wires.send(far).await.unwrap();
        greet(&mut near, [7; 16]).await;
        let host = Host { heard: self.heard.clone(), silent };
        tokio::spawn(async move {
            let service = TowerToHyperService::new(GatewayServer::new(host));
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = http.serve_connection(TokioIo::new(near), service).await;
        })
    }

    fn session(&self, arguments: &[&str]) -> tokio::task::JoinHandle<Output> {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pilothouse-guest"));
        command.args(arguments).env("PILOTHOUSE_SOCKET", &self.socket).kill_on_drop(true);
        tokio::spawn(async move { command.output().await.unwrap() })
    }

    fn heard(&self) -> Vec<AskRequest> {
        self.heard.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_question_outlives_the_connection() {
    let world = World::new().await;
    let asked = world.session(&["pr", "open", "--title", "Fix it", "--branch", "work"]);
    for times in 1..=2 {
        let connection = world.connect(true).await;
        eventually("it is asked", || world.heard().len() == times).await;
        connection.abort();
    }
    let _connection = world.connect(false).await;
    let output = asked.await.unwrap();
    assert_eq!((output.status.code(), &output.stdout[..], &output.stderr[..]), (Some(0), &b"12\n"[..], &b""[..]));
    let heard = world.heard();
    assert!(heard.len() == 3 && heard.iter().all(|request| *request == heard[0] && !request.id.is_empty()));
}

#[tokio::test]
async fn answers_and_refusals_are_passed_on() {
    let world = World::new().await;
    let _connection = world.connect(false).await;
    let output = world.session(&["pr", "open", "--title", "x", "--branch", "a", "--json"]).await.unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["number"], &told["branch"]), (&12.into(), &"agent/x/a".into()));
    let output = world.session(&["pr", "open", "--title", "x", "--branch", "none"]).await.unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(1), &b"session: nothing was pushed\n"[..]));
    for wrong in [&["pr", "open"][..], &["pr", "open", "--title", " "], &["pr", "open", "--title", &"x".repeat(300)]] {
        assert_eq!(world.session(wrong).await.unwrap().status.code(), Some(2));
    }
    assert_eq!(world.heard().len(), 2);
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_is_dropped() {
    let world = World::new().await;
    // More than may wait at a time.
    for _ in 0..20 {
        let asked = world.session(&["pr", "open", "--title", "x"]);
        let connection = world.connect(true).await;
        let before = world.heard().len();
        eventually("it is asked", || world.heard().len() > before).await;
        asked.abort();
        connection.abort();
    }
    let _connection = world.connect(false).await;
    assert_eq!(world.session(&["pr", "open", "--title", "x"]).await.unwrap().status.code(), Some(0));
}
