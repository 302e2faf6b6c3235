use futures::stream;
use hostd_core::pulls::{NewComment, NewReview, Place, Verdict, Who};
use pilothouse_proto::hostd::v1::{
    ClosePullRequest, GetPullRequest, ListPullsRequest, ListPullsResponse, MergePullRequest, NewReviewComment, Pull,
    ReopenPullRequest, ResolveThreadRequest, SubmitReviewRequest, WatchPullsRequest, WatchPullsResponse,
    reviews_server::Reviews, watch_pulls_response::Change,
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api,
    principal::owner,
    pulls,
    status::{forge as failed, invalid, stopping},
    streams::{Answers, until_closing},
};
use crate::forge::{About, ForgeError, Hint, Hints, PullFilter, PullId};

#[async_trait]
impl Reviews for Api {
    type WatchPullsStream = Answers<WatchPullsResponse>;

    async fn list_pulls(&self, request: Request<ListPullsRequest>) -> Result<Response<ListPullsResponse>, Status> {
        let ListPullsRequest { repository, all } = request.into_inner();
        let repository = Some(repository).filter(|name| !name.is_empty());
        if let Some(name) = &repository {
            self.forge.repository(name).await.map_err(failed)?;
        }
        Ok(Response::new(self.queue(PullFilter { repository, all, ..PullFilter::default() }).await.map_err(failed)?))
    }

    async fn get_pull(&self, request: Request<GetPullRequest>) -> Result<Response<Pull>, Status> {
        let id = self.pull_id(&request.into_inner().id).await?;
        Ok(Response::new(pulls::pull(&self.forge.pull(&id).await.map_err(failed)?)))
    }

    async fn submit_review(&self, request: Request<SubmitReviewRequest>) -> Result<Response<Pull>, Status> {
        let who = Who::person(owner(&request));
        let SubmitReviewRequest { id, verdict, head, body, comments, older } = request.into_inner();
        let verdicts = [Verdict::Comment, Verdict::Approve, Verdict::RequestChanges];
        let verdict = verdicts.into_iter().find(|known| known.word() == verdict).ok_or_else(|| {
            invalid(format!("{verdict:?} is no verdict; say one of {}", verdicts.map(Verdict::word).join(", ")))
        })?;
        let comments = comments.into_iter().map(new_comment).collect();
        let id = self.pull_id(&id).await?;
        let review = NewReview { who, head, older, verdict, body, comments };
        Ok(Response::new(pulls::pull(&self.forge.review(&id, review).await.map_err(failed)?)))
    }

    async fn resolve_thread(&self, request: Request<ResolveThreadRequest>) -> Result<Response<Pull>, Status> {
        let who = Who::person(owner(&request));
        let ResolveThreadRequest { id, thread, resolved } = request.into_inner();
        let id = self.pull_id(&id).await?;
        Ok(Response::new(pulls::pull(&self.forge.resolve(&id, who, thread, resolved).await.map_err(failed)?)))
    }

    async fn merge_pull(&self, request: Request<MergePullRequest>) -> Result<Response<Pull>, Status> {
        let who = Who::person(owner(&request));
        let MergePullRequest { id, head } = request.into_inner();
        let id = self.pull_id(&id).await?;
        Ok(Response::new(pulls::pull(&self.forge.merge(&id, who, &head).await.map_err(failed)?)))
    }

    async fn close_pull(&self, request: Request<ClosePullRequest>) -> Result<Response<Pull>, Status> {
        let who = Who::person(owner(&request));
        let id = self.pull_id(&request.into_inner().id).await?;
        Ok(Response::new(pulls::pull(&self.forge.close(&id, who).await.map_err(failed)?)))
    }

    async fn reopen_pull(&self, request: Request<ReopenPullRequest>) -> Result<Response<Pull>, Status> {
        let who = Who::person(owner(&request));
        let id = self.pull_id(&request.into_inner().id).await?;
        Ok(Response::new(pulls::pull(&self.forge.reopen(&id, who).await.map_err(failed)?)))
    }

    async fn watch_pulls(&self, _: Request<WatchPullsRequest>) -> Result<Response<Self::WatchPullsStream>, Status> {
        // Before the queue is read, so that nothing falls between.
        let hints = self.forge.hints();
        let queue = self.open_queue().await.map_err(failed)?;
        let watch = Watch { api: self.clone(), hints, ready: vec![queue] };
        let changes = stream::unfold(watch, |mut watch| async move {
            let next = watch.next().await;
            Some((next, watch))
        });
        Ok(Response::new(until_closing(changes, &self.closing)))
    }
}

impl Api {
    async fn open_queue(&self) -> Result<WatchPullsResponse, ForgeError> {
        let pulls = self.forge.pulls(PullFilter::default()).await?;
        Ok(change(Change::Queue(ListPullsResponse { pulls: pulls.iter().map(pulls::pull_for_watch).collect() })))
    }

    async fn queue(&self, filter: PullFilter) -> Result<ListPullsResponse, ForgeError> {
        let pulls = self.forge.pulls(filter).await?;
        Ok(ListPullsResponse { pulls: pulls.iter().map(pulls::pull_in_brief).collect() })
    }
}

fn new_comment(comment: NewReviewComment) -> NewComment {
    let NewReviewComment { thread, path, line, body, head } = comment;
    match thread {
        0 => {
            let place = Place { path, line: Some(line).filter(|line| *line > 0), quote: String::new() };
            NewComment::At { place, head, body }
        }
        thread => NewComment::In { thread, body },
    }
}

/// What a watcher is yet to be told.
struct Watch {
    api: Api,
    hints: Hints,
    /// Messages that are ready to be sent; the next one is the last.
    ready: Vec<WatchPullsResponse>,
}

impl Watch {
    async fn next(&mut self) -> Result<WatchPullsResponse, Status> {
        loop {
            if let Some(next) = self.ready.pop() {
                return Ok(next);
            }
            let heard = self.hints.next().await.ok_or_else(stopping)?;
            self.ready = self.changes(heard.hint()).await.map_err(failed)?;
        }
    }

    async fn changes(&self, hint: Option<Hint>) -> Result<Vec<WatchPullsResponse>, ForgeError> {
        let forge = &self.api.forge;
        let Some(Hint { repository, about, .. }) = hint else {
            return Ok(vec![self.api.open_queue().await?]);
        };
        match about {
            About::Pull(number) => {
                match forge.known(&PullId::new(forge.id().clone(), repository, number)).await {
                    Ok(whole) => Ok(vec![change(Change::Pull(pulls::pull_for_watch(&whole)))]),
                    // Not yet.
                    Err(ForgeError::NoPull(_)) => Ok(vec![]),
                    Err(error) => Err(error),
                }
            }
            About::Checks(commit) => {
                let of_repository =
                    forge.pulls(PullFilter { repository: Some(repository), ..PullFilter::default() }).await?;
                let with_head = of_repository.iter().filter(|whole| whole.pull.head() == commit);
                Ok(with_head.map(|whole| change(Change::Pull(pulls::pull_for_watch(whole)))).collect())
            }
            About::Repository => Ok(vec![self.api.open_queue().await?]),
        }
    }
}

fn change(change: Change) -> WatchPullsResponse {
    WatchPullsResponse { change: Some(change) }
}
