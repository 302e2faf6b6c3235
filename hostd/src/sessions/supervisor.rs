use std::{future::pending, ops::ControlFlow, sync::Arc};

use hostd_core::{Cause, Effect, Input, Lifecycle, Session, session::step};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    FleetError,
    events::exit_code,
    fleet::{Handle, Host, over},
    now,
    running::Running,
    start::{NotStarted, Started, start},
};
use crate::store::{Owed, Record, StoreError};

/// Who is told what became of a command.
type Answer = oneshot::Sender<Result<(), FleetError>>;

/// What a supervisor is told from outside.
pub(super) enum Message {
    /// A person's command.
    Command {
        /// Which.
        input: Input,
        /// Told when it is committed, or why not; of a deletion: when all is gone.
        answer: Answer,
    },
    /// Something happened in the guest.
    Report {
        /// What.
        input: Input,
        /// Told when it is committed.
        done: oneshot::Sender<()>,
    },
    /// There is a place to start in; held until it runs.
    Admitted(OwnedSemaphorePermit),
    /// The oldest message was typed, or will not be.
    Typed {
        /// Into which VM.
        generation: u64,
        /// It was.
        done: bool,
    },
    /// The link stayed down.
    LinkLost {
        /// Of which VM.
        generation: u64,
    },
    /// hostd ends: power off.
    Stop,
}

/// Owns one session: its state, its VM, its files.
pub(super) struct Supervisor {
    host: Arc<Host>,
    handle: Arc<Handle>,
    inbox: mpsc::Receiver<Message>,
    /// Being carried out; their answers settle them.
    owed: Vec<Owed>,
    starting: Option<Starting>,
    running: Option<Running>,
    place: Option<OwnedSemaphorePermit>,
    /// Whoever waits for the session to be gone.
    deleters: Vec<Answer>,
    /// Waits for places, types messages; ended with the supervisor.
    tasks: JoinSet<()>,
    _gone: DropGuard,
}

struct Starting {
    generation: u64,
    cancel: CancellationToken,
    task: JoinHandle<Result<Started, NotStarted>>,
}

/// What woke the supervisor.
enum Woken {
    Message(Option<Message>),
    Start(Result<Started, NotStarted>),
    Ended(Cause),
    Viewers,
}

impl Supervisor {
    pub(super) fn new(host: Arc<Host>, handle: Arc<Handle>, inbox: mpsc::Receiver<Message>) -> Self {
        Self {
            host,
            inbox,
            owed: vec![],
            starting: None,
            running: None,
            place: None,
            deleters: vec![],
            tasks: JoinSet::new(),
            _gone: handle.gone.clone().drop_guard(),
            handle,
        }
    }

    pub(super) async fn run(mut self, first: Vec<Owed>) {
        let mut viewers = self.handle.terminal.viewers();
        let mut flow = self.carry_out(first).await;
        while flow.is_continue() {
            let woken = tokio::select! {
                message = self.inbox.recv() => Woken::Message(message),
                started = finished(self.starting.as_mut()) => Woken::Start(started),
                cause = ended(self.running.as_ref()) => Woken::Ended(cause),
                Ok(()) = viewers.changed() => Woken::Viewers,
            };
            flow = match woken {
                Woken::Message(Some(message)) => self.message(message).await,
                Woken::Message(None) => ControlFlow::Break(()),
                Woken::Start(result) => self.start_ended(result).await,
                Woken::Ended(cause) => self.vm_ended(cause).await,
                Woken::Viewers => {
                    self.host.board.session(self.handle.view());
                    ControlFlow::Continue(())
                }
            };
            while self.tasks.try_join_next().is_some() {}
        }
    }

