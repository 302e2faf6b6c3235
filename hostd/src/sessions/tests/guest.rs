//! A guest of memory: an agent that writes what it is given, reports what a test says, and ends when told.

use std::{
    collections::HashMap,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use hostd_core::Cause;
use pilothouse_proto::guest::v1::{
    self as wire, AnswerRequest, AnswerResponse, BootStep, Event, EventsRequest, ExecRequest, ExecResponse,
    HandshakeRequest, HandshakeResponse, PowerOffRequest, PowerOffResponse, QuiesceRequest, QuiesceResponse,
    StartAgentRequest, StartAgentResponse, TerminalRequest, TerminalResponse, TypeRequest, TypeResponse, UsageRequest,
    UsageResponse, event, exec_request, exec_response, guest_server, terminal_request::Request as Part,
};
use tokio::sync::{Semaphore, watch};
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Programs that run in guests.
pub(in crate::sessions) struct Execs {
    /// Where the working tree of all of them is.
    pub(in crate::sessions) work: Mutex<PathBuf>,
    /// Told when one begins, which goes no further while this is locked.
    pub(in crate::sessions) began: Semaphore,
    pub(in crate::sessions) hold: tokio::sync::Mutex<()>,
}

impl Default for Execs {
    fn default() -> Self {
        Self { work: Mutex::default(), began: Semaphore::new(0), hold: tokio::sync::Mutex::default() }
    }
}

#[derive(Clone)]
pub(in crate::sessions) struct Guest {
    /// Set when its VM is gone.
    pub(in crate::sessions) ended: watch::Sender<Option<Cause>>,
    /// What hostd asked for.
    pub(in crate::sessions) agent: Arc<Mutex<Option<StartAgentRequest>>>,
    /// What becomes of the next starts of the agent, where that is not that it starts.
    pub(in crate::sessions) no_agent: Arc<Mutex<Vec<Code>>>,
    output: watch::Sender<(Vec<u8>, bool)>,
    events: watch::Sender<Vec<Event>>,
    /// Events of its life before this one, which memory would keep.
    before: Arc<AtomicU64>,
    /// Every acknowledgement that came.
    pub(in crate::sessions) acknowledged: Arc<Mutex<Vec<u64>>>,
    /// Of the last message that was typed.
    pub(in crate::sessions) typed: Arc<Mutex<u64>>,
    /// Whether the agent reads what is typed.
    pub(in crate::sessions) reads: Arc<AtomicBool>,
    /// Every answer that came.
    pub(in crate::sessions) answers: Arc<Mutex<Vec<AnswerRequest>>>,
    /// Its user processes are.
    pub(in crate::sessions) frozen: Arc<AtomicBool>,
    pub(in crate::sessions) execs: Arc<Execs>,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            ended: watch::channel(None).0,
            agent: Arc::default(),
            no_agent: Arc::default(),
            output: watch::channel((b"ready\r\n".to_vec(), false)).0,
            events: watch::channel(vec![]).0,
            before: Arc::default(),
            acknowledged: Arc::default(),
            answers: Arc::default(),
            typed: Arc::default(),
            reads: Arc::new(AtomicBool::new(true)),
            frozen: Arc::default(),
            execs: Arc::default(),
        }
    }
}

impl Guest {
    /// One that answers so to the next starts of its agent.
    pub(in crate::sessions) fn failing(no_agent: Arc<Mutex<Vec<Code>>>) -> Self {
        Self { no_agent, ..Self::default() }
    }

    /// The same, in a VM of its own.
    pub(in crate::sessions) fn again(&self) -> Self {
        Self { ended: watch::channel(None).0, ..self.clone() }
    }

    /// As one that was resumed: it has shown so much already.
    pub(in crate::sessions) fn with_output(output: Vec<u8>) -> Self {
        Self { output: watch::channel((output, false)).0, ..Self::default() }
    }

    pub(in crate::sessions) fn output(&self) -> Vec<u8> {
        self.output.borrow().0.clone()
    }

    pub(in crate::sessions) fn write(&self, bytes: &[u8]) {
        self.output.send_modify(|output| output.0.extend_from_slice(bytes));
    }

    pub(in crate::sessions) fn report(&self, event: event::Event) {
        self.events.send_modify(|events| {
            let sequence = self.before.load(Ordering::Relaxed) + events.len() as u64 + 1;
            events.push(Event { sequence, unix_nanos: 0, event: Some(event) });
        });
    }

    pub(in crate::sessions) fn status(&self, activity: &str, text: &str) {
        let status = wire::Status { activity: activity.into(), text: text.into(), choices: vec![] };
        self.report(event::Event::Status(status));
    }

    pub(in crate::sessions) fn exit(&self, code: i32) {
        self.report(event::Event::AgentExited(wire::Exit { code, signal: 0 }));
        self.output.send_modify(|output| output.1 = true);
    }

    pub(in crate::sessions) fn environment(&self) -> HashMap<String, String> {
        self.agent.lock().unwrap().as_ref().unwrap().environment.clone()
    }
}

#[async_trait]
impl guest_server::Guest for Guest {
    type TerminalStream = Answers<TerminalResponse>;
    type ExecStream = Answers<ExecResponse>;
    type EventsStream = Answers<Event>;
    type TypeStream = Answers<TypeResponse>;

