use std::future::Future;

use futures::{Stream, StreamExt as _, stream};
use hostd_core::pulls::Who;
use pilothouse_proto::hostd::v1::{
    self as wire, AddRepositoryRequest, AddRepositoryResponse, FetchRepositoryRequest, FetchRepositoryResponse,
    Fetched, FetchedBranch, GetRepositoryRequest, GitRequest, GitResponse, ListRepositoriesRequest,
    ListRepositoriesResponse, PushRepositoryRequest, PushRepositoryResponse, Pushed, PushedBranch,
    RemoveRepositoryRequest, RemoveRepositoryResponse, RenameRepositoryRequest, Repository, SetRulesRequest,
    SetUpstreamRequest, add_repository_response, fetch_repository_response, push_repository_response,
    repositories_server::Repositories,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api, git,
    principal::owner,
    pulls,
    status::{forge as failed, stopping},
    streams::{Answers, until_closing},
};
use crate::{
    environments::EnvironmentInfo,
    forge::{self, ForgeError, Import, PullFilter, RepositoryInfo},
};

/// Lines of progress that may wait for the caller.
const LINES: usize = 64;
/// Names of users of a repository that an error has, of each kind.
const NAMED: usize = 8;

#[async_trait]
impl Repositories for Api {
    type AddRepositoryStream = Answers<AddRepositoryResponse>;
    type FetchRepositoryStream = Answers<FetchRepositoryResponse>;
    type PushRepositoryStream = Answers<PushRepositoryResponse>;
    type GitStream = Answers<GitResponse>;

    async fn list_repositories(
        &self,
        _: Request<ListRepositoriesRequest>,
    ) -> Result<Response<ListRepositoriesResponse>, Status> {
        let mut repositories = vec![];
        for info in self.forge.repositories().await.map_err(failed)? {
            repositories.push(self.whole(info).await.map_err(failed)?);
        }
        Ok(Response::new(ListRepositoriesResponse { repositories }))
    }

    async fn get_repository(&self, request: Request<GetRepositoryRequest>) -> Result<Response<Repository>, Status> {
        self.named(&request.into_inner().name).await
    }

    async fn add_repository(
        &self,
        request: Request<AddRepositoryRequest>,
    ) -> Result<Response<Self::AddRepositoryStream>, Status> {
        use add_repository_response::Progress;
        let AddRepositoryRequest { source, name, branch } = request.into_inner();
        let (progress, lines) = mpsc::channel(LINES);
        let api = self.clone();
        let import = Import { source, name, branch };
        let work = async move {
            let info = api.keeper.import(import, progress).await?;
            api.whole(info).await
        };
        let message = |progress| AddRepositoryResponse { progress: Some(progress) };
        let answers = with_progress(
            work,
            lines,
            move |line| message(Progress::Line(line)),
            move |done| message(Progress::Done(done)),
        );
        Ok(Response::new(until_closing(answers, &self.closing)))
    }

    async fn fetch_repository(
        &self,
        request: Request<FetchRepositoryRequest>,
    ) -> Result<Response<Self::FetchRepositoryStream>, Status> {
        use fetch_repository_response::Progress;
        let (progress, lines) = mpsc::channel(LINES);
        let (keeper, name) = (self.keeper.clone(), request.into_inner().name);
        let work = async move { keeper.fetch(&name, progress).await };
        let message = |progress| FetchRepositoryResponse { progress: Some(progress) };
        let done = move |branches: Vec<_>| {
            message(Progress::Done(Fetched { branches: branches.into_iter().map(fetched).collect() }))
        };
        let answers = with_progress(work, lines, move |line| message(Progress::Line(line)), done);
        Ok(Response::new(until_closing(answers, &self.closing)))
    }

    async fn push_repository(
        &self,
        request: Request<PushRepositoryRequest>,
    ) -> Result<Response<Self::PushRepositoryStream>, Status> {
        use push_repository_response::Progress;
        let (progress, lines) = mpsc::channel(LINES);
        let (keeper, PushRepositoryRequest { name, branches }) = (self.keeper.clone(), request.into_inner());
        let work = async move { keeper.push(&name, branches, progress).await };
        let message = |progress| PushRepositoryResponse { progress: Some(progress) };
        let done = move |branches: Vec<forge::PushedBranch>| {
            let branches = branches.into_iter().map(|it| PushedBranch { branch: it.branch, commit: it.commit });
            message(Progress::Done(Pushed { branches: branches.collect() }))
        };
        let answers = with_progress(work, lines, move |line| message(Progress::Line(line)), done);
        Ok(Response::new(until_closing(answers, &self.closing)))
    }

    async fn set_rules(&self, request: Request<SetRulesRequest>) -> Result<Response<Repository>, Status> {
        let SetRulesRequest { name, rules } = request.into_inner();
        self.forge.set_rules(&name, pulls::rules(rules)?).await.map_err(failed)?;
        self.named(&name).await
    }

    async fn set_upstream(&self, request: Request<SetUpstreamRequest>) -> Result<Response<Repository>, Status> {
        let SetUpstreamRequest { name, url, fetch_every } = request.into_inner();
        self.keeper.set_upstream(&name, url, fetch_every).await.map_err(failed)?;
        self.named(&name).await
    }

