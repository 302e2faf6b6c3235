//! A VMM whose guests are a few lines in this process: they shake hands and pretend to run commands.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::{Stream, stream};
use hostd_core::session::Cause;
use pilothouse_proto::{
    guest::v1::{
        Event, EventsRequest, ExecRequest, ExecResponse, Exit, HandshakeRequest, HandshakeResponse, PowerOffRequest,
        PowerOffResponse, QuiesceRequest, QuiesceResponse, StartAgentRequest, StartAgentResponse, TerminalRequest,
        TerminalResponse, exec_request, exec_response,
        guest_server::{Guest, GuestServer},
    },
    link,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    sync::watch,
};
use tonic::{Request, Response, Status, Streaming};

use crate::vm::{Io, Port, Vm, VmError, VmSpec, Vmm, VmmInfo, snapshot::store::Manifest};

/// What happened, for the tests to look at.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) commands: Arc<Mutex<Vec<String>>>,
    pub(super) started: Mutex<Vec<VmSpec>>,
    pub(super) leftovers: Mutex<Vec<PathBuf>>,
    pub(super) running: Mutex<Option<watch::Sender<Option<Cause>>>>,
}

#[async_trait]
impl Vmm for Fake {
    fn info(&self) -> VmmInfo {
        VmmInfo::default()
    }

    async fn prepare(&self, progress: &(dyn Fn(String) + Send + Sync)) -> Result<(), VmError> {
        progress("prepared".into());
        Ok(())
    }

    async fn create_disk(&self, disk: &Path, _bytes: u64) -> Result<(), VmError> {
        std::fs::write(disk, "disk").unwrap();
        Ok(())
    }

    async fn start(&self, spec: VmSpec) -> Result<Arc<dyn Vm>, VmError> {
        let (ended, watched) = watch::channel(None);
        *self.running.lock().unwrap() = Some(ended.clone());
        self.started.lock().unwrap().push(spec);
        let guest = FakeGuest { ended: ended.clone(), commands: self.commands.clone() };
        Ok(Arc::new(FakeVm { guest, ended, watched }))
    }

    async fn resume(&self, _spec: VmSpec, _snapshot: &Path) -> Result<Arc<dyn Vm>, VmError> {
        Err(VmError::Kernel("not in this test".into()))
    }

    async fn end_leftover(&self, directory: &Path) -> Result<bool, VmError> {
        self.leftovers.lock().unwrap().push(directory.into());
        Ok(true)
    }
}

struct FakeVm {
    guest: FakeGuest,
    ended: watch::Sender<Option<Cause>>,
    watched: watch::Receiver<Option<Cause>>,
}

#[async_trait]
impl Vm for FakeVm {
    async fn connect(&self, port: Port) -> io::Result<Box<dyn Io>> {
        let (host, mut guest) = duplex(1 << 16);
        let service = GuestServer::new(self.guest.clone());
        if port == Port::Tunnel {
            return Err(io::ErrorKind::NotConnected.into());
        }
        tokio::spawn(async move {
            let mut preamble = link::preamble([0; link::NONCE]);
            guest.read_exact(&mut preamble).await.unwrap();
            guest.write_all(&preamble).await.unwrap();
            let incoming = stream::iter([Ok::<_, io::Error>(guest)]);
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        Ok(Box::new(host))
    }

    async fn ended(&self) -> Cause {
        self.watched.clone().wait_for(Option::is_some).await.unwrap().clone().unwrap()
    }

    async fn end(&self) {
        self.ended.send_if_modified(|cause| cause.replace(Cause::VmDied("ended".into())).is_none());
    }

    async fn serial(&self) -> Vec<u8> {
        b"kernel: last words\n".to_vec()
    }

    async fn snapshot(&self, _folder: &Path) -> Result<Manifest, VmError> {
        Err(VmError::Kernel("not in this test".into()))
    }

    async fn go_on(&self) -> Result<(), VmError> {
        Ok(())
    }

    fn resident(&self) -> u64 {
        0
    }
}

#[derive(Clone)]
struct FakeGuest {
    ended: watch::Sender<Option<Cause>>,
    commands: Arc<Mutex<Vec<String>>>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Guest for FakeGuest {
    type TerminalStream = Responses<TerminalResponse>;
    type ExecStream = Responses<ExecResponse>;
    type EventsStream = Responses<Event>;

    async fn handshake(&self, _: Request<HandshakeRequest>) -> Result<Response<HandshakeResponse>, Status> {
        Ok(Response::new(HandshakeResponse { protocol: link::PROTOCOL, ..HandshakeResponse::default() }))
    }

    /// The last word of the command decides: fail, die, hang.
    async fn exec(&self, requests: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        let Some(exec_request::Request::Start(start)) = requests.into_inner().message().await?.unwrap().request else {
            return Err(Status::invalid_argument("start first"));
        };
        let command = start.command.join(" ");
        self.commands.lock().unwrap().push(format!("{}: {command}", start.directory));
        let code = match command.rsplit(' ').next() {
            Some("fail") => 3,
            Some("die") => {
                self.ended.send_replace(Some(Cause::GuestReset("panic".into())));
                return std::future::pending().await;
            }
            Some("hang") => return std::future::pending().await,
            _ => 0,
        };
        let said = exec_response::Response::Stderr(format!("ran {command}").into_bytes().into());
        let exit = exec_response::Response::Exit(Exit { code, signal: 0 });
        let responses = [said, exit].map(|response| Ok(ExecResponse { response: Some(response) }));
        Ok(Response::new(Box::pin(stream::iter(responses))))
    }

    async fn quiesce(&self, _: Request<QuiesceRequest>) -> Result<Response<QuiesceResponse>, Status> {
        Ok(Response::new(QuiesceResponse::default()))
    }

    async fn power_off(&self, _: Request<PowerOffRequest>) -> Result<Response<PowerOffResponse>, Status> {
        self.ended.send_replace(Some(Cause::PoweredOff));
        Ok(Response::new(PowerOffResponse {}))
    }

    async fn start_agent(&self, _: Request<StartAgentRequest>) -> Result<Response<StartAgentResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn terminal(&self, _: Request<Streaming<TerminalRequest>>) -> Result<Response<Self::TerminalStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn events(&self, _: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        Err(Status::unimplemented(""))
    }
}
