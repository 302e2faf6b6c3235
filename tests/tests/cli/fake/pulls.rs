//! Pull requests, checks and repositories of the made-up host: what is said of them is heard, and changes little.

use std::process::Stdio;

use pilothouse_proto::hostd::v1::{
    AddRepositoryRequest, AddRepositoryResponse, Check, CheckLogRequest, CheckLogResponse, ClosePullRequest,
    FetchRepositoryRequest, FetchRepositoryResponse, Fetched, FetchedBranch, GetPullRequest, GetRepositoryRequest,
    GitRequest, GitResponse, ListChecksRequest, ListChecksResponse, ListPullsRequest, ListPullsResponse,
    ListRepositoriesRequest, ListRepositoriesResponse, MergePullRequest, Pull, PushRepositoryRequest,
    PushRepositoryResponse, Pushed, PushedBranch, RemoveRepositoryRequest, RemoveRepositoryResponse,
    RenameRepositoryRequest, ReopenPullRequest, ReportCheckRequest, ReportCheckResponse, Repository,
    RerunChecksRequest, RerunChecksResponse, ResolveThreadRequest, Revision, Rules, SetRulesRequest,
    SetUpstreamRequest, SubmitReviewRequest, WatchPullsRequest, WatchPullsResponse, add_repository_response::Progress,
    checks_server::Checks, fetch_repository_response, git_request, git_response, push_repository_response,
    repositories_server::Repositories, reviews_server::Reviews, watch_pulls_response,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::BroadcastStream};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{State, status};

type Answers<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// An open pull request of `widgets`.
pub(crate) fn pull(number: u64) -> Pull {
    Pull {
        repository: "widgets".into(),
        number,
        title: format!("Fix it, part {number}\x1b[2J"),
        author: "fix-parser".into(),
        head_branch: "agent/fix-parser/work".into(),
        base_branch: "main".into(),
        head: "0123456789abcdef0123456789abcdef01234567".into(),
        revision: 2,
        state: "open".into(),
        standing: "waiting".into(),
        outcome: "failed".into(),
        outcome_text: "`unit` failed".into(),
        blocked: "it is not approved (0 of 1 approvals)".into(),
        merge_method: "squash".into(),
        created_at: 1_700_000_000_000,
        updated_at: 1_700_000_000_000,
        checks: vec![check()],
        revisions: vec![
            Revision { number: 1, head: "fedcba9876543210fedcba9876543210fedcba98".into(), ..Default::default() },
            Revision { number: 2, head: "0123456789abcdef0123456789abcdef01234567".into(), ..Default::default() },
        ],
        ..Default::default()
    }
}

fn check() -> Check {
    Check { name: "unit".into(), state: "failed".into(), required: true, has_log: true, ..Default::default() }
}

impl State {
    /// The agent pushes another revision.
    pub(crate) fn push(&self, number: u64, head: &str) {
        let mut pulls = self.pulls.lock().unwrap();
        let pull = pulls.iter_mut().find(|pull| pull.number == number).unwrap();
        pull.revision += 1;
        pull.head = head.into();
        pull.revisions.push(Revision { number: pull.revision, head: head.into(), ..Default::default() });
        let _ = self.pull_changes.send(pull.clone());
    }

    /// It has this open pull request from now on.
    pub(crate) fn has_pull(&self, number: u64) {
        self.pulls.lock().unwrap().push(pull(number));
    }

    /// It is like this from now on, and watchers are told.
    fn replace(&self, pull: Pull) -> Pull {
        let mut pulls = self.pulls.lock().unwrap();
        *pulls.iter_mut().find(|known| known.number == pull.number).unwrap() = pull.clone();
        let _ = self.pull_changes.send(pull.clone());
        pull
    }

    pub(super) fn pull(&self, id: &str) -> Result<Pull, Status> {
        let number = id.strip_prefix("widgets#").unwrap_or(id);
        let pulls = self.pulls.lock().unwrap();
        let found = pulls.iter().find(|pull| pull.number.to_string() == number).cloned();
        found.ok_or_else(|| status(Code::NotFound, "PULL_NOT_FOUND", "there is no such pull request"))
    }
}

