use pilothouse_proto::hostd::v1::{
    BuildDone, BuildProgress, BuildRequest, BuildStep, Environment, GetEnvironmentRequest, ListEnvironmentsRequest,
    ListEnvironmentsResponse, build_progress::Progress, environments_server::Environments,
};
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status};

use super::{State, status};

type Building = std::pin::Pin<Box<dyn Stream<Item = Result<BuildProgress, Status>> + Send>>;

#[tonic::async_trait]
impl Environments for State {
    type BuildStream = Building;

    async fn list(&self, _: Request<ListEnvironmentsRequest>) -> Result<Response<ListEnvironmentsResponse>, Status> {
        Ok(Response::new(ListEnvironmentsResponse { environments: vec![environment("demo")] }))
    }

    async fn get(&self, request: Request<GetEnvironmentRequest>) -> Result<Response<Environment>, Status> {
        match request.into_inner().name.as_str() {
            "demo" => Ok(Response::new(environment("demo"))),
            _ => Err(status(Code::NotFound, "ENVIRONMENT_NOT_FOUND", "there is no such environment; there is demo")),
        }
    }

    /// `demo` builds, `broken` fails, `endless` never ends; a recipe is always bad.
    async fn build(&self, request: Request<BuildRequest>) -> Result<Response<Building>, Status> {
        let BuildRequest { name, recipe, source } = request.into_inner();
        if !recipe.is_empty() {
            let message = format!("{source}:1:1: unknown key");
            return Err(status(Code::InvalidArgument, "BAD_RECIPE", &message));
        }
        let step = |number, name: &str| Ok(progress(Progress::Step(BuildStep { number, count: 2, name: name.into() })));
        let output = |line: &str| Ok(progress(Progress::Output(line.into())));
        let mut parts = vec![step(1, "base system"), output("unpacking\x1b[2J"), step(2, "setup"), output("running")];
        parts.insert(1, Ok(progress(Progress::Passing("10%".into()))));
        match name.as_str() {
            "demo" => {
                let done = BuildDone { environment: Some(environment("demo")), cached: false };
                parts.push(Ok(progress(Progress::Done(done))));
            }
            "broken" => parts.push(Err(status(Code::FailedPrecondition, "BUILD_FAILED", "setup failed: exit code 3"))),
            "endless" => {
                let for_ever = tokio_stream::pending();
                return Ok(Response::new(Box::pin(tokio_stream::StreamExt::chain(
                    tokio_stream::iter(parts),
                    for_ever,
                ))));
            }
            _ => return Err(status(Code::NotFound, "ENVIRONMENT_NOT_FOUND", "there is no such environment")),
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(parts))))
    }
}

fn progress(progress: Progress) -> BuildProgress {
    BuildProgress { progress: Some(progress) }
}

fn environment(name: &str) -> Environment {
    Environment { name: name.into(), state: "ready".into(), recipe: "name = \"demo\"\n".into(), ..Default::default() }
}