    async fn message(&mut self, message: Message) -> ControlFlow<()> {
        match message {
            Message::Command { input, answer } => return self.command(input, answer).await,
            Message::Report { input, done } => {
                let exit = exit_code(&self.session(), &input);
                let flow = self.report(input).await;
                if let Some(code) = exit {
                    self.handle.terminal.agent_exited(code);
                }
                let _ = done.send(());
                return flow;
            }
            Message::Admitted(place) => {
                self.place = Some(place);
                return self.report(Input::Admitted).await;
            }
            Message::Typed { generation, done: true } => return self.report(Input::Typed { generation }).await,
            Message::Typed { generation, done: false } => return self.report(Input::NotTyped { generation }).await,
            Message::LinkLost { generation } => {
                if let Some(running) = self.running.take_if(|running| running.generation == generation) {
                    self.handle.live.send_replace(None);
                    running.end().await;
                    return self.report(Input::VmEnded { generation, cause: Cause::LinkLost }).await;
                }
            }
            Message::Stop => {
                self.stop().await;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn command(&mut self, input: Input, answer: Answer) -> ControlFlow<()> {
        let delete = input == Input::Delete;
        // A deletion that failed is tried again, though the core has nothing to add.
        let again = delete && self.session().deleting;
        let effects = match self.feed(input).await {
            Ok(owed) => owed,
            Err(error) => {
                let _ = answer.send(Err(error));
                return ControlFlow::Continue(());
            }
        };
        if delete {
            self.deleters.push(answer);
        } else {
            let _ = answer.send(Ok(()));
        }
        if again { self.remove().await } else { self.carry_out(effects).await }
    }

    /// Something that happened; it cannot be refused.
    async fn report(&mut self, input: Input) -> ControlFlow<()> {
        match self.feed(input).await {
            Ok(owed) => self.carry_out(owed).await,
            Err(error) => {
                tracing::error!(slug = self.session().slug, %error, "a report was not taken");
                ControlFlow::Continue(())
            }
        }
    }

    /// Steps the core and commits. What happened stays true where it cannot be committed: then it is kept in memory, and
    /// the next commit writes it.
    async fn feed(&mut self, input: Input) -> Result<Vec<Owed>, FleetError> {
        let record = self.handle.record.borrow().clone();
        let (session, effects) =
            step(&record.session, input.clone(), now()).map_err(|denied| FleetError::Denied(denied.0))?;
        let settled: Vec<i64> =
            self.owed.extract_if(.., |owed| owed.effect.answered_by(&input)).map(|o| o.id).collect();
        if session == record.session && effects.is_empty() && settled.is_empty() {
            return Ok(vec![]);
        }
        let next = Record { session, machine: record.machine.clone() };
        let owed = match self.host.parts.store.commit(&next, effects.clone(), settled).await {
            Ok(owed) => owed,
            Err(error) if refusable(&input) => return Err(error.into()),
            Err(error) => {
                tracing::error!(slug = next.session.slug, %error, "kept in memory only");
                effects.into_iter().map(|effect| Owed { id: 0, effect }).collect()
            }
        };
        self.publish(&record.session, next);
        Ok(owed)
    }

    fn publish(&self, before: &Session, next: Record) {
        let after = next.session.clone();
        self.handle.record.send_replace(Arc::new(next));
        if before.lifecycle != after.lifecycle {
            tracing::info!(slug = after.slug, from = before.lifecycle.word(), to = after.lifecycle.word(), "session");
            match over(&after) {
                Some(reason) => self.handle.terminal.end(reason),
                None if after.lifecycle == Lifecycle::Queued => self.handle.terminal.expect(),
                None => {}
            }
        }
        self.host.board.session(self.handle.view());
    }

    async fn carry_out(&mut self, owed: Vec<Owed>) -> ControlFlow<()> {
        for owed in owed {
            match &owed.effect {
                Effect::Admit => self.admit(),
                Effect::Start { generation } => self.start(*generation),
                Effect::Type { generation, text } => self.type_message(*generation, text.clone()),
                Effect::End => self.end().await,
                Effect::Remove => return self.remove().await,
                Effect::Suspend | Effect::Resume { .. } => {
                    let why = "this hostd cannot suspend sessions yet".to_owned();
                    let answer = match &owed.effect {
                        Effect::Suspend => Input::SuspendFailed { why },
                        _ => Input::ResumeFailed { why },
                    };
                    // Neither asks for more than messages to be typed.
                    if let Ok(more) = self.feed(answer).await {
                        for next in more {
                            if let Effect::Type { generation, text } = &next.effect {
                                self.type_message(*generation, text.clone());
                            }
                            self.owed.push(next);
                        }
                    }
                    continue;
                }
            }
            self.owed.push(owed);
        }
        ControlFlow::Continue(())
    }

    fn admit(&mut self) {
        let (places, messages) = (self.host.places.clone(), self.handle.messages.clone());
        self.tasks.spawn(async move {
            if let Ok(place) = places.acquire_owned().await {
                let _ = messages.send(Message::Admitted(place)).await;
            }
        });
    }

    fn start(&mut self, generation: u64) {
        let cancel = CancellationToken::new();
        let task = tokio::spawn(start(self.host.clone(), self.handle.clone(), generation, cancel.clone()));
        self.starting = Some(Starting { generation, cancel, task });
    }

    async fn start_ended(&mut self, result: Result<Started, NotStarted>) -> ControlFlow<()> {
        let Some(Starting { generation, .. }) = self.starting.take() else { return ControlFlow::Continue(()) };
        self.place = None;
        let input = match result {
            Ok(Started { running, phases }) => {
                self.handle.live.send_replace(Some(running.live.clone()));
                self.running = Some(running);
                self.handle.record.send_modify(|record| Arc::make_mut(record).machine.phases = phases);
                Input::Started { generation }
            }
            Err(NotStarted::Ended(cause)) => Input::VmEnded { generation, cause },
            Err(NotStarted::Failed(why)) => Input::StartFailed { generation, why },
            Err(NotStarted::Cancelled) => return ControlFlow::Continue(()),
        };
        self.report(input).await
    }

    async fn vm_ended(&mut self, cause: Cause) -> ControlFlow<()> {
        let Some(running) = self.running.take() else { return ControlFlow::Continue(()) };
        let generation = running.generation;
        self.handle.live.send_replace(None);
        running.last_words().await;
        // Reports that it sent before it ended come first.
        while let Ok(message) = self.inbox.try_recv() {
            if self.message(message).await.is_break() {
                return ControlFlow::Break(());
            }
        }
        self.report(Input::VmEnded { generation, cause }).await
    }

    fn type_message(&mut self, generation: u64, text: String) {
        let (terminal, messages) = (self.handle.terminal.clone(), self.handle.messages.clone());
        self.tasks.spawn(async move {
            let done = terminal.type_message(&text).await.is_ok();
            let _ = messages.send(Message::Typed { generation, done }).await;
        });
    }

    /// Ends whatever runs or starts; reports nothing.
    async fn end(&mut self) {
        self.handle.live.send_replace(None);
        if let Some(starting) = self.starting.take() {
            starting.cancel.cancel();
            if let Ok(Ok(started)) = starting.task.await {
                started.running.end().await;
            }
        }
        self.place = None;
        if let Some(running) = self.running.take() {
            running.end().await;
        }
    }

    async fn remove(&mut self) -> ControlFlow<()> {
        self.end().await;
        self.tasks.abort_all();
        let result = self.remove_files().await;
        for deleter in self.deleters.drain(..) {
            let _ = deleter.send(result.as_ref().map(|&()| ()).map_err(|why| FleetError::NotRemoved(why.clone())));
        }
        match result {
            Ok(()) => ControlFlow::Break(()),
            Err(error) => {
                tracing::error!(slug = self.session().slug, error, "the session was not removed");
                ControlFlow::Continue(())
            }
        }
    }

    async fn remove_files(&self) -> Result<(), String> {
        let id = &self.handle.id;
        let directory = self.host.directory(id);
        fail::fail_point!("delete::before-files");
        match tokio::fs::remove_dir_all(&directory).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", directory.display()));
            }
            _ => {}
        }
        fail::fail_point!("delete::after-files");
        self.host.parts.store.remove(id).await.map_err(|error: StoreError| error.to_string())?;
        self.handle.terminal.end("the session was deleted".into());
        self.host.handles().remove(id);
        self.host.board.removed(id);
        Ok(())
    }

    /// hostd ends. What had not begun begins again with the next hostd.
    async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.handle.live.send_replace(None);
            let generation = running.generation;
            let in_order = running.power_off().await;
            let _ = self.report(Input::VmEnded { generation, cause: Cause::HostStopped { in_order } }).await;
        }
        self.end().await;
    }

    fn session(&self) -> Session {
        self.handle.record.borrow().session.clone()
    }
}

/// Whether a command may be refused because it cannot be kept. A deletion may not: it is what makes room on a full disk.
fn refusable(input: &Input) -> bool {
    matches!(input, Input::Restart | Input::Suspend | Input::Resume | Input::Send { .. })
}

async fn finished(starting: Option<&mut Starting>) -> Result<Started, NotStarted> {
    match starting {
        Some(starting) => {
            (&mut starting.task).await.unwrap_or_else(|error| Err(NotStarted::Failed(format!("hostd failed: {error}"))))
        }
        None => pending().await,
    }
}

async fn ended(running: Option<&Running>) -> Cause {
    match running {
        Some(running) => running.live.vm.ended().await,
        None => pending().await,
    }
}
