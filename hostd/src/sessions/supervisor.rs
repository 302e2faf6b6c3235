//! One task for each session: it feeds the core, commits, carries out, and owns the VM.

mod commit;
mod fork;
mod grace;
mod layers;
mod lives;
mod remove;
mod signs;
mod stop;
mod typing;
mod waits;

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc, time::Duration};

use hostd_core::{Cause, Input, Lifecycle, Session, UnixMillis, session::NewFork};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{
    fork::{Forking, Step, stepped},
    grace::Grace,
    layers::{Merged, Merging, room_again},
    lives::{Start, Suspend, Suspending, ended, finished},
    signs::due,
    waits::{Reading, over},
};
use super::{
    events::exit_code,
    handle::{Handle, Host},
    layers::Plan,
    message::{Answer, Message, Place},
    running::Running,
    start::{NotStarted, Started},
};
use crate::store::Owed;

/// Owns one session: its state, its VM, its files.
pub(super) struct Supervisor {
    host: Arc<Host>,
    handle: Arc<Handle>,
    inbox: mpsc::Receiver<Message>,
    /// Being carried out; their answers settle them.
    owed: Vec<Owed>,
    starting: Option<Starting>,
    suspending: Option<Suspending>,
    forking: Option<Forking>,
    /// That wait for their turn, oldest first.
    forks: VecDeque<(NewFork, Answer)>,
    running: Option<Running>,
    merging: Option<Merging>,
    /// Could not be merged.
    unmerged: Option<Plan>,
    /// There was no room for a merge.
    no_merge_before: Option<Instant>,
    /// A resume that waits for the merge, so that the chain does not grow.
    resumes: Option<u64>,
    place: Option<Place>,
    /// Looks for a place.
    looking: Option<AbortHandle>,
    reading: Reading,
    grace: Grace,
    /// When its terminal may show another sign although nothing happens there.
    signs_due: Option<UnixMillis>,
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

/// What woke the supervisor.
enum Woken {
    Message(Option<Message>),
    Start(Start),
    Suspend(Suspend),
    Merged(Merged),
    Fork(Step),
    Ended(Cause),
    Viewers,
    Busy,
    ForgeNews,
    Signs,
    TimeIsUp(u64),
    Room,
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
            forking: None,
            forks: VecDeque::new(),
            running: None,
            merging: None,
            unmerged: None,
            no_merge_before: None,
            resumes: None,
            place: None,
            looking: None,
            reading: Reading::default(),
            grace: Grace::default(),
            signs_due: None,
            deleters: vec![],
            tasks: JoinSet::new(),
            _gone: handle.gone.clone().drop_guard(),
            handle,
        }
    }

    pub(super) async fn run(mut self, first: Vec<Owed>) {
        let mut viewers = self.handle.terminal.viewers();
        let mut busy = self.handle.busy.subscribe();
        let mut forge_news = self.handle.forge_news.subscribe();
        let mut signs = self.handle.terminal.seen();
        let mut flow = self.carry_out(first).await;
        self.look_at_grace();
        self.look_at_layers();
        while flow.is_continue() {
            self.look_at_forks().await;
            let (limit, signs_due) = (self.limit(), self.signs_due);
            let woken = tokio::select! {
                message = self.inbox.recv() => Woken::Message(message),
                started = finished(self.starting.as_mut().map(|starting| &mut starting.task)) => Woken::Start(started),
                suspended = finished(self.suspending.as_mut()) => Woken::Suspend(suspended),
                // Not while a start, a suspend or a fork has the layers in hand.
                merged = finished(self.merging.as_mut().map(|merging| &mut merging.task)),
                    if self.starting.is_none() && self.suspending.is_none() && self.forking.is_none() => Woken::Merged(merged),
                step = stepped(self.forking.as_mut()) => Woken::Fork(step),
                cause = ended(self.running.as_ref()) => Woken::Ended(cause),
                Ok(()) = viewers.changed() => Woken::Viewers,
                Ok(()) = busy.changed() => Woken::Busy,
                Ok(()) = forge_news.changed() => Woken::ForgeNews,
                Ok(()) = signs.changed() => Woken::Signs,
                () = due(signs_due) => Woken::Signs,
                id = over(limit) => Woken::TimeIsUp(id),
                () = room_again(self.no_merge_before) => Woken::Room,
                () = self.grace.over() => Woken::Quiet,
            };
            flow = match woken {
                Woken::Message(Some(message)) => self.message(message).await,
                Woken::Message(None) => ControlFlow::Break(()),
                Woken::Start(result) => self.start_ended(result).await,
                Woken::Suspend(result) => self.suspend_ended(result).await,
                Woken::Merged(result) => self.merged(result).await,
                Woken::Fork(step) => self.fork_stepped(step).await,
                Woken::Ended(cause) => self.vm_ended(cause).await,
                Woken::Busy => ControlFlow::Continue(()),
                Woken::ForgeNews => {
                    self.news();
                    ControlFlow::Continue(())
                }
                Woken::Signs => self.look_at_signs().await,
                Woken::Room => {
                    self.no_merge_before = None;
                    ControlFlow::Continue(())
                }
                Woken::TimeIsUp(id) => self.report(Input::TimeIsUp { id }).await,
                Woken::Quiet => {
                    self.grace.again();
                    self.report(Input::Suspend).await
                }
                Woken::Viewers => {
                    self.host.board.session(self.handle.view());
                    ControlFlow::Continue(())
                }
            };
            while self.tasks.try_join_next().is_some() {}
            self.look_at_grace();
            self.look_at_layers();
            self.look_at_place();
        }
    }

    /// Its grace runs while it waits and nobody uses it.
    fn look_at_grace(&mut self) {
        let record = self.handle.record.borrow().clone();
        let used = *self.handle.terminal.viewers().borrow() > 0 || *self.handle.busy.borrow() > 0;
        let after = record.machine.suspend_after.filter(|_| record.session.waits() && !used);
        self.grace.set(after.map(Duration::from_secs));
    }

    /// A place that is not wanted any more is not looked for, nor held.
    fn look_at_place(&mut self) {
        let session = self.session();
        if session.lifecycle != Lifecycle::Queued && !session.wanted {
            if let Some(looking) = self.looking.take() {
                looking.abort();
            }
            if self.starting.is_none() && self.resumes.is_none() {
                self.place = None;
            }
        }
    }

    async fn message(&mut self, message: Message) -> ControlFlow<()> {
        match message {
            Message::Command { input, answer } => return self.command(input, answer).await,
            Message::Fork { new, answer } => self.want_fork(new, answer),
            Message::Report { input, sequence, done } => {
                self.heard(sequence);
                let exit = exit_code(&self.session(), &input);
                let input = self.with_last_line(input).await;
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
            Message::NoPlace(input) => return self.report(input).await,
            Message::Typed(input) => return self.report(input).await,
            Message::Observed { reading, seen } => {
                if self.read(reading) {
                    return self.report(Input::Observed(seen)).await;
                }
            }
            Message::Told { generation, known: true } => return self.report(Input::Told { generation }).await,
            Message::Told { generation, known: false } => return self.report(Input::NotTold { generation }).await,
            Message::LinkLost { generation } => {
                if let Some(running) = self.running.take_if(|running| running.generation == generation) {
                    self.handle.live.send_replace(None);
                    running.end().await;
                    return self.report(Input::VmEnded { generation, cause: Cause::LinkLost }).await;
                }
            }
            Message::Stop { until } => {
                self.stop(until).await;
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

    fn session(&self) -> Session {
        self.handle.record.borrow().session.clone()
    }
}
