//! A guest in this process: an agent that writes what it is given, reports what a test says, and ends when told.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use hostd_core::Cause;
use pilothouse_proto::guest::v1::{
    self as wire, AnswerRequest, AnswerResponse, BootStep, ConnectRequest, ConnectResponse, Event, EventsRequest,
    ExecRequest, ExecResponse, HandshakeRequest, HandshakeResponse, PowerOffRequest, PowerOffResponse, QuiesceRequest,
    QuiesceResponse, StartAgentRequest, StartAgentResponse, TerminalRequest, TerminalResponse, TypeRequest,
    TypeResponse, UsageRequest, UsageResponse, event, exec_request, guest_server, terminal_request::Request as Part,
};
use pilothouse_proto::link::PROTOCOL;
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

use super::fake_exec::{Answers, Execs};

#[derive(Clone)]
pub(crate) struct FakeGuest {
    /// Set when its VM is gone.
    pub(crate) ended: watch::Sender<Option<Cause>>,
    /// What hostd asked for.
    pub(crate) agent: Arc<Mutex<Option<StartAgentRequest>>>,
    /// What becomes of the next starts of the agent, where that is not that it starts.
    pub(crate) no_agent: Arc<Mutex<Vec<Code>>>,
    output: watch::Sender<(Vec<u8>, bool)>,
    events: watch::Sender<Vec<Event>>,
    /// Events of its life before this one, which memory would keep.
    before: Arc<AtomicU64>,
    /// Every acknowledgement that came.
    pub(crate) acknowledged: Arc<Mutex<Vec<u64>>>,
    /// Of the last message that was typed.
    pub(crate) typed: Arc<Mutex<u64>>,
    /// Whether the agent reads what is typed.
    pub(crate) reads: Arc<AtomicBool>,
    /// Every answer that came.
    pub(crate) answers: Arc<Mutex<Vec<AnswerRequest>>>,
    /// Answers that came by a call of their own.
    pub(crate) called: Arc<AtomicU32>,
    /// Its user processes are.
    pub(crate) frozen: Arc<AtomicBool>,
    /// The programs that run in it.
    pub(crate) execs: Arc<Execs>,
    /// Id of the boot, which a guest that goes on keeps.
    pub(crate) boot_id: &'static str,
}

impl Default for FakeGuest {
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
            called: Arc::default(),
            typed: Arc::default(),
            reads: Arc::new(AtomicBool::new(true)),
            frozen: Arc::default(),
            execs: Arc::default(),
            boot_id: "first",
        }
    }
}

impl FakeGuest {
    /// One that answers so to the next starts of its agent.
    pub(crate) fn failing(no_agent: Arc<Mutex<Vec<Code>>>) -> Self {
        Self { no_agent, ..Self::default() }
    }

    /// One that this boot has begun.
    pub(crate) fn of_boot(boot_id: &'static str) -> Self {
        Self { boot_id, ..Self::default() }
    }

    /// The same, in a VM of its own.
    pub(crate) fn again(&self) -> Self {
        Self { ended: watch::channel(None).0, ..self.clone() }
    }

    /// As one that was resumed: it has shown so much already.
    pub(crate) fn with_output(output: Vec<u8>) -> Self {
        Self { output: watch::channel((output, false)).0, ..Self::default() }
    }

    pub(crate) fn output(&self) -> Vec<u8> {
        self.output.borrow().0.clone()
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        self.output.send_modify(|output| output.0.extend_from_slice(bytes));
    }

    pub(crate) fn report(&self, event: event::Event) {
        self.events.send_modify(|events| {
            let sequence = self.before.load(Ordering::Relaxed) + events.len() as u64 + 1;
            events.push(Event { sequence, unix_nanos: 0, event: Some(event) });
        });
    }

    pub(crate) fn status(&self, activity: &str, text: &str) {
        let status = wire::Status { activity: activity.into(), text: text.into(), ..wire::Status::default() };
        self.report(event::Event::Status(status));
    }

    /// As a real guest: what is told again is known.
    fn take(&self, answer: AnswerRequest) -> AnswerResponse {
        let mut answers = self.answers.lock().unwrap();
        if answers.iter().all(|known| known.wait != answer.wait) {
            answers.push(answer);
        }
        AnswerResponse { known: true }
    }

    pub(crate) fn exit(&self, code: i32) {
        self.report(event::Event::AgentExited(wire::Exit { code, signal: 0 }));
        self.output.send_modify(|output| output.1 = true);
    }

    pub(crate) fn environment(&self) -> HashMap<String, String> {
        self.agent.lock().unwrap().as_ref().unwrap().environment.clone()
    }
}

#[async_trait]
impl guest_server::Guest for FakeGuest {
    type TerminalStream = Answers<TerminalResponse>;
    type ExecStream = Answers<ExecResponse>;
    type ConnectStream = Answers<ConnectResponse>;
    type EventsStream = Answers<Event>;
    type TypeStream = Answers<TypeResponse>;

    async fn handshake(&self, request: Request<HandshakeRequest>) -> Result<Response<HandshakeResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.machine_id.len(), 32);
        self.frozen.fetch_and(request.stay_frozen, Ordering::Relaxed);
        let boot = vec![BootStep { name: "kernel".into(), uptime_micros: 1 }];
        let answered = request.answer.map(|answer| self.take(answer));
        let boot_id = self.boot_id.into();
        Ok(Response::new(HandshakeResponse {
            protocol: PROTOCOL,
            boot,
            boot_id,
            answered,
            ..HandshakeResponse::default()
        }))
    }

    async fn start_agent(&self, request: Request<StartAgentRequest>) -> Result<Response<StartAgentResponse>, Status> {
        let no_agent = self.no_agent.lock().unwrap().pop();
        if no_agent == Some(Code::DeadlineExceeded) {
            std::future::pending::<()>().await;
        }
        // No conversation is found that it could go on with.
        let anew = no_agent == Some(Code::NotFound);
        if let Some(code) = no_agent.filter(|_| !anew) {
            return Err(Status::new(code, "as the test wants it"));
        }
        *self.agent.lock().unwrap() = Some(request.into_inner());
        Ok(Response::new(StartAgentResponse { agent: None, anew }))
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

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|message| message.request);
        let Some(exec_request::Request::Start(start)) = first else { panic!("not started") };
        if self.frozen.load(Ordering::Relaxed) != start.beside_frozen {
            return Err(Status::unavailable("frozen, or not"));
        }
        self.execs.exec(start, requests, &self.ended).await.map(Response::new)
    }

    async fn connect(&self, _: Request<Streaming<ConnectRequest>>) -> Result<Response<Self::ConnectStream>, Status> {
        Err(Status::failed_precondition("nothing listens in the session"))
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
        self.called.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(self.take(request.into_inner())))
    }

    async fn power_off(&self, _: Request<PowerOffRequest>) -> Result<Response<PowerOffResponse>, Status> {
        self.ended.send_replace(Some(Cause::PoweredOff));
        Ok(Response::new(PowerOffResponse {}))
    }
}