#[tonic::async_trait]
impl Reviews for State {
    type WatchPullsStream = Answers<WatchPullsResponse>;

    async fn list_pulls(&self, _: Request<ListPullsRequest>) -> Result<Response<ListPullsResponse>, Status> {
        Ok(Response::new(ListPullsResponse { pulls: self.pulls.lock().unwrap().clone() }))
    }

    async fn get_pull(&self, request: Request<GetPullRequest>) -> Result<Response<Pull>, Status> {
        Ok(Response::new(self.pull(&request.into_inner().id)?))
    }

    async fn submit_review(&self, request: Request<SubmitReviewRequest>) -> Result<Response<Pull>, Status> {
        let request = request.into_inner();
        let pull = self.pull(&request.id)?;
        let known = pull.revisions.iter().any(|revision| revision.head == request.head);
        if request.head != pull.head && !(request.older && known) {
            return Err(status(Code::FailedPrecondition, "REFUSED", "the head has moved"));
        }
        let of = |head: &str| if head.is_empty() { String::new() } else { format!("@{}", &head[..4]) };
        let comments =
            request.comments.iter().map(|c| format!(" {}:{}:{}:{}{}", c.thread, c.path, c.line, c.body, of(&c.head)));
        let comments: String = comments.collect();
        let older = if request.older { format!(" of {}", request.head) } else { String::new() };
        self.hear(format!("{} {} {}{comments}{older}\n", request.id, request.verdict, request.body).as_bytes());
        Ok(Response::new(pull))
    }

    async fn resolve_thread(&self, request: Request<ResolveThreadRequest>) -> Result<Response<Pull>, Status> {
        let ResolveThreadRequest { id, thread, resolved } = request.into_inner();
        let pull = self.pull(&id)?;
        self.hear(format!("{id} thread {thread} resolved {resolved}\n").as_bytes());
        Ok(Response::new(pull))
    }

    async fn merge_pull(&self, request: Request<MergePullRequest>) -> Result<Response<Pull>, Status> {
        let pull = self.pull(&request.into_inner().id)?;
        self.hear(b"merge\n");
        Ok(Response::new(Pull { state: "merged".into(), merge_commit: "fedcba98765432".into(), ..pull }))
    }

    async fn close_pull(&self, request: Request<ClosePullRequest>) -> Result<Response<Pull>, Status> {
        let pull = self.pull(&request.into_inner().id)?;
        self.hear(b"close\n");
        Ok(Response::new(self.replace(Pull { state: "closed".into(), closed_why: "by ann".into(), ..pull })))
    }

    async fn reopen_pull(&self, request: Request<ReopenPullRequest>) -> Result<Response<Pull>, Status> {
        let pull = self.pull(&request.into_inner().id)?;
        self.hear(b"reopen\n");
        Ok(Response::new(self.replace(Pull { state: "open".into(), closed_why: String::new(), ..pull })))
    }

    async fn watch_pulls(&self, _: Request<WatchPullsRequest>) -> Result<Response<Self::WatchPullsStream>, Status> {
        let queue = ListPullsResponse { pulls: self.pulls.lock().unwrap().clone() };
        let queue = WatchPullsResponse { change: Some(watch_pulls_response::Change::Queue(queue)) };
        let change = |pull| WatchPullsResponse { change: Some(watch_pulls_response::Change::Pull(pull)) };
        let later = BroadcastStream::new(self.pull_changes.subscribe()).map(move |pull| Ok(change(pull.unwrap())));
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(queue)).chain(later))))
    }
}

#[tonic::async_trait]
impl Checks for State {
    type CheckLogStream = Answers<CheckLogResponse>;

    async fn list_checks(&self, _: Request<ListChecksRequest>) -> Result<Response<ListChecksResponse>, Status> {
        Ok(Response::new(ListChecksResponse { checks: vec![check()], commit: String::new() }))
    }

