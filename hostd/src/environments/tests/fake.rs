//! A VMM whose guests are a few lines in this process: they shake hands and pretend to run commands.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use futures::{Stream, stream};
use hostd_core::{
    recipe::Cpu,
    session::{Cause, Size},
};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use pilothouse_proto::{
    greet::{greet, shake},
    guest::v1::{
        AnswerRequest, AnswerResponse, Event, EventsRequest, ExecRequest, ExecResponse, Exit, HandshakeRequest,
        HandshakeResponse, PowerOffRequest, PowerOffResponse, QuiesceRequest, QuiesceResponse, StartAgentRequest,
        StartAgentResponse, TerminalRequest, TerminalResponse, TypeRequest, TypeResponse, UsageRequest, UsageResponse,
        exec_request, exec_response,
        guest_server::{Guest, GuestServer},
    },
    link,
};
use tokio::{io::duplex, sync::watch};
use tonic::{Request, Response, Status, Streaming};

use crate::vm::{
    Io, Memory, MemoryUse, Port, Vm, VmError, VmSpec, Vmm, VmmInfo,
    snapshot::store::{Manifest, Stored},
};

/// What happened, for the tests to look at.
pub(crate) struct Fake {
    /// The VMs that it makes; None: none that could be snapshot.
    pub(crate) machine: Mutex<Option<String>>,
    /// Clones boot instead of going on.
    pub(crate) forgets: AtomicBool,
    pub(crate) commands: Arc<Mutex<Vec<String>>>,
    pub(crate) started: Mutex<Vec<VmSpec>>,
    pub(crate) leftovers: Mutex<Vec<PathBuf>>,
    pub(crate) vms: Mutex<Vec<watch::Sender<Option<Cause>>>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            machine: Mutex::new(Some("qemu".into())),
            forgets: AtomicBool::default(),
            commands: Arc::default(),
            started: Mutex::default(),
            leftovers: Mutex::default(),
            vms: Mutex::default(),
        }
    }
}

impl Fake {
    /// How many of its VMs run.
    pub(crate) fn running(&self) -> usize {
        self.vms.lock().unwrap().iter().filter(|ended| ended.borrow().is_none()).count()
    }

    fn run(&self, spec: VmSpec, boot_id: &str) -> Arc<dyn Vm> {
        let (ended, watched) = watch::channel(None);
        self.vms.lock().unwrap().push(ended.clone());
        self.started.lock().unwrap().push(spec);
        let guest = FakeGuest { ended: ended.clone(), commands: self.commands.clone(), boot_id: boot_id.into() };
        Arc::new(FakeVm { guest, ended, watched })
    }
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

    async fn merge(&self, _: &[PathBuf], _: usize, to: &Path, bytes: u64) -> Result<(), VmError> {
        self.create_disk(to, bytes).await
    }

    async fn start(&self, spec: VmSpec) -> Result<Arc<dyn Vm>, VmError> {
        Ok(self.run(spec, "first"))
    }

    async fn resume(&self, spec: VmSpec, snapshot: &Path) -> Result<Arc<dyn Vm>, VmError> {
        assert_eq!(spec.memory, Memory::Clone(snapshot.into()));
        Manifest::read(snapshot)?;
        Ok(self.run(spec, if self.forgets.load(Relaxed) { "second" } else { "first" }))
    }