    async fn rename_repository(
        &self,
        request: Request<RenameRepositoryRequest>,
    ) -> Result<Response<Repository>, Status> {
        let RenameRepositoryRequest { name, new_name } = request.into_inner();
        let uses = self.uses(&name).await.map_err(failed)?;
        let help = "they know it by this name; remove them first, or keep the name";
        refuse_use(&name, &[uses.sessions, uses.environments], help).map_err(failed)?;
        let info = self.keeper.rename(&name, &new_name).await.map_err(failed)?;
        Ok(Response::new(self.whole(info).await.map_err(failed)?))
    }

    async fn remove_repository(
        &self,
        request: Request<RemoveRepositoryRequest>,
    ) -> Result<Response<RemoveRepositoryResponse>, Status> {
        let RemoveRepositoryRequest { name, force } = request.into_inner();
        let uses = self.uses(&name).await.map_err(failed)?;
        if !force {
            let help = "end that first, or say --force";
            refuse_use(&name, &[uses.sessions, uses.environments, uses.pulls], help).map_err(failed)?;
        }
        self.keeper.remove(&name).await.map_err(failed)?;
        Ok(Response::new(RemoveRepositoryResponse {}))
    }

    async fn git(&self, request: Request<Streaming<GitRequest>>) -> Result<Response<Self::GitStream>, Status> {
        let who = Who::person(owner(&request));
        Ok(Response::new(git::serve(self, who, request.into_inner()).await?))
    }
}

/// What works with a repository, in words: at most so many names of each kind; empty: nothing.
struct Uses {
    sessions: String,
    environments: String,
    pulls: String,
}

impl Api {
    async fn whole(&self, info: RepositoryInfo) -> Result<Repository, ForgeError> {
        let forge = &self.forge;
        let rules = forge.rules(&info.name).await?;
        let open = forge.pulls(PullFilter { repository: Some(info.name.clone()), ..PullFilter::default() }).await?;
        let upstream = self.keeper.upstream(&info.name).await?;
        Ok(pulls::repository(&info, &rules, open.len(), &upstream))
    }

    async fn named(&self, name: &str) -> Result<Response<Repository>, Status> {
        let info = self.forge.repository(name).await.map_err(failed)?;
        Ok(Response::new(self.whole(info).await.map_err(failed)?))
    }

    async fn uses(&self, name: &str) -> Result<Uses, ForgeError> {
        let forge = &self.forge;
        let url = forge.repository(name).await?.url;
        let sessions = self.fleet.list().into_iter().filter(|view| view.session.repository.as_deref() == Some(name));
        let has = |it: &EnvironmentInfo| it.repository == url || it.also_read.iter().any(|also| also == name);
        let environments = self.environments.list().into_iter().filter(has);
        let pulls = forge.pulls(PullFilter { repository: Some(name.into()), ..PullFilter::default() }).await?;
        Ok(Uses {
            sessions: several("session", sessions.map(|view| view.session.slug).collect()),
            environments: several("environment", environments.map(|it| it.name).collect()),
            pulls: several("pull request", pulls.iter().map(|it| format!("#{}", it.pull.number)).collect()),
        })
    }
}

fn several(kind: &str, mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match names.len() {
        0 => String::new(),
        1 => format!("the {kind} {}", names[0]),
        _ => format!("the {kind}s {}{more}", names.join(", ")),
    }
}

fn refuse_use(name: &str, uses: &[String], help: &str) -> Result<(), ForgeError> {
    let uses: Vec<_> = uses.iter().filter(|it| !it.is_empty()).map(String::as_str).collect();
    if uses.is_empty() {
        return Ok(());
    }
    Err(ForgeError::InUse { name: name.into(), by: uses.join(", and by "), help: help.into() })
}

fn fetched(it: forge::FetchedBranch) -> FetchedBranch {
    let forge::FetchedBranch { branch, stood, ahead, behind, upstream } = it;
    wire::FetchedBranch { branch, stood: stood.word().into(), ahead, behind, upstream }
}

/// Lines of progress, then what became of the work, which ends with the stream.
fn with_progress<T: Send + 'static, A: Send + 'static>(
    work: impl Future<Output = Result<T, ForgeError>> + Send + 'static,
    lines: mpsc::Receiver<String>,
    line: impl Fn(String) -> A + Send + 'static,
    done: impl FnOnce(T) -> A + Send + 'static,
) -> impl Stream<Item = Result<A, Status>> + Send {
    let task = AbortOnDropHandle::new(tokio::spawn(work));
    let last = stream::once(async move { Ok(done(task.await.map_err(|_| stopping())?.map_err(failed)?)) });
    ReceiverStream::new(lines).map(move |text| Ok(line(text))).chain(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_uses_a_repository_is_named() {
        let many = |count: usize| several("session", (0..count).map(|n| format!("s{n}")).collect());
        assert_eq!((many(0), many(1), many(2)), (String::new(), "the session s0".into(), "the sessions s0, s1".into()));
        assert!(many(10).ends_with("s7 and 2 more"));
        assert!(refuse_use("a", &[String::new()], "x").is_ok());
        let error = refuse_use("a", &[many(1), String::new(), "the pull request #3".into()], "end that first");
        let text = "`a` is used by the session s0, and by the pull request #3; end that first";
        assert_eq!(error.unwrap_err().to_string(), text);
    }
}