    async fn check_log(&self, request: Request<CheckLogRequest>) -> Result<Response<Self::CheckLogStream>, Status> {
        let CheckLogRequest { pull, repository, commit, name, follow } = request.into_inner();
        let follows = if follow { " and follows" } else { "" };
        let data = format!("{pull}|{repository}|{commit}|{name}{follows}\n").into();
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(CheckLogResponse { data })))))
    }

    async fn rerun_checks(
        &self,
        request: Request<RerunChecksRequest>,
    ) -> Result<Response<RerunChecksResponse>, Status> {
        let r = request.into_inner();
        let names = [r.pull, r.repository, r.commit, r.name].into_iter().filter(|word| !word.is_empty());
        let names: Vec<String> = names.collect();
        self.hear(format!("again {}\n", names.join(" ")).as_bytes());
        Ok(Response::new(RerunChecksResponse { names }))
    }

    async fn report_check(
        &self,
        request: Request<ReportCheckRequest>,
    ) -> Result<Response<ReportCheckResponse>, Status> {
        let r = request.into_inner();
        let log = String::from_utf8_lossy(&r.log).into_owned();
        let said = [r.repository, r.commit, r.name, r.state, r.url, r.summary, log].join("|");
        self.hear(format!("{said}\n").as_bytes());
        Ok(Response::new(ReportCheckResponse { changed: true }))
    }
}

#[tonic::async_trait]
impl Repositories for State {
    type AddRepositoryStream = Answers<AddRepositoryResponse>;
    type FetchRepositoryStream = Answers<FetchRepositoryResponse>;
    type PushRepositoryStream = Answers<PushRepositoryResponse>;
    type GitStream = Answers<GitResponse>;

    async fn list_repositories(
        &self,
        _: Request<ListRepositoriesRequest>,
    ) -> Result<Response<ListRepositoriesResponse>, Status> {
        Ok(Response::new(ListRepositoriesResponse { repositories: vec![repository(None)] }))
    }

    async fn get_repository(&self, request: Request<GetRepositoryRequest>) -> Result<Response<Repository>, Status> {
        match request.into_inner().name.as_str() {
            "widgets" => Ok(Response::new(repository(None))),
            _ => Err(status(Code::NotFound, "REPOSITORY_NOT_FOUND", "there is no such repository")),
        }
    }

    async fn add_repository(
        &self,
        request: Request<AddRepositoryRequest>,
    ) -> Result<Response<Self::AddRepositoryStream>, Status> {
        let request = request.into_inner();
        self.hear(format!("{}|{}|{}\n", request.source, request.name, request.branch).as_bytes());
        let line = |line: &str| Ok(AddRepositoryResponse { progress: Some(Progress::Line(line.into())) });
        let last = match request.name.as_str() {
            "no-git" => {
                let words = "fatal: '/srv/a' is no repository\nfatal: Could not read.";
                let lines = ["Cloning", "warning: slow"].into_iter().chain(words.lines()).map(line);
                let error = format!("/srv/a could not be cloned:\nwarning: slow\n{words}");
                let last = Err(status(Code::Aborted, "NOT_IMPORTED", &error));
                return Ok(Response::new(Box::pin(tokio_stream::iter(lines.chain([last]).collect::<Vec<_>>()))));
            }
            "broken" => Err(status(Code::Aborted, "NOT_IMPORTED", "its HEAD names the branch `gone`")),
            _ => Ok(AddRepositoryResponse { progress: Some(Progress::Done(repository(None))) }),
        };
        let lines = vec![line("Cloning"), line("Receiving objects: 50%"), line("Receiving\x1b[2J: 100%, done."), last];
        Ok(Response::new(Box::pin(tokio_stream::iter(lines))))
    }

    async fn set_rules(&self, request: Request<SetRulesRequest>) -> Result<Response<Repository>, Status> {
        Ok(Response::new(repository(request.into_inner().rules)))
    }

    async fn set_upstream(&self, request: Request<SetUpstreamRequest>) -> Result<Response<Repository>, Status> {
        let SetUpstreamRequest { url, fetch_every, .. } = request.into_inner();
        self.hear(format!("upstream {url:?} every {fetch_every:?}\n").as_bytes());
        Ok(Response::new(repository(None)))
    }

