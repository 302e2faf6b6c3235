use std::{process::Stdio, sync::Arc};

use pilothouse_proto::hostd::v1::{
    Actor, AllowRequest, AllowResponse, Allowed, AnswerRequest, AttachRequest, AttachResponse, BundleRequest,
    BundleResponse, Checkpoint, CheckpointRequest, Choice, CreateRequest, DeleteRequest, DeleteResponse, Ended, Event,
    EventsRequest, EventsResponse, ExecExit, ExecRequest, ExecResponse, ExecStart, ExplainRequest, ExplainResponse,
    ForkRequest, ForwardRequest, ForwardResponse, GetRequest, ListRequest, ListResponse, LogRequest, LogResponse,
    Report, RescueRequest, RescueResponse, RestartRequest, ResumeRequest, Role, Sample, Screen, SendRequest,
    SendResponse, Session, SetBudgetRequest, SuspendRequest, Triage, TriageRequest, TriageResponse, attach_request,
    attach_response, exec_request, exec_response, sessions_server::Sessions,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
    sync::mpsc,
};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{BroadcastStream, ReceiverStream},
};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{State, forward, session, status};

pub(super) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// Id of a session that is gone, whose story is known.
const GONE: &str = "01J0000000000000000000GONE";

#[tonic::async_trait]
impl Sessions for State {
    type AttachStream = Answers<AttachResponse>;
    type ExecStream = Answers<ExecResponse>;
    type BundleStream = Answers<BundleResponse>;
    type ForwardStream = Answers<ForwardResponse>;
    type EventsStream = std::pin::Pin<Box<dyn Stream<Item = Result<EventsResponse, Status>> + Send>>;
    type LogStream = std::pin::Pin<Box<dyn Stream<Item = Result<LogResponse, Status>> + Send>>;

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<Session>, Status> {
        let CreateRequest { environment, title, task, command, budget_micros } = request.into_inner();
        if environment != "demo" {
            return Err(status(Code::FailedPrecondition, "NO_BUILD", "the environment was never built"));
        }
        let mut created = Session { title, task, command, budget_micros, ..session("new") };
        if created.title == "try fails" {
            (created.activity, created.reason) = ("failed".into(), "exited with code 7".into());
        }
        self.sessions.lock().unwrap().push(created.clone());
        Ok(Response::new(created))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Ok(Response::new(ListResponse { sessions: self.sessions() }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Session>, Status> {
        Ok(Response::new(self.find(&request.into_inner().id)?))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let found = self.find(&request.into_inner().id)?;
        if found.slug == "stuck" {
            return Err(status(Code::Internal, "FILE", "its disk cannot be removed"));
        }
        self.remove(&found.id);
        Ok(Response::new(DeleteResponse { id: found.id }))
    }

    async fn restart(&self, request: Request<RestartRequest>) -> Result<Response<Session>, Status> {
        let RestartRequest { id, give_up_memory, checkpoint } = request.into_inner();
        let found = self.find(&id)?;
        if checkpoint > 0 {
            return Ok(Response::new(Session { reason: format!("went back to {checkpoint}"), ..found }));
        }
        if found.lifecycle == "suspended" && give_up_memory {
            return Ok(Response::new(Session { lifecycle: "queued".into(), ..found }));
        }
        Err(status(
            Code::FailedPrecondition,
            "DENIED",
            "it is running; only a stopped or crashed session can be restarted",
        ))
    }

    async fn suspend(&self, request: Request<SuspendRequest>) -> Result<Response<Session>, Status> {
        let found = self.find(&request.into_inner().id)?;
        Ok(Response::new(Session { lifecycle: "suspended".into(), suspended_bytes: 1 << 20, ..found }))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<Session>, Status> {
        self.find(&request.into_inner().id)?;
        Err(status(Code::FailedPrecondition, "DENIED", "could not be resumed: its template is gone"))
    }

    async fn fork(&self, request: Request<ForkRequest>) -> Result<Response<Session>, Status> {
        let ForkRequest { id, title, budget_micros, checkpoint } = request.into_inner();
        let found = self.find(&id)?;
        let title = if checkpoint > 0 { format!("from {checkpoint}") } else { title };
        Ok(Response::new(Session { title, budget_micros, forked_from: found.id, ..session("forked") }))
    }

    async fn checkpoint(&self, request: Request<CheckpointRequest>) -> Result<Response<Session>, Status> {
        let mut found = self.find(&request.into_inner().id)?;
        if found.lifecycle != "running" {
            return Err(status(Code::FailedPrecondition, "DENIED", "it is suspended: all of it is on disk already"));
        }
        let number = found.checkpoints.last().map_or(1, |last| last.number + 1);
        let at = found.created_at;
        found.checkpoints.push(Checkpoint { number, at, bytes: 3 << 20, stood_ms: 41, ..Checkpoint::default() });
        // The last three that people asked for are kept.
        let of_people: Vec<u64> =
            found.checkpoints.iter().filter(|known| !known.automatic).map(|known| known.number).rev().skip(3).collect();
        found.checkpoints.retain(|known| !of_people.contains(&known.number));
        Ok(Response::new(found))
    }

    async fn set_budget(&self, request: Request<SetBudgetRequest>) -> Result<Response<Session>, Status> {
        let SetBudgetRequest { id, micros, raise } = request.into_inner();
        let found = self.find(&id)?;
        if raise && found.budget_micros.is_none() {
            return Err(status(Code::FailedPrecondition, "DENIED", "it has no budget that could be raised; set one"));
        }
        let before = found.budget_micros.filter(|_| raise).unwrap_or(0);
        Ok(Response::new(Session { budget_micros: Some(before + micros).filter(|it| *it > 0), ..found }))
    }

    async fn allow(&self, request: Request<AllowRequest>) -> Result<Response<AllowResponse>, Status> {
        let AllowRequest { id, destination, private, remove, recipe } = request.into_inner();
        let mut session = self.find(&id)?;
        if destination == "a b" {
            return Err(status(Code::InvalidArgument, "INVALID", "it is no destination"));
        }
        session.allowed.retain(|allowed| allowed.destination != destination);
        if !remove {
            session.allowed.push(Allowed { destination: destination.clone(), private });
        }
        let answer =
            AllowResponse { session: Some(session), entry: format!("{destination:?}"), ..AllowResponse::default() };
        Ok(Response::new(if recipe {
            AllowResponse {
                environment: "demo".into(),
                source: "/home/kim/demo.toml".into(),
                next_build: true,
                ..answer
            }
        } else {
            answer
        }))
    }

    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        let SendRequest { text, no_enter, keys, .. } = request.into_inner();
        if text == "refuse" {
            return Err(status(Code::FailedPrecondition, "DENIED", "its agent has ended"));
        }
        if text == "late" {
            std::future::pending::<()>().await;
        }
        self.hear(text.as_bytes());
        if no_enter {
            self.hear("\u{2026}".as_bytes());
        }
        if !keys.is_empty() {
            self.hear(format!("[{}]", keys.join(" ")).as_bytes());
        }
        Ok(Response::new(SendResponse {}))
    }

    async fn answer(&self, request: Request<AnswerRequest>) -> Result<Response<Session>, Status> {
        let AnswerRequest { id, permission, allow } = request.into_inner();
        let found = self.find(&id)?;
        if found.permission.as_ref().is_none_or(|asked| asked.id != permission) {
            return Err(status(Code::FailedPrecondition, "DENIED", "it does not ask for a permission any more"));
        }
        self.hear(format!("{permission}: {allow};").as_bytes());
        Ok(Response::new(Session { permission: None, ..found }))
    }

    /// Connects to this machine's own loopback.
    async fn forward(
        &self,
        request: Request<Streaming<ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        forward::connect(self, request.into_inner()).await.map(Response::new)
    }

    async fn rescue(&self, request: Request<RescueRequest>) -> Result<Response<RescueResponse>, Status> {
        let session = self.find(&request.into_inner().id)?;
        let branch = format!("agent/{}/rescue-1", session.slug);
        let (repository, commit) = ("widgets".into(), "0123456789abcdef0123456789abcdef01234567".into());
        let missing = "some files could not be read\u{1b}[2J".into();
        Ok(Response::new(RescueResponse { repository, branch, commit, missing }))
    }

    async fn bundle(&self, request: Request<BundleRequest>) -> Result<Response<Self::BundleStream>, Status> {
        let session = self.find(&request.into_inner().id)?;
        let (sender, receiver) = mpsc::channel(2);
        for data in [session.slug.into_bytes(), b" in a tar".to_vec()] {
            sender.send(Ok(BundleResponse { data: data.into() })).await.unwrap();
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn triage(&self, request: Request<TriageRequest>) -> Result<Response<TriageResponse>, Status> {
        let id = request.into_inner().id;
        let all = self.sessions.lock().unwrap().clone();
        let ended = all.into_iter().filter(|s| if id.is_empty() { !s.cause_word.is_empty() } else { s.id == id });
        let choice =
            |word: &str, loses: &str| Choice { word: word.into(), does: format!("does {word}"), loses: loses.into() };
        let samples = (1..=3_i64).map(|n| Sample {
            at: n * 5000,
            memory_bytes: n.unsigned_abs() << 20,
            cpu_percent: 50,
            disk_bytes: 4 << 20,
            ..Sample::default()
        });
        let triage = ended.map(|session| Triage {
            session: Some(session),
            console: vec!["Kernel panic - not syncing: \u{1b}[2Jx".into()],
            terminal: vec!["$ make".into()],
            samples: samples.clone().collect(),
            choices: vec![choice("bundle", ""), choice("restart", "what was in memory"), choice("delete", "all")],
        });
        Ok(Response::new(TriageResponse { sessions: triage.collect() }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let session = Some(self.find(&request.into_inner().id)?);
        let report =
            Report { source: "hook".into(), state: "blocked".into(), kind: "permission".into(), ..Report::default() };
        let said = vec![Report { text: "Bash(\u{1b}[2Jls)".into(), decides: true, ..report }];
        let because = "hooks are the best source that speaks".into();
        Ok(Response::new(ExplainResponse { decides: "hook".into(), because, said, session }))
    }

    async fn log(&self, _: Request<LogRequest>) -> Result<Response<Self::LogStream>, Status> {
        let parts = [b"\x1b[31mred".as_slice(), b"\x1b[2J\xff\n"].map(|data| Ok(LogResponse { data: data.into() }));
        Ok(Response::new(Box::pin(tokio_stream::iter(parts))))
    }

    /// What happened to `alpha`, also when it is gone; the newest where fewer are asked for.
    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let EventsRequest { id, limit, follow, after, .. } = request.into_inner();
        let happens = self.story.subscribe();
        let known = self.find("alpha").map(|session| session.id).unwrap_or_default();
        if id != known && id != GONE {
            return Err(status(Code::NotFound, "SESSION_NOT_FOUND", "no such session"));
        }
        let actor =
            |kind: &str, name: &str| Some(Actor { kind: kind.into(), name: name.into(), person: String::new() });
        let event =
            |id, actor, what: &str, text: &str| Event { id, at: 0, actor, what: what.into(), text: text.into() };
        let mut events = vec![
            event(1, actor("person", "ann"), "created", "in demo"),
            event(2, actor("host", ""), "crashed", "its guest \u{1b}[2Jstopped"),
        ];
        if limit == 1 {
            events.remove(0);
        }
        events.retain(|event| event.id > after);
        let known = tokio_stream::iter([Ok(EventsResponse { events })]);
        if !follow {
            return Ok(Response::new(Box::pin(known)));
        }
        let news = BroadcastStream::new(happens).map_while(Result::ok);
        let news = news.map(|event| Ok(EventsResponse { events: vec![event] }));
        Ok(Response::new(Box::pin(known.chain(news))))
    }

    /// A terminal that does what it was told in its task, but for `try mute`, and echoes; `q` ends it, `!` asks who writes, and Ctrl-K is answered by a program that asks for all keys there are.
    async fn attach(&self, request: Request<Streaming<AttachRequest>>) -> Result<Response<Self::AttachStream>, Status> {
        use attach_request::Request;
        use attach_response::Response as Answer;
        let mut requests = request.into_inner();
        let Some(AttachRequest { request: Some(Request::Open(open)) }) = requests.message().await? else {
            return Err(Status::invalid_argument("no open"));
        };
        let session = self.find(&open.id)?;
        let (answers, receiver) = mpsc::channel(16);
        let heard = self.heard_by();
        tokio::spawn(async move {
            let contents = b"\x1b[?1049h\x1b[?2004h\x1b[?1002hhello from the session".as_slice().into();
            let say = async |answer| answers.send(Ok(AttachResponse { response: Some(answer) })).await.ok();
            say(Answer::Screen(Screen { size: open.size, contents, history: 0 })).await;
            say(Answer::Role(Role { writer: !open.observe, writer_name: "me".into(), viewers: 1 })).await;
            if session.task.starts_with("Write the words amber and falcon") && session.title == "try codex" {
                say(Answer::Output(b"\r\n  AMBER".as_slice().into())).await;
                say(Answer::Output(b"FALCON\r\n".as_slice().into())).await;
            }
            while let Ok(Some(AttachRequest { request: Some(request) })) = requests.message().await {
                match request {
                    Request::Input(bytes) if &bytes[..] == b"q" => {
                        say(Answer::Ended(Ended { reason: "the agent ended".into() })).await;
                        return;
                    }
                    Request::Input(bytes) if &bytes[..] == b"\x0b" => {
                        let asks = b"\x1b[?1004h\x1b[?1006h\x1b[>1uall keys".as_slice().into();
                        say(Answer::Output(asks)).await;
                    }
                    Request::Input(bytes) => {
                        heard.lock().unwrap().extend_from_slice(&bytes);
                        say(Answer::Output(bytes)).await;
                    }
                    Request::Resize(size) => {
                        let contents = format!("now {}x{}", size.columns, size.rows).into();
                        say(Answer::Screen(Screen { size: Some(size), contents, history: 0 })).await;
                    }
                    Request::Leave(_) => return,
                    Request::Take(_) | Request::Open(_) => {}
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        let mut requests = request.into_inner();
        let Some(ExecRequest { request: Some(exec_request::Request::Start(start)) }) = requests.message().await? else {
            return Err(Status::invalid_argument("no start"));
        };
        self.find(&start.id)?;
        let (answers, receiver) = mpsc::channel(4);
        if start.terminal.is_some() {
            tokio::spawn(on_terminal(start, requests, answers));
        } else {
            tokio::spawn(here(start, requests, answers, self.heard_by()));
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

type Heard = Arc<std::sync::Mutex<Vec<u8>>>;

fn answer(response: exec_response::Response) -> Result<ExecResponse, Status> {
    Ok(ExecResponse { response: Some(response) })
}

/// Runs the command on this machine; it is killed when the caller goes.
async fn here(
    start: ExecStart,
    mut requests: Streaming<ExecRequest>,
    answers: mpsc::Sender<Result<ExecResponse, Status>>,
    heard: Heard,
) {
    use exec_request::Request;
    // A shell cannot trap what it was started to ignore, as it may have been where these tests run in the background.
    let mut command = Command::new("env");
    let mut program = start.command;
    if program[0] == "/run/pilothouse/bin/session" {
        program[0] = tests::paths::program("pilothouse-guest").to_str().unwrap().into();
    }
    command.arg("--default-signal=INT").args(&program).envs(&start.environment).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = child.id().unwrap();
    let mut stdin = child.stdin.take();
    let out = copy(child.stdout.take().unwrap(), answers.clone(), exec_response::Response::Stdout);
    let err = copy(child.stderr.take().unwrap(), answers.clone(), exec_response::Response::Stderr);
    let feed = async move {
        while let Ok(Some(message)) = requests.message().await {
            match (message.request, &mut stdin) {
                (Some(Request::Stdin(bytes)), Some(stdin)) => {
                    let _ = stdin.write_all(&bytes).await;
                }
                (Some(Request::StdinEnd(_)), _) => stdin = None,
                (Some(Request::Signal(signal)), _) => {
                    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
                    let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
                    rustix::process::kill_process(pid, signal).unwrap();
                }
                _ => {}
            }
        }
        std::future::pending::<()>().await;
    };
    let ended = async {
        tokio::join!(out, err);
        child.wait().await.unwrap().code().unwrap_or(255)
    };
    tokio::select! {
        () = feed => {}
        code = ended => {
            let _ = answers.send(answer(exec_response::Response::Exit(ExecExit { code, signal: 0 }))).await;
        }
        () = answers.closed() => heard.lock().unwrap().extend_from_slice(b"[hung up]"),
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    to: mpsc::Sender<Result<ExecResponse, Status>>,
    kind: impl Fn(bytes::Bytes) -> exec_response::Response,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.send(answer(kind(buffer[..count].to_vec().into()))).await.is_err() {
            return;
        }
    }
}

/// Says its size, echoes, and ends with code 3 on `q`.
async fn on_terminal(
    start: ExecStart,
    mut requests: Streaming<ExecRequest>,
    answers: mpsc::Sender<Result<ExecResponse, Status>>,
) {
    use exec_request::Request;
    let say = async |text: String| answers.send(answer(exec_response::Response::Stdout(text.into()))).await.ok();
    let term = start.environment.get("TERM").cloned().unwrap_or_default();
    let size = start.terminal.unwrap();
    say(format!("{term} {}x{}\r\n", size.columns, size.rows)).await;
    while let Ok(Some(message)) = requests.message().await {
        match message.request {
            Some(Request::Resize(size)) => drop(say(format!("now {}x{}\r\n", size.columns, size.rows)).await),
            Some(Request::Stdin(bytes)) if &bytes[..] == b"q" => {
                let _ = answers.send(answer(exec_response::Response::Exit(ExecExit { code: 3, signal: 0 }))).await;
            }
            Some(Request::Stdin(bytes)) => drop(say(format!("{bytes:?}\r\n")).await),
            _ => {}
        }
    }
}
