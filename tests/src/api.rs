//! `hostd.v1` without a program between: attached terminals, byte for byte.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use pilothouse_proto::hostd::v1::{
    AttachOpen, AttachRequest, AttachResponse, Role, Screen, Size, attach_request, attach_response,
    sessions_client::SessionsClient,
};
use tokio::{net::UnixStream, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint, Uri},
};

use crate::{Host, wait::SOON};

/// Connects to the API of a host.
pub async fn connect(host: &Host) -> Channel {
    let socket = host.socket();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    Endpoint::from_static("http://pilothouse.invalid").connect_with_connector(connector).await.unwrap()
}

/// An attached terminal of a session.
pub struct Attached {
    requests: mpsc::Sender<AttachRequest>,
    responses: Streaming<AttachResponse>,
    /// The screen that came when the terminal was attached.
    pub screen: Screen,
    /// Output that came since the screen.
    pub output: Vec<u8>,
    /// The last role that was told: whether this client writes.
    pub role: Option<Role>,
}

impl Attached {
    /// Attaches to a session with a window of 80 by 24.
    pub async fn open(host: &Host, id: &str, observe: bool) -> Self {
        let (requests, queue) = mpsc::channel(64);
        let size = Some(Size { columns: 80, rows: 24 });
        let open = AttachOpen { id: id.into(), observe, size, scrollback: 0, preview: false, answers: false };
        requests.send(request(attach_request::Request::Open(open))).await.unwrap();
        let mut client = SessionsClient::new(connect(host).await);
        let mut responses = client.attach(ReceiverStream::new(queue)).await.unwrap().into_inner();
        let first = timeout(SOON, responses.message()).await.unwrap().unwrap().unwrap().response;
        let Some(attach_response::Response::Screen(screen)) = first else { panic!("not a screen first: {first:?}") };
        Self { requests, responses, screen, output: Vec::new(), role: None }
    }

    /// Types these bytes.
    pub async fn send(&self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.requests.send(request(attach_request::Request::Input(bytes.into()))).await.unwrap();
    }

    /// Asks to become the writer.
    pub async fn take(&self) {
        self.requests.send(request(attach_request::Request::Take(true))).await.unwrap();
    }

    /// Reads until the output contains `text`. Panics after a minute.
    pub async fn read_until(&mut self, text: &str) {
        let shown = self.shows(text, SOON).await;
        assert!(shown, "no {text:?} in {:?}", String::from_utf8_lossy(&self.output));
    }

    /// Reads until the output contains `text`, no longer than `within`; returns whether it does.
    pub async fn shows(&mut self, text: &str, within: Duration) -> bool {
        let wanted = text.as_bytes();
        let read = async {
            while !self.output.windows(wanted.len()).any(|window| window == wanted) {
                self.step().await;
            }
        };
        timeout(within, read).await.is_ok()
    }

    /// Reads until told of a role that `wanted` accepts. Panics after a minute.
    pub async fn read_role(&mut self, wanted: impl Fn(&Role) -> bool) {
        let read = async {
            while !self.role.as_ref().is_some_and(&wanted) {
                self.step().await;
            }
        };
        assert!(timeout(SOON, read).await.is_ok(), "the role stays {:?}", self.role);
    }

    async fn step(&mut self) {
        let response = self.responses.message().await.unwrap().expect("the terminal goes on");
        match response.response.unwrap() {
            attach_response::Response::Screen(screen) => self.screen = screen,
            attach_response::Response::Output(bytes) => self.output.extend_from_slice(&bytes),
            attach_response::Response::Role(role) => self.role = Some(role),
            attach_response::Response::Ended(ended) => panic!("the terminal ended: {}", ended.reason),
        }
    }
}

fn request(request: attach_request::Request) -> AttachRequest {
    AttachRequest { request: Some(request) }
}
