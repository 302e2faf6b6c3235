use std::{future::pending, ops::ControlFlow, sync::Arc, time::Duration};

use hostd_core::{Cause, Effect, Input, Lifecycle, Session, session::step};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::{JoinError, JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    FleetError,
    events::exit_code,
    fleet::{Handle, Host, over},
    now,
    running::Running,
    start::{NotStarted, Started, start},
    suspend::{Awake, resume, suspend},
};
use crate::store::{Machine, Owed, Record, StoreError};

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
    suspending: Option<JoinHandle<Result<Machine, Awake>>>,
    running: Option<Running>,
    place: Option<OwnedSemaphorePermit>,
    grace: Grace,
    /// Whoever waits for the session to be gone.
    deleters: Vec<Answer>,
    /// Waits for places, types messages; ended with the supervisor.
    tasks: JoinSet<()>,
    _gone: DropGuard,
}

/// A start or a resume under way.
struct Starting {
    generation: u64,
    resumes: bool,
    cancel: CancellationToken,
    task: JoinHandle<Result<Started, NotStarted>>,
}

/// How long a session that waits may go on waiting in memory.
#[derive(Default)]
struct Grace(Option<(Duration, Instant)>);

impl Grace {
    /// Begins to run, stops, or runs on.
    fn set(&mut self, after: Option<Duration>) {
        self.0 = match (after, self.0) {
            (Some(after), Some((same, until))) if after == same => Some((same, until)),
            (Some(after), _) => Some((after, Instant::now() + after)),
            (None, _) => None,
        };
    }

    async fn over(&self) {
        match self.0 {
            Some((_, until)) => tokio::time::sleep_until(until).await,
            None => pending().await,
        }
    }
}

/// What became of a start; an error where its task panicked.
type Start = Result<Result<Started, NotStarted>, JoinError>;

/// What woke the supervisor.
enum Woken {
    Message(Option<Message>),
    Start(Start),
    Suspend(Result<Machine, Awake>),
    Ended(Cause),
    Viewers,
    Busy,
    Quiet,
}

impl Supervisor {
    pub(super) fn new(host: Arc<Host>, handle: Arc<Handle>, inbox: mpsc::Receiver<Message>) -> Self {
        Self {
            host,
            inbox,
            owed: vec![],
            starting: None,
            suspending: None,
            running: None,
            place: None,
            grace: Grace::default(),
            deleters: vec![],
            tasks: JoinSet::new(),
            _gone: handle.gone.clone().drop_guard(),
            handle,
        }
    }

    pub(super) async fn run(mut self, first: Vec<Owed>) {
        let mut viewers = self.handle.terminal.viewers();
        let mut busy = self.handle.busy.subscribe();
        let mut flow = self.carry_out(first).await;
        self.look_at_grace();
        while flow.is_continue() {
            let woken = tokio::select! {
                message = self.inbox.recv() => Woken::Message(message),
                started = finished(self.starting.as_mut()) => Woken::Start(started),
                suspended = put_down(self.suspending.as_mut()) => Woken::Suspend(suspended),
                cause = ended(self.running.as_ref()) => Woken::Ended(cause),
                Ok(()) = viewers.changed() => Woken::Viewers,
                Ok(()) = busy.changed() => Woken::Busy,
                () = self.grace.over() => Woken::Quiet,
            };
            flow = match woken {
                Woken::Message(Some(message)) => self.message(message).await,
                Woken::Message(None) => ControlFlow::Break(()),
                Woken::Start(result) => self.start_ended(result).await,
                Woken::Suspend(result) => self.suspend_ended(result).await,
                Woken::Ended(cause) => self.vm_ended(cause).await,
                Woken::Busy => ControlFlow::Continue(()),
                Woken::Quiet => self.report(Input::Suspend).await,
                Woken::Viewers => {
                    self.host.board.session(self.handle.view());
                    ControlFlow::Continue(())
                }
            };
            while self.tasks.try_join_next().is_some() {}
            self.look_at_grace();
        }
    }