    async fn fetch_repository(
        &self,
        _: Request<FetchRepositoryRequest>,
    ) -> Result<Response<Self::FetchRepositoryStream>, Status> {
        let branch = |branch: &str, stood: &str, ahead, behind| FetchedBranch {
            branch: branch.into(),
            stood: stood.into(),
            ahead,
            behind,
            upstream: "0123456789abcdef".into(),
        };
        let branches = vec![branch("main", "behind", 0, 3), branch("next\x1b[2J", "diverged", 1, 2)];
        let done = fetch_repository_response::Progress::Done(Fetched { branches });
        let parts = [fetch_repository_response::Progress::Line("Receiving".into()), done];
        let parts = parts.map(|part| Ok(FetchRepositoryResponse { progress: Some(part) }));
        Ok(Response::new(Box::pin(tokio_stream::iter(parts))))
    }

    async fn push_repository(
        &self,
        request: Request<PushRepositoryRequest>,
    ) -> Result<Response<Self::PushRepositoryStream>, Status> {
        let PushRepositoryRequest { branches, .. } = request.into_inner();
        if branches == ["gone"] {
            return Err(status(Code::NotFound, "BRANCH_NOT_FOUND", "there is no such branch"));
        }
        self.hear(format!("push {}\n", branches.join(" ")).as_bytes());
        let pushed = PushedBranch { branch: "main".into(), commit: "0123456789abcdef".into() };
        let done = push_repository_response::Progress::Done(Pushed { branches: vec![pushed] });
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(PushRepositoryResponse { progress: Some(done) })))))
    }

    async fn rename_repository(
        &self,
        request: Request<RenameRepositoryRequest>,
    ) -> Result<Response<Repository>, Status> {
        Ok(Response::new(Repository { name: request.into_inner().new_name, ..repository(None) }))
    }

    async fn remove_repository(
        &self,
        request: Request<RemoveRepositoryRequest>,
    ) -> Result<Response<RemoveRepositoryResponse>, Status> {
        let force = request.into_inner().force;
        if !force {
            return Err(status(Code::FailedPrecondition, "REPOSITORY_IN_USE", "it is used by the session one"));
        }
        self.hear(b"removed\n");
        Ok(Response::new(RemoveRepositoryResponse {}))
    }

    async fn git(&self, request: Request<Streaming<GitRequest>>) -> Result<Response<Self::GitStream>, Status> {
        let (answers, receiver) = mpsc::channel(4);
        let served = real_git(self.git.clone(), request.into_inner(), answers);
        tokio::spawn(served);
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }
}

/// Serves the bare repository `widgets.git` in this folder, as a host does.
async fn real_git(
    folder: std::path::PathBuf,
    mut requests: Streaming<GitRequest>,
    answers: mpsc::Sender<Result<GitResponse, Status>>,
) {
    let first = requests.message().await.unwrap().and_then(|it| it.request);
    let Some(git_request::Request::Start(start)) = first else { return };
    let mut command = tokio::process::Command::new("git");
    command.arg(start.service.strip_prefix("git-").unwrap()).arg(folder.join(format!("{}.git", start.repository)));
    command.env("GIT_PROTOCOL", start.protocol).env("HOME", &folder).env("GIT_CONFIG_NOSYSTEM", "1").kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let feed = tokio::spawn(async move {
        while let Ok(Some(GitRequest { request: Some(git_request::Request::Stdin(bytes)) })) = requests.message().await
        {
            if stdin.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = stdout.read(&mut buffer).await {
        let part = git_response::Response::Stdout(buffer[..length].to_vec().into());
        let _ = answers.send(Ok(GitResponse { response: Some(part) })).await;
    }
    feed.abort();
    let code = child.wait().await.unwrap().code().unwrap();
    let _ = answers.send(Ok(GitResponse { response: Some(git_response::Response::Exit(code)) })).await;
}

fn repository(rules: Option<Rules>) -> Repository {
    let before = Rules {
        required_checks: vec!["unit".into()],
        approvals: 1,
        merge_method: "merge".into(),
        keep_branches: false,
        direct_push: "fast-forward".into(),
    };
    Repository {
        name: "widgets".into(),
        default_branch: "main".into(),
        head: "0123456789abcdef".into(),
        rules: Some(rules.unwrap_or(before)),
        ..Default::default()
    }
}
