use pilothouse_proto::hostd::v1::{
    AttachRequest, AttachResponse, CreateRequest, DeleteRequest, DeleteResponse, EventsRequest, EventsResponse,
    ExecRequest, ExecResponse, ForkRequest, GetRequest, ListRequest, ListResponse, LogRequest, LogResponse, Refused,
    RestartRequest, ResumeRequest, SendRequest, SendResponse, Session, SuspendRequest, sessions_server::Sessions,
};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api, attach, convert, events, exec, log,
    principal::{actor, owner},
    streams::Answers,
};
use crate::sessions::{ForkOrder, Order, SendOrder, SessionView};

#[async_trait]
impl Sessions for Api {
    type AttachStream = Answers<AttachResponse>;
    type ExecStream = Answers<ExecResponse>;
    type LogStream = Answers<LogResponse>;
    type EventsStream = Answers<EventsResponse>;

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<Session>, Status> {
        let owner = owner(&request);
        let CreateRequest { environment, title, task, command } = request.into_inner();
        let view = self.fleet.create(Order { environment, title, task, command, owner }).await?;
        Ok(Response::new(convert::session(&view)))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let views = self.fleet.list();
        let brief = views.iter().map(|view| Session { refused: self.refused(view), ..convert::session_in_brief(view) });
        Ok(Response::new(ListResponse { sessions: brief.collect() }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Session>, Status> {
        let id = request.into_inner().id;
        self.fleet.look_into(&id).await?;
        let view = self.fleet.get(&id)?;
        Ok(Response::new(Session { refused: self.refused(&view), ..convert::session(&view) }))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let actor = actor(&request);
        let id = self.fleet.by(actor).delete(&request.into_inner().id).await?;
        Ok(Response::new(DeleteResponse { id }))
    }

    async fn restart(&self, request: Request<RestartRequest>) -> Result<Response<Session>, Status> {
        let actor = actor(&request);
        let RestartRequest { id, give_up_memory } = request.into_inner();
        let view = self.fleet.by(actor).restart(&id, give_up_memory).await?;
        Ok(Response::new(convert::session(&view)))
    }

    async fn suspend(&self, request: Request<SuspendRequest>) -> Result<Response<Session>, Status> {
        let actor = actor(&request);
        let view = self.fleet.by(actor).suspend(&request.into_inner().id).await?;
        Ok(Response::new(convert::session(&view)))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<Session>, Status> {
        let actor = actor(&request);
        let view = self.fleet.by(actor).resume(&request.into_inner().id).await?;
        Ok(Response::new(convert::session(&view)))
    }

    async fn fork(&self, request: Request<ForkRequest>) -> Result<Response<Session>, Status> {
        let owner = owner(&request);
        let ForkRequest { id, title } = request.into_inner();
        let view = self.fleet.fork(&id, ForkOrder { title, owner }).await?;
        Ok(Response::new(convert::session(&view)))
    }

    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        let actor = actor(&request);
        let SendRequest { id, text, no_enter, keys } = request.into_inner();
        self.fleet.by(actor).send(&id, SendOrder { text, enter: !no_enter, keys }).await?;
        Ok(Response::new(SendResponse {}))
    }

    async fn attach(&self, request: Request<Streaming<AttachRequest>>) -> Result<Response<Self::AttachStream>, Status> {
        Ok(Response::new(attach::attach(self, request).await?))
    }

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        Ok(Response::new(exec::exec(self, request).await?))
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        Ok(Response::new(events::events(self, request.into_inner()).await?))
    }

    async fn log(&self, request: Request<LogRequest>) -> Result<Response<Self::LogStream>, Status> {
        Ok(Response::new(log::log(self, request.into_inner()).await?))
    }
}

impl Api {
    /// Destinations that a session was refused.
    fn refused(&self, view: &SessionView) -> Vec<Refused> {
        self.fleet.refused(&view.session.id).into_iter().map(convert::refused).collect()
    }
}