    async fn fingerprint(&self, _size: Size, _cpu: Cpu) -> Result<Option<String>, VmError> {
        Ok(self.machine.lock().unwrap().clone())
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
        let (host, guest) = duplex(1 << 16);
        let fake = self.guest.clone();
        if port == Port::Tunnel {
            return Err(io::ErrorKind::NotConnected.into());
        }
        tokio::spawn(async move {
            let mut guest = greet(guest).await.unwrap();
            assert!(shake(&mut guest, &fake).await.unwrap());
            let server = http2::Builder::new(TokioExecutor::new());
            let service = TowerToHyperService::new(GuestServer::new(fake));
            server.serve_connection(TokioIo::new(guest), service).await
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

    async fn snapshot(&self, folder: &Path) -> Result<Manifest, VmError> {
        let beside = folder.with_extension("new");
        std::fs::create_dir(&beside).unwrap();
        for name in ["ram", "devices"] {
            std::fs::write(beside.join(name), name).unwrap();
        }
        let (ram, devices) = (Stored::stamped(&beside, "ram")?, Stored::of(&beside, "devices")?);
        let requirements = serde_json::json!({"accelerator": "", "qemu": "", "qemu_version": "", "kernel": "",
            "initramfs": "", "template": ram.hash, "arguments": [], "tsc_khz": null, "cpu": null});
        let manifest =
            Manifest::new(0, serde_json::from_value(requirements).unwrap(), 3, "disk.qcow2".into(), ram, devices);
        manifest.publish(&beside, folder)?;
        Ok(manifest)
    }

    async fn go_on(&self) -> Result<(), VmError> {
        Ok(())
    }

    fn memory(&self) -> MemoryUse {
        MemoryUse::default()
    }
    fn memory_part(&self) -> MemoryUse {
        MemoryUse::default()
    }
    async fn pivot(&self, _: &Path) -> Result<(), VmError> {
        Err(VmError::Kernel("a test".into()))
    }
    async fn rebase(&self, _: usize, _: &Path) -> Result<(), VmError> {
        Err(VmError::Kernel("a test".into()))
    }
}

#[derive(Clone)]
struct FakeGuest {
    ended: watch::Sender<Option<Cause>>,
    commands: Arc<Mutex<Vec<String>>>,
    boot_id: String,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Guest for FakeGuest {
    type TerminalStream = Responses<TerminalResponse>;
    type ExecStream = Responses<ExecResponse>;
    type EventsStream = Responses<Event>;
    type TypeStream = Responses<TypeResponse>;

    async fn handshake(&self, _: Request<HandshakeRequest>) -> Result<Response<HandshakeResponse>, Status> {
        let boot_id = self.boot_id.clone();
        Ok(Response::new(HandshakeResponse { protocol: link::PROTOCOL, boot_id, ..HandshakeResponse::default() }))
    }

    /// The last word of the command decides: fail, die, die-once, hang, flood.
    async fn exec(&self, requests: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        let Some(exec_request::Request::Start(start)) = requests.into_inner().message().await?.unwrap().request else {
            return Err(Status::invalid_argument("start first"));
        };
        let command = start.command.join(" ");
        let who = if matches!(start.user.as_str(), "" | "root") { String::new() } else { format!("{}@", start.user) };
        let line = format!("{who}{}: {command}", start.directory);
        let first = !self.commands.lock().unwrap().contains(&line);
        self.commands.lock().unwrap().push(line);
        let code = match command.rsplit(' ').next() {
            Some("fail") => 3,
            Some("flood") => return Ok(Response::new(flood())),
            Some(word) if word == "die" || (word == "die-once" && first) => {
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

    async fn usage(&self, _: Request<UsageRequest>) -> Result<Response<UsageResponse>, Status> {
        Err(Status::unimplemented("usage"))
    }

    async fn answer(&self, _: Request<AnswerRequest>) -> Result<Response<AnswerResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn r#type(&self, _: Request<TypeRequest>) -> Result<Response<Self::TypeStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn power_off(&self, _: Request<PowerOffRequest>) -> Result<Response<PowerOffResponse>, Status> {
        self.ended.send_replace(Some(Cause::PoweredOff));
        Ok(Response::new(PowerOffResponse {}))
    }

    async fn start_agent(&self, _: Request<StartAgentRequest>) -> Result<Response<StartAgentResponse>, Status> {
        Ok(Response::new(StartAgentResponse::default()))
    }

    async fn terminal(&self, _: Request<Streaming<TerminalRequest>>) -> Result<Response<Self::TerminalStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn events(&self, _: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// 64 MiB and a last line.
fn flood() -> Responses<ExecResponse> {
    let piece = bytes::Bytes::from(vec![b'x'; 32 << 10]);
    let pieces = std::iter::repeat_n(piece, 2048).chain([b"\nthe end\n".as_slice().into()]);
    let pieces = pieces.map(exec_response::Response::Stdout);
    let exit = exec_response::Response::Exit(Exit { code: 0, signal: 0 });
    Box::pin(stream::iter(pieces.chain([exit]).map(|response| Ok(ExecResponse { response: Some(response) }))))
}
