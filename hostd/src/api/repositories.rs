use futures::{StreamExt as _, stream};
use pilothouse_proto::hostd::v1::{
    AddRepositoryRequest, AddRepositoryResponse, GetRepositoryRequest, ListRepositoriesRequest,
    ListRepositoriesResponse, Repository, SetRulesRequest, add_repository_response::Progress,
    repositories_server::Repositories,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, pulls,
    status::stopping,
    streams::{Answers, until_closing},
};
use crate::forge::{ForgeError, Import, RepositoryInfo, Which};

/// Lines of progress that may wait for the caller.
const LINES: usize = 64;

#[async_trait]
impl Repositories for Api {
    type AddRepositoryStream = Answers<AddRepositoryResponse>;

    async fn list_repositories(
        &self,
        _: Request<ListRepositoriesRequest>,
    ) -> Result<Response<ListRepositoriesResponse>, Status> {
        let mut repositories = vec![];
        for info in self.fleet.forge().repositories().await? {
            repositories.push(self.whole(info).await?);
        }
        Ok(Response::new(ListRepositoriesResponse { repositories }))
    }

    async fn get_repository(&self, request: Request<GetRepositoryRequest>) -> Result<Response<Repository>, Status> {
        let info = self.fleet.forge().repository(&request.into_inner().name).await?;
        Ok(Response::new(self.whole(info).await?))
    }

    async fn add_repository(
        &self,
        request: Request<AddRepositoryRequest>,
    ) -> Result<Response<Self::AddRepositoryStream>, Status> {
        let AddRepositoryRequest { source, name, branch } = request.into_inner();
        let (progress, lines) = mpsc::channel(LINES);
        let api = self.clone();
        let import = Import { source, name, branch };
        // Dropped with the stream, and the import with it.
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let info = api.importer.import(import, progress).await?;
            api.whole(info).await
        }));
        let lines = ReceiverStream::new(lines).map(|line| Ok(message(Progress::Line(line))));
        let done = stream::once(async move {
            let repository = task.await.map_err(|_| stopping())??;
            Ok(message(Progress::Done(repository)))
        });
        Ok(Response::new(until_closing(lines.chain(done), &self.closing)))
    }

    async fn set_rules(&self, request: Request<SetRulesRequest>) -> Result<Response<Repository>, Status> {
        let SetRulesRequest { name, rules } = request.into_inner();
        self.fleet.forge().set_rules(&name, pulls::rules(rules)?).await?;
        let info = self.fleet.forge().repository(&name).await?;
        Ok(Response::new(self.whole(info).await?))
    }
}

impl Api {
    async fn whole(&self, info: RepositoryInfo) -> Result<Repository, ForgeError> {
        let forge = self.fleet.forge();
        let rules = forge.rules(&info.name).await?;
        let open = forge.pulls(Which { repository: Some(info.name.clone()), ..Which::default() }).await?;
        Ok(pulls::repository(&info, &rules, open.len()))
    }
}

fn message(progress: Progress) -> AddRepositoryResponse {
    AddRepositoryResponse { progress: Some(progress) }
}