    async fn handshake(&self, request: Request<HandshakeRequest>) -> Result<Response<HandshakeResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.machine_id.len(), 32);
        self.frozen.fetch_and(request.stay_frozen, Ordering::Relaxed);
        let boot = vec![BootStep { name: "kernel".into(), uptime_micros: 1 }];
        Ok(Response::new(HandshakeResponse { protocol: 1, boot, ..HandshakeResponse::default() }))
    }

    async fn start_agent(&self, request: Request<StartAgentRequest>) -> Result<Response<StartAgentResponse>, Status> {
        let no_agent = self.no_agent.lock().unwrap().pop();
        if no_agent == Some(Code::DeadlineExceeded) {
            std::future::pending::<()>().await;
        }
        if let Some(code) = no_agent {
            return Err(Status::new(code, "as the test wants it"));
        }
        *self.agent.lock().unwrap() = Some(request.into_inner());
        Ok(Response::new(StartAgentResponse::default()))
    }

    async fn terminal(
        &self,
        request: Request<Streaming<TerminalRequest>>,
    ) -> Result<Response<Self::TerminalStream>, Status> {
        let mut requests = request.into_inner();
        let Some(Part::Open(open)) = requests.message().await?.unwrap().request else { panic!("not opened") };
        let guest = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(TerminalRequest { request })) = requests.message().await {
                if let Some(Part::Input(bytes)) = request {
                    guest.write(&bytes);
                }
            }
        });
        let output = self.output.subscribe();
        let answers = stream::unfold((output, open.offset, false), |(mut output, offset, over)| async move {
            if over {
                return None;
            }
            let from = usize::try_from(offset).unwrap();
            let (bytes, end) = output.wait_for(|(bytes, end)| bytes.len() > from || *end).await.ok()?.clone();
            let piece = Bytes::copy_from_slice(&bytes[from..]);
            let answer = TerminalResponse { offset, output: piece, end };
            Some((Ok(answer), (output, bytes.len() as u64, end)))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    /// An agent that echoes what it reads, at once, or, where it reads nothing, never says so.
    async fn r#type(&self, request: Request<TypeRequest>) -> Result<Response<Self::TypeStream>, Status> {
        let request = request.into_inner();
        let mut last = self.typed.lock().unwrap();
        if request.id > *last {
            *last = request.id;
            self.write(&request.pieces.concat());
        }
        let has = stream::iter([Ok(TypeResponse { read: false })]);
        let read = stream::once(async { Ok(TypeResponse { read: true }) });
        let reads = self.reads.load(Ordering::Relaxed);
        Ok(Response::new(if reads { has.chain(read).boxed() } else { has.chain(stream::pending()).boxed() }))
    }

    /// Runs it here, in the working tree of all guests.
    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        let request = request.into_inner().message().await?.and_then(|message| message.request);
        let Some(exec_request::Request::Start(start)) = request else { panic!("not started") };
        if self.frozen.load(Ordering::Relaxed) != start.beside_frozen {
            return Err(Status::unavailable("frozen, or not"));
        }
        self.execs.began.add_permits(1);
        drop(self.execs.hold.lock().await);
        let work = self.execs.work.lock().unwrap().to_str().unwrap().to_owned();
        let words = start.command.iter().map(|word| if word == "/work" { &work } else { word });
        let output = tokio::process::Command::new("env").args(words).output().await.unwrap();
        let pieces = output.stdout.chunks(64 << 10).map(|piece| exec_response::Response::Stdout(piece.to_vec().into()));
        let exit = wire::Exit { code: output.status.code().unwrap(), signal: 0 };
        let last = [exec_response::Response::Stderr(output.stderr.into()), exec_response::Response::Exit(exit)];
        let answers: Vec<_> = pieces.chain(last).map(|part| Ok(ExecResponse { response: Some(part) })).collect();
        Ok(Response::new(Box::pin(stream::iter(answers))))
    }

    async fn quiesce(&self, request: Request<QuiesceRequest>) -> Result<Response<QuiesceResponse>, Status> {
        self.frozen.store(request.into_inner().freeze, Ordering::Relaxed);
        Ok(Response::new(QuiesceResponse::default()))
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let after = request.into_inner().after;
        if self.acknowledged.lock().unwrap().is_empty() {
            self.before.store(after, Ordering::Relaxed);
        }
        self.acknowledged.lock().unwrap().push(after);
        let (events, before) = (self.events.subscribe(), self.before.load(Ordering::Relaxed));
        let answers = stream::unfold((events, after), move |(mut events, after)| async move {
            let next = usize::try_from(after - before).unwrap();
            let event = events.wait_for(|events| events.len() > next).await.ok()?[next].clone();
            Some((Ok(event), (events, after + 1)))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn usage(&self, _: Request<UsageRequest>) -> Result<Response<UsageResponse>, Status> {
        Ok(Response::new(UsageResponse { memory_total: 4, memory_available: 3, disk_total: 2, disk_free: 1 }))
    }

    async fn answer(&self, request: Request<AnswerRequest>) -> Result<Response<AnswerResponse>, Status> {
        let answer = request.into_inner();
        let mut answers = self.answers.lock().unwrap();
        // As a real guest: what is told again is known.
        if answers.iter().all(|known| known.wait != answer.wait) {
            answers.push(answer);
        }
        Ok(Response::new(AnswerResponse { known: true }))
    }

    async fn power_off(&self, _: Request<PowerOffRequest>) -> Result<Response<PowerOffResponse>, Status> {
        self.ended.send_replace(Some(Cause::PoweredOff));
        Ok(Response::new(PowerOffResponse {}))
    }
}
