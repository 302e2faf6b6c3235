//! `guest.v1.Guest`: checks what the host asks, does it, answers.

mod check;
mod connect;
mod events;
mod exec;
mod first_output;
mod guest;
mod handshake;
mod power;
mod start_agent;
mod terminal;
mod typing;

use guest::Answers;
pub use guest::Guest;
use pilothouse_proto::guest::v1::{
    AnswerRequest, AnswerResponse, ConnectRequest, ConnectResponse, Event, EventsRequest, ExecRequest, ExecResponse,
    HandshakeRequest, HandshakeResponse, PowerOffRequest, PowerOffResponse, QuiesceRequest, QuiesceResponse,
    StartAgentRequest, StartAgentResponse, TerminalRequest, TerminalResponse, TypeRequest, TypeResponse, UsageRequest,
    UsageResponse, guest_server,
};
pub(crate) use power::Vigil;
use tonic::{Request, Response, Status, Streaming};

use crate::machine;

#[tonic::async_trait]
impl guest_server::Guest for Guest {
    type TerminalStream = Answers<TerminalResponse>;
    type ExecStream = Answers<ExecResponse>;
    type ConnectStream = Answers<ConnectResponse>;
    type EventsStream = Answers<Event>;
    type TypeStream = Answers<TypeResponse>;

    async fn handshake(&self, request: Request<HandshakeRequest>) -> Result<Response<HandshakeResponse>, Status> {
        handshake::shake(self, request.into_inner()).await.map(Response::new)
    }

    async fn start_agent(&self, request: Request<StartAgentRequest>) -> Result<Response<StartAgentResponse>, Status> {
        start_agent::start(self, request.into_inner()).map(Response::new)
    }

    async fn terminal(
        &self,
        request: Request<Streaming<TerminalRequest>>,
    ) -> Result<Response<Self::TerminalStream>, Status> {
        terminal::open(self.0.agent.clone(), request.into_inner()).await.map(Response::new)
    }

    async fn r#type(&self, request: Request<TypeRequest>) -> Result<Response<Self::TypeStream>, Status> {
        typing::take(&self.0.typing, request.into_inner()).map(Response::new)
    }

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        exec::run(self, request.into_inner()).await.map(Response::new)
    }

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        connect::open(self, request.into_inner()).await.map(Response::new)
    }

    async fn quiesce(&self, request: Request<QuiesceRequest>) -> Result<Response<QuiesceResponse>, Status> {
        power::quiesce(self, request.into_inner()).await.map(Response::new)
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        Ok(Response::new(events::follow(self.0.events.clone(), request.into_inner().after)))
    }

    async fn usage(&self, _: Request<UsageRequest>) -> Result<Response<UsageResponse>, Status> {
        Ok(Response::new(machine::usage::usage()))
    }

    async fn answer(&self, request: Request<AnswerRequest>) -> Result<Response<AnswerResponse>, Status> {
        let AnswerRequest { wait, json } = request.into_inner();
        Ok(Response::new(AnswerResponse { known: self.0.waits.answer(wait, json) }))
    }

    async fn power_off(&self, _: Request<PowerOffRequest>) -> Result<Response<PowerOffResponse>, Status> {
        power::off(self.0.machine.clone()).await.map(Response::new)
    }
}
