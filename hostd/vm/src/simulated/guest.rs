//! `guest.v1` as a simulated guest answers it.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use hostd_core::session::Cause;
use pilothouse_proto::{
    guest::v1::{
        AnswerRequest, AnswerResponse, BootStep, ConnectRequest, ConnectResponse, Event, EventsRequest, ExecRequest,
        ExecResponse, HandshakeRequest, HandshakeResponse, PowerOffRequest, PowerOffResponse, QuiesceRequest,
        QuiesceResponse, StartAgentRequest, StartAgentResponse, TerminalRequest, TerminalResponse, TypeRequest,
        TypeResponse, UsageRequest, UsageResponse, guest_server, terminal_request,
    },
    link::{CHUNK, PROTOCOL},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::{agent::Agent, cause, exec, options::Script, random::Random};

/// Release of the kernel that simulated guests report.
pub(super) const KERNEL: &str = "simulated";

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// `guest.v1` of a simulated VM. Clones share it.
#[derive(Clone)]
pub(super) struct Guest {
    agent: Agent,
    script: Script,
    random: Random,
    boot_id: Arc<str>,
    cause: Arc<watch::Sender<Option<Cause>>>,
}

impl Guest {
    pub(super) fn new(script: Script, mut random: Random, cause: Arc<watch::Sender<Option<Cause>>>) -> Self {
        let boot_id = format!("{:016x}{:016x}", random.next(), random.next());
        Self { agent: Agent::new(), script, random, boot_id: boot_id.into(), cause }
    }

    fn follow(&self, after: u64) -> Answers<Event> {
        self.agent.acknowledge(after);
        let state = (self.agent.clone(), self.agent.news(), after);
        Box::pin(futures::stream::unfold(state, |(agent, mut news, after)| async move {
            loop {
                news.borrow_and_update();
                if let Some(event) = agent.next_event(after) {
                    let sequence = event.sequence;
                    return Some((Ok(event), (agent, news, sequence)));
                }
                news.changed().await.ok()?;
            }
        }))
    }

    fn output(&self, offset: u64) -> Answers<TerminalResponse> {
        let state = (self.agent.clone(), self.agent.news(), offset, false);
        Box::pin(futures::stream::unfold(state, |(agent, mut news, next, over)| async move {
            if over {
                return None;
            }
            loop {
                news.borrow_and_update();
                let (offset, output, end) = agent.output(next, CHUNK);
                if end || !output.is_empty() {
                    let next = offset + output.len() as u64;
                    return Some((Ok(TerminalResponse { offset, output, end }), (agent, news, next, end)));
                }
                news.changed().await.ok()?;
            }
        }))
    }
}

#[tonic::async_trait]
impl guest_server::Guest for Guest {
    type TerminalStream = Answers<TerminalResponse>;
    type ExecStream = Answers<ExecResponse>;
    type ConnectStream = Answers<ConnectResponse>;
    type EventsStream = Answers<Event>;
    type TypeStream = Answers<TypeResponse>;

    async fn handshake(&self, _: Request<HandshakeRequest>) -> Result<Response<HandshakeResponse>, Status> {
        let (agent, terminal_start, terminal_end) = self.agent.state();
        let boot = ["kernel", "modules", "root", "link"].into_iter().zip(1..);
        let boot = boot.map(|(name, n)| BootStep { name: name.into(), uptime_micros: n * 10_000 }).collect();
        Ok(Response::new(HandshakeResponse {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
            boot_id: self.boot_id.to_string(),
            kernel: KERNEL.into(),
            agent: Some(agent),
            terminal_start,
            terminal_end,
            boot,
            answered: None,
            first_output: false,
        }))
    }

    async fn start_agent(&self, request: Request<StartAgentRequest>) -> Result<Response<StartAgentResponse>, Status> {
        let mut ended = self.cause.subscribe();
        let over = async move {
            let _ = ended.wait_for(Option::is_some).await;
        };
        self.agent.start(&request.into_inner().command, self.script.clone(), self.random.clone(), over);
        Ok(Response::new(StartAgentResponse { agent: Some(self.agent.state().0), anew: false }))
    }

    async fn terminal(
        &self,
        request: Request<Streaming<TerminalRequest>>,
    ) -> Result<Response<Self::TerminalStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|message| message.request);
        let Some(terminal_request::Request::Open(open)) = first else {
            return Err(Status::invalid_argument("a terminal begins with `open`"));
        };
        let agent = self.agent.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = requests.message().await {
                if let Some(terminal_request::Request::Input(bytes)) = message.request {
                    agent.type_in(bytes).await;
                }
            }
        });
        Ok(Response::new(self.output(open.offset)))
    }

    async fn r#type(&self, request: Request<TypeRequest>) -> Result<Response<Self::TypeStream>, Status> {
        for piece in request.into_inner().pieces {
            self.agent.type_in(piece).await;
        }
        // What its agent does not read is lost: nobody need wait for that.
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(TypeResponse { read: true })]))))
    }

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        exec::run(request.into_inner()).await.map(Response::new)
    }

    async fn connect(&self, _: Request<Streaming<ConnectRequest>>) -> Result<Response<Self::ConnectStream>, Status> {
        Err(Status::failed_precondition("nothing listens in a simulated session"))
    }

    async fn quiesce(&self, _: Request<QuiesceRequest>) -> Result<Response<QuiesceResponse>, Status> {
        Ok(Response::new(QuiesceResponse::default()))
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        Ok(Response::new(self.follow(request.into_inner().after)))
    }

    async fn usage(&self, _: Request<UsageRequest>) -> Result<Response<UsageResponse>, Status> {
        Err(Status::unimplemented("a simulated guest has neither memory nor disk"))
    }

    async fn answer(&self, _: Request<AnswerRequest>) -> Result<Response<AnswerResponse>, Status> {
        // Its agent has no commands that could ask.
        Ok(Response::new(AnswerResponse { known: false }))
    }

    async fn power_off(&self, _: Request<PowerOffRequest>) -> Result<Response<PowerOffResponse>, Status> {
        cause::end(&self.cause, Cause::PoweredOff);
        Ok(Response::new(PowerOffResponse {}))
    }
}
