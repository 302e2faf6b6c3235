use pilothouse_proto::hostd::v1::{
    AgentProfile, BuildDone, BuildProgress, BuildRequest, BuildStep, Environment, GetEnvironmentRequest,
    ListEnvironmentsRequest, ListEnvironmentsResponse, ListProfilesRequest, ListProfilesResponse,
    build_progress::Progress, environments_server::Environments,
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

    async fn list_profiles(&self, _: Request<ListProfilesRequest>) -> Result<Response<ListProfilesResponse>, Status> {
        let broken = AgentProfile {
            name: "broken".into(),
            source: "/data/agents/broken.toml".into(),
            error: "/data/agents/broken.toml:1:1: missing key `name`".into(),
            ..Default::default()
        };
        let codex = AgentProfile {
            name: "codex".into(),
            source: "shipped".into(),
            about: "Codex\x1b[2J".into(),
            command: vec!["codex".into()],
            npm: vec!["@openai/codex@1.2.3".into()],
            user: "agent".into(),
            memory_bytes: 1 << 30,
            task: "-- {task}".into(),
            check: ["sh", "-c", "echo; echo 'codex 1.2.3\x1b[2J'"].map(str::to_owned).to_vec(),
            egress: vec!["model.example:443".into()],
            environment: [("A".to_owned(), "1".to_owned())].into(),
            ..Default::default()
        };
        let [mute, fails] = ["mute", "fails"].map(|name| AgentProfile { name: name.into(), ..codex.clone() });
        let shell = AgentProfile { name: "plain".into(), task: "untold".into(), ..codex.clone() };
        Ok(Response::new(ListProfilesResponse { profiles: vec![broken, codex, fails, mute, shell] }))
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
    Environment {
        name: name.into(),
        state: "ready".into(),
        recipe: "name = \"demo\"\n".into(),
        agent: vec!["codex".into()],
        ..Default::default()
    }
}
