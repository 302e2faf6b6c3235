use futures::stream;
use pilothouse_proto::hostd::v1::{
    BuildDone, BuildProgress, BuildRequest, BuildStep, Environment, GetEnvironmentRequest, ListEnvironmentsRequest,
    ListEnvironmentsResponse, ListProfilesRequest, ListProfilesResponse, build_progress::Progress,
    environments_server::Environments,
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, agents, convert,
    status::{environment as failed, invalid},
    streams::{Answers, until_closing},
};
use crate::environments::{BuildEvent, EnvironmentInfo};

/// Largest recipe that is taken, in bytes.
const RECIPE_MAX: usize = 256 << 10;

impl Api {
    fn shown(&self, info: EnvironmentInfo) -> Environment {
        convert::environment(&self.fleet.feed().view(info))
    }
}

#[async_trait]
impl Environments for Api {
    type BuildStream = Answers<BuildProgress>;

    async fn list(&self, _: Request<ListEnvironmentsRequest>) -> Result<Response<ListEnvironmentsResponse>, Status> {
        let environments = self.environments.list().into_iter().map(|info| self.shown(info)).collect();
        Ok(Response::new(ListEnvironmentsResponse { environments }))
    }

    async fn get(&self, request: Request<GetEnvironmentRequest>) -> Result<Response<Environment>, Status> {
        let info = self.environments.get(&request.into_inner().name).map_err(|e| failed(&e))?;
        Ok(Response::new(self.shown(info)))
    }

    async fn list_profiles(&self, _: Request<ListProfilesRequest>) -> Result<Response<ListProfilesResponse>, Status> {
        let profiles = self.environments.profiles().await.map_err(|e| failed(&e))?;
        let shown = |(name, profile)| agents::profile(name, profile);
        Ok(Response::new(ListProfilesResponse { profiles: profiles.all().map(shown).collect() }))
    }

    async fn build(&self, request: Request<BuildRequest>) -> Result<Response<Self::BuildStream>, Status> {
        let BuildRequest { name, recipe, source } = request.into_inner();
        let environments = &self.environments;
        let name = match (name.is_empty(), recipe.is_empty()) {
            (false, true) => name,
            (true, false) if recipe.len() <= RECIPE_MAX => {
                let source = if source.is_empty() { "recipe" } else { &source };
                environments.register(source, &recipe).await.map_err(|e| failed(&e))?
            }
            (true, false) => return Err(invalid(format!("the recipe is longer than {RECIPE_MAX} bytes"))),
            _ => return Err(invalid("give either the name of an environment or a recipe")),
        };
        let events = environments.build(&name).await.map_err(|e| failed(&e))?;
        let api = self.clone();
        let progress = stream::unfold(Some(events), move |events| {
            let api = api.clone();
            async move {
                let mut events = events?;
                let event = events.recv().await?;
                let last = matches!(event, BuildEvent::Done { .. } | BuildEvent::Failed(_));
                Some((api.progress(event), (!last).then_some(events)))
            }
        });
        Ok(Response::new(until_closing(progress, &self.closing)))
    }
}

impl Api {
    // tonic's type of errors.
    #[allow(clippy::result_large_err)]
    fn progress(&self, event: BuildEvent) -> Result<BuildProgress, Status> {
        let progress = match event {
            BuildEvent::Step { number, count, name } => Progress::Step(BuildStep { number, count, name }),
            BuildEvent::Output(line) => Progress::Output(line),
            BuildEvent::Passing(line) => Progress::Passing(line),
            BuildEvent::Done { info, cached } => {
                Progress::Done(BuildDone { environment: Some(self.shown(*info)), cached })
            }
            BuildEvent::Failed(error) => return Err(failed(&error)),
        };
        Ok(BuildProgress { progress: Some(progress) })
    }
}
