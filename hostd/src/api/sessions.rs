use hostd_core::{recipe::Egress, session::Budget};
use pilothouse_proto::hostd::v1::{
    AllowRequest, AllowResponse, AnswerRequest, AttachRequest, AttachResponse, BundleRequest, BundleResponse,
    CheckpointRequest, CreateRequest, DeleteRequest, DeleteResponse, Event, EventsRequest, EventsResponse, ExecRequest,
    ExecResponse, ExplainRequest, ExplainResponse, ForkRequest, ForwardRequest, ForwardResponse, GetRequest,
    ListRequest, ListResponse, LogRequest, LogResponse, Refused, RescueRequest, RescueResponse, RestartRequest,
    ResumeRequest, SendRequest, SendResponse, Session, SetBudgetRequest, SuspendRequest, TriageRequest, TriageResponse,
    sessions_server::Sessions,
};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api, attach, bundle, convert, events, exec, forward, log,
    principal::{actor, owner},
    status,
    streams::Answers,
};
use crate::{
    diff::Rescued,
    environments::AllowedInRecipe,
    sessions::{CreateSession, ForkOrder, SendOrder, SessionView},
    store::ALL_EVENTS,
};

#[async_trait]
impl Sessions for Api {
    type AttachStream = Answers<AttachResponse>;
    type ExecStream = Answers<ExecResponse>;
    type ForwardStream = Answers<ForwardResponse>;
    type LogStream = Answers<LogResponse>;
    type EventsStream = Answers<EventsResponse>;
    type BundleStream = Answers<BundleResponse>;

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<Session>, Status> {
        let owner = owner(&request);
        let CreateRequest { environment, title, task, command, budget_micros: budget } = request.into_inner();
        let order = CreateSession { environment, title, task, command, owner, budget };
        let view = self.fleet.create(order).await?;
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
        let last_event = self.last_event(&view).await;
        Ok(Response::new(Session { refused: self.refused(&view), last_event, ..convert::session(&view) }))
    }

    async fn triage(&self, request: Request<TriageRequest>) -> Result<Response<TriageResponse>, Status> {
        let id = request.into_inner().id;
        let all = if id.is_empty() { self.fleet.triage() } else { vec![self.fleet.triage_of(&id).await?] };
        Ok(Response::new(TriageResponse { sessions: all.iter().map(convert::triage).collect() }))
    }

    async fn rescue(&self, request: Request<RescueRequest>) -> Result<Response<RescueResponse>, Status> {
        let actor = actor(&request);
        let id = request.into_inner().id;
        let repository = self.fleet.get(&id)?.session.repository.unwrap_or_default();
        let Rescued { branch, commit, missing } = self.fleet.by(actor).rescue(&id).await?;
        Ok(Response::new(RescueResponse { repository, branch, commit, missing }))
    }

    async fn bundle(&self, request: Request<BundleRequest>) -> Result<Response<Self::BundleStream>, Status> {
        Ok(Response::new(bundle::bundle(self, &request.into_inner().id).await?))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let actor = actor(&request);
        let id = self.fleet.by(actor).delete(&request.into_inner().id).await?;
        Ok(Response::new(DeleteResponse { id }))
    }

    async fn restart(&self, request: Request<RestartRequest>) -> Result<Response<Session>, Status> {
        let actor = actor(&request);
        let RestartRequest { id, give_up_memory, checkpoint } = request.into_inner();
        let hands = self.fleet.by(actor);
        let view = match checkpoint {
            0 => hands.restart(&id, give_up_memory).await?,
            number => hands.restore(&id, number).await?,
        };
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
        let ForkRequest { id, title, budget_micros: budget, checkpoint } = request.into_inner();
        let from = Some(checkpoint).filter(|number| *number > 0);
        let view = self.fleet.fork(&id, ForkOrder { title, owner, budget, from }).await?;
        Ok(Response::new(convert::session(&view)))
    }

    async fn checkpoint(&self, request: Request<CheckpointRequest>) -> Result<Response<Session>, Status> {
        let actor = actor(&request);
        let view = self.fleet.by(actor).checkpoint(&request.into_inner().id).await?;
        Ok(Response::new(convert::session(&view)))
    }

    async fn set_budget(&self, request: Request<SetBudgetRequest>) -> Result<Response<Session>, Status> {
        let actor = actor(&request);
        let SetBudgetRequest { id, micros, raise } = request.into_inner();
        let change = match (micros, raise) {
            (more, true) => Budget::Raise(more),
            (0, false) => Budget::Off,
            (amount, false) => Budget::Set(amount),
        };
        let view = self.fleet.by(actor).set_budget(&id, change).await?;
        Ok(Response::new(convert::session(&view)))
    }

    async fn allow(&self, request: Request<AllowRequest>) -> Result<Response<AllowResponse>, Status> {
        let hands = self.fleet.by(actor(&request));
        let AllowRequest { id, destination, private, remove, recipe } = request.into_inner();
        let egress = Egress::parse(&destination, private).map_err(status::invalid)?;
        if remove && recipe {
            return Err(status::invalid("what a recipe has is taken out of it by hand: edit it and build it again"));
        }
        let entry = egress.to_string();
        if recipe {
            hands.may_be_in_recipe(&egress)?;
        }
        // First the session: what is only its own is told and taken back most easily, should the rest fail.
        let view =
            if remove { hands.disallow(&id, egress.clone()).await? } else { hands.allow(&id, egress.clone()).await? };
        let in_recipe = if recipe { Some(hands.allow_in_recipe(&id, &egress).await?) } else { None };
        let session = Some(Session { refused: self.refused(&view), ..convert::session(&view) });
        Ok(Response::new(match in_recipe {
            None => AllowResponse { session, entry, ..AllowResponse::default() },
            Some(AllowedInRecipe { source, next_build }) => {
                AllowResponse { session, entry, environment: view.session.environment.clone(), source, next_build }
            }
        }))
    }

    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        let actor = actor(&request);
        let SendRequest { id, text, no_enter, keys } = request.into_inner();
        self.fleet.by(actor).send(&id, SendOrder { text, enter: !no_enter, keys }).await?;
        Ok(Response::new(SendResponse {}))
    }

    async fn answer(&self, request: Request<AnswerRequest>) -> Result<Response<Session>, Status> {
        let actor = actor(&request);
        let AnswerRequest { id, permission, allow } = request.into_inner();
        let view = self.fleet.by(actor).answer(&id, permission, allow).await?;
        Ok(Response::new(convert::session(&view)))
    }

    async fn attach(&self, request: Request<Streaming<AttachRequest>>) -> Result<Response<Self::AttachStream>, Status> {
        Ok(Response::new(attach::attach(self, request).await?))
    }

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        Ok(Response::new(exec::exec(self, request).await?))
    }

    async fn forward(
        &self,
        request: Request<Streaming<ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        Ok(Response::new(forward::forward(self, request).await?))
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        Ok(Response::new(events::events(self, request.into_inner()).await?))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let view = self.fleet.get(&request.into_inner().id)?;
        Ok(Response::new(convert::explanation(&view)))
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

    /// What was done last to a session. The rest is worth an answer also where that cannot be read.
    async fn last_event(&self, view: &SessionView) -> Option<Event> {
        let read = self.fleet.events(&view.session.id, ALL_EVENTS, 1).await;
        read.inspect_err(|error| tracing::warn!(slug = view.session.slug, %error, "its story cannot be read"))
            .ok()?
            .last()
            .map(convert::event)
    }
}