    /// Its grace runs while it waits and nobody uses it.
    fn look_at_grace(&mut self) {
        let record = self.handle.record.borrow().clone();
        let used = *self.handle.terminal.viewers().borrow() > 0 || *self.handle.busy.borrow() > 0;
        let after = record.machine.suspend_after.filter(|_| record.session.waits() && !used);
        self.grace.set(after.map(Duration::from_secs));
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
                Effect::Suspend => self.suspend(),
                Effect::Resume { generation } => self.resume(*generation),
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
        self.starting = Some(Starting { generation, resumes: false, cancel, task });
    }

    fn resume(&mut self, generation: u64) {
        let cancel = CancellationToken::new();
        let task = tokio::spawn(resume(self.host.clone(), self.handle.clone(), generation, cancel.clone()));
        self.starting = Some(Starting { generation, resumes: true, cancel, task });
    }

    /// A VM that ended this moment is reported as ended instead.
    fn suspend(&mut self) {
        if let Some(running) = self.running.take() {
            self.handle.live.send_replace(None);
            self.suspending = Some(tokio::spawn(suspend(self.host.clone(), self.handle.clone(), running)));
        }
    }

    async fn suspend_ended(&mut self, result: Result<Machine, Awake>) -> ControlFlow<()> {
        self.suspending = None;
        let input = match result {
            Ok(machine) => {
                self.change(machine);
                Input::Suspended
            }
            Err(Awake::Runs { running, why }) => {
                self.handle.live.send_replace(Some(running.live.clone()));
                self.running = Some(running);
                Input::SuspendFailed { why }
            }
            Err(Awake::Ended(cause)) => Input::VmEnded { generation: self.session().generation, cause },
        };
        self.report(input).await
    }

    /// What it is made from; committed with the input that follows.
    fn change(&self, machine: Machine) {
        self.handle.record.send_modify(|record| Arc::make_mut(record).machine = machine);
    }

    async fn start_ended(&mut self, result: Start) -> ControlFlow<()> {
        let Some(Starting { generation, resumes, .. }) = self.starting.take() else { return ControlFlow::Continue(()) };
        self.place = None;
        let result = match result {
            Ok(result) => result,
            Err(error) => Err(NotStarted::Failed(self.after_panic(&error).await)),
        };
        let input = match result {
            Ok(Started { running, machine }) => {
                self.handle.live.send_replace(Some(running.live.clone()));
                self.running = Some(running);
                self.change(machine);
                if resumes { Input::Resumed { generation } } else { Input::Started { generation } }
            }
            Err(NotStarted::Ended(cause)) => Input::VmEnded { generation, cause },
            Err(NotStarted::Failed(why)) if resumes => Input::ResumeFailed { why },
            Err(NotStarted::Failed(why)) => Input::StartFailed { generation, why },
            Err(NotStarted::Cancelled) => return ControlFlow::Continue(()),
        };
        self.report(input).await
    }

    /// Ends what a start may have left that did not come to its end.
    async fn after_panic(&self, error: &JoinError) -> String {
        if let Err(left) = self.host.parts.vmm.end_leftover(&self.host.directory(&self.handle.id)).await {
            tracing::error!(slug = self.session().slug, error = %left, "its VM may still run");
        }
        format!("hostd failed: {error}; please report this")
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
        if let Some(suspending) = self.suspending.take()
            && let Ok(Err(Awake::Runs { running, .. })) = suspending.await
        {
            running.end().await;
        }
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
        if let Some(suspending) = self.suspending.take() {
            let result = put_down(Some(&mut { suspending })).await;
            let _ = self.suspend_ended(result).await;
        }
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

async fn finished(starting: Option<&mut Starting>) -> Start {
    match starting {
        Some(starting) => (&mut starting.task).await,
        None => pending().await,
    }
}

async fn put_down(suspending: Option<&mut JoinHandle<Result<Machine, Awake>>>) -> Result<Machine, Awake> {
    match suspending {
        Some(task) => {
            task.await.unwrap_or_else(|error| Err(Awake::Ended(Cause::VmDied(format!("hostd failed: {error}")))))
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
