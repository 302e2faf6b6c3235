//! What a supervisor does for as long as it runs: it waits for whatever comes next, and sees to it.

use std::{ops::ControlFlow, time::Duration};

use hostd_core::{Actor, Cause, Input, Lifecycle, Session, reports::Report as Said, session::Message, usage::Spending};
use tokio::{sync::watch, time::Instant};
use tracing::Instrument as _;

use super::{
    Supervisor,
    checkpoints::Schedule,
    layers::room_again,
    reports::Pace,
    signs::due,
    standstill::Overtaken,
    under_way::{Merged, Start, Step, Suspend, Taken, ended, finished, stepped, taken},
    waits::over,
};
use crate::{
    log,
    sessions::{
        background::last_events,
        drain::Drained,
        error::FleetError,
        message::{Answer, Command, Report},
        vm::{fork::Wish, site::Hooked},
    },
    store::{Machine, Numbered, OutboxEntry},
    terminals::Signs,
};

/// What an agent is told that goes on with its conversation.
const INTERRUPTED: &str = "You were interrupted: this machine, or you alone, ended and was started again from its disk. What was not \
    written to disk is gone. Look at where you were, and go on.";

/// What woke the supervisor.
enum Woken {
    Overtaken(Overtaken),
    Command(Option<Command>),
    Report(Option<Report>),
    Start(Start),
    Suspend(Suspend),
    Merged(Merged),
    Fork(Step),
    Taken(Taken),
    Ended(Cause),
    /// What is shown of the session beside its record has changed.
    Shown,
    Busy,
    /// The host was drained, or takes VMs again.
    Drained,
    ForgeNews,
    Signs,
    Answers(Spending),
    Reported,
    ReportsDue,
    TimeIsUp(u64),
    LimitIsOver,
    RestartIsDue,
    CheckpointDue,
    Room,
    Quiet,
}

/// What a supervisor watches of its session's outside.
struct Watched {
    viewers: watch::Receiver<usize>,
    busy: watch::Receiver<usize>,
    forge_news: watch::Receiver<()>,
    signs: watch::Receiver<()>,
    output: watch::Receiver<Signs>,
    spending: watch::Receiver<Spending>,
    reported: watch::Receiver<()>,
    hooks: watch::Receiver<Option<Hooked>>,
    refusal: watch::Receiver<Option<Said>>,
    last_event: watch::Receiver<Option<Numbered>>,
    drained: watch::Receiver<Option<Drained>>,
}

impl Supervisor {
    pub(super) async fn run(mut self, first: Vec<OutboxEntry>) {
        let mut watched = Watched {
            viewers: self.handle.terminal.viewers(),
            busy: self.handle.busy.subscribe(),
            forge_news: self.handle.forge_news.subscribe(),
            signs: self.handle.terminal.seen(),
            output: self.handle.terminal.signs(),
            spending: self.handle.spending.subscribe(),
            reported: self.handle.terminal.reported(),
            hooks: self.handle.hooks.subscribe(),
            refusal: self.refusal.clone(),
            last_event: self.handle.last_event.subscribe(),
            drained: self.ctx.drain.changes(),
        };
        self.look_at_terminal().await;
        let mut flow = self.carry_out(first).await;
        // What happened before anybody could find it here.
        last_events::read(&self.ctx, &self.handle).await;
        self.look_at_grace();
        self.look_at_schedule();
        self.look_at_layers();
        while flow.is_continue() {
            self.look_at_forks().await;
            let woken = self.wait(&mut watched).await;
            flow = self.woken(woken).await;
            while self.tasks.try_join_next().is_some() {}
            self.look_at_grace();
            self.look_at_schedule();
            self.look_at_layers();
            self.look_at_place();
        }
    }

    async fn wait(&mut self, watched: &mut Watched) -> Woken {
        if let Some(overtaken) = self.overtaken.take() {
            return Woken::Overtaken(overtaken);
        }
        let (limit, signs_due, reports_due) = (self.limit(), self.signs_due, self.pace.next());
        let reads_rows = self.reads_rows();
        let checkpoint_due = self.schedule.due();
        let (goes_on_at, restarts_at) = {
            let session = &self.handle.record.borrow().session;
            (session.goes_on_at(), session.restarts_at())
        };
        // Where no VM is taken it stays crashed, and whoever looks for it finds it so.
        let restarts_at = restarts_at.filter(|_| watched.drained.borrow_and_update().is_none());
        tokio::select! {
            command = self.commands.recv() => Woken::Command(command),
            report = self.reports.recv() => Woken::Report(report),
            started = finished(self.starting.as_mut().map(|starting| &mut starting.task)) => Woken::Start(started),
            suspended = finished(self.suspending.as_mut()) => Woken::Suspend(suspended),
            // Not while a start, a suspend or a fork has the layers in hand.
            merged = finished(self.merging.as_mut().map(|merging| &mut merging.task)),
                if self.starting.is_none() && self.suspending.is_none() && self.forking.is_none() => Woken::Merged(merged),
            step = stepped(self.forking.as_mut()) => Woken::Fork(step),
            taken = taken(self.adopting.as_mut()) => Woken::Taken(taken),
            cause = ended(self.running.as_ref()) => Woken::Ended(cause),
            Ok(()) = watched.viewers.changed() => Woken::Shown,
            Ok(()) = watched.last_event.changed() => Woken::Shown,
            Ok(()) = watched.busy.changed() => Woken::Busy,
            Ok(()) = watched.forge_news.changed() => Woken::ForgeNews,
            Ok(()) = watched.signs.changed() => Woken::Signs,
            () = due(signs_due) => Woken::Signs,
            Ok(()) = watched.output.changed(), if reads_rows => Woken::Reported,
            Ok(()) = watched.spending.changed() => Woken::Answers(*watched.spending.borrow_and_update()),
            Ok(()) = watched.reported.changed() => Woken::Reported,
            Ok(()) = watched.hooks.changed() => Woken::Reported,
            Ok(()) = watched.refusal.changed() => Woken::Reported,
            () = Pace::due(reports_due) => Woken::ReportsDue,
            id = over(limit) => Woken::TimeIsUp(id),
            () = due(goes_on_at) => Woken::LimitIsOver,
            () = due(restarts_at) => Woken::RestartIsDue,
            Ok(()) = watched.drained.changed() => Woken::Drained,
            () = Schedule::over(checkpoint_due) => Woken::CheckpointDue,
            () = room_again(self.no_merge_before) => Woken::Room,
            () = self.grace.over() => Woken::Quiet,
        }
    }

    async fn woken(&mut self, woken: Woken) -> ControlFlow<()> {
        match woken {
            Woken::Overtaken(Overtaken::Deletion) => return self.remove().await,
            Woken::Overtaken(Overtaken::Stop(until, vms)) => {
                self.stop(until, vms).await;
                return ControlFlow::Break(());
            }
            Woken::Command(Some(command)) => return self.command(command).await,
            Woken::Report(Some(report)) => return self.reported(report).await,
            Woken::Command(None) | Woken::Report(None) => return ControlFlow::Break(()),
            Woken::Start(result) => return self.start_ended(result).await,
            Woken::Suspend(result) => return self.suspend_ended(result).await,
            Woken::Merged(result) => return self.merged(result).await,
            Woken::Fork(step) => return self.fork_stepped(step).await,
            Woken::Taken(taken) => return self.taken(taken).await,
            Woken::Ended(cause) => return self.vm_ended(cause).await,
            Woken::Signs => return self.look_at_signs().await,
            Woken::Answers(spending) => return self.report(Input::Answers { spending }).await,
            Woken::Reported => return self.reports_changed().await,
            Woken::ReportsDue => return self.look_at_reports().await,
            Woken::TimeIsUp(id) => return self.report(Input::TimeIsUp { id }).await,
            Woken::LimitIsOver => {
                // What has happened meanwhile counts more.
                self.pace.hurry();
                self.look_at_reports().await?;
                return self.report(Input::LimitIsOver).await;
            }
            Woken::RestartIsDue => {
                let before = self.session();
                let mut restarted = self.feed(Input::RestartIsDue).await;
                if let Ok(entries) = restarted {
                    restarted = Ok(self.told_of_restart(&before, entries).await);
                }
                return self.carry_out_taken(restarted).await;
            }
            // Whatever it says of itself, a model or a server is answering it.
            Woken::Quiet if self.running.as_ref().is_some_and(|running| running.live.link.streams()) => {
                self.grace.put_off();
            }
            Woken::Quiet => {
                self.grace.again();
                let obeyed = self.obey(&Actor::Host, Input::Suspend).await;
                return self.carry_out_taken(obeyed).await;
            }
            Woken::CheckpointDue => self.checkpoint_is_due().await,
            Woken::Busy | Woken::Drained => {}
            Woken::ForgeNews => self.news(),
            Woken::Room => self.no_merge_before = None,
            Woken::Shown => self.ctx.feed.session(self.handle.view()),
        }
        ControlFlow::Continue(())
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

    async fn command(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Do { actor, input, answer } => {
                let span = log::on_behalf(&actor);
                return self.commanded(actor, input, answer).instrument(span).await;
            }
            Command::Fork { new, from: Some(number), answer } => {
                let _ = answer.send(self.fork_checkpoint(number, new).await);
            }
            Command::Fork { new, from: None, answer } => self.want_fork(Wish::Fork(new), answer),
            Command::Checkpoint { actor, answer } => self.want_fork(Wish::Checkpoint { by: actor }, answer),
            Command::Restore { number, actor, answer } => return self.restore(number, &actor, answer).await,
            Command::Stop { until, vms } => {
                self.stop(until, vms).await;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn commanded(&mut self, actor: Actor, input: Input, answer: Answer) -> ControlFlow<()> {
        if matches!(input, Input::AnswerPermission { .. }) {
            // What is answered is what is asked at this moment.
            self.pace.hurry();
            self.look_at_reports().await?;
        }
        let delete = input == Input::Delete;
        let before = matches!(input, Input::Restart { .. }).then(|| self.session());
        // A deletion that failed is tried again, though the core has nothing to add.
        let again = delete && self.session().deleting;
        let entries = match self.obey(&actor, input).await {
            Ok(entries) => match before {
                Some(before) => self.told_of_restart(&before, entries).await,
                None => entries,
            },
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
        if again { self.remove().await } else { self.carry_out(entries).await }
    }

    /// Tells an agent that was interrupted, is to be started again now, and goes on with its conversation, that it was.
    async fn told_of_restart(&mut self, before: &Session, mut entries: Vec<OutboxEntry>) -> Vec<OutboxEntry> {
        let restarted = before.lifecycle != Lifecycle::Queued && self.session().lifecycle == Lifecycle::Queued;
        if restarted && before.was_interrupted() && self.machine().agent.is_some_and(|agent| agent.goes_on().is_some())
        {
            // Its program shows the conversation again and waits.
            let told = self.obey(&Actor::Host, Input::Send(Message::of_restart(INTERRUPTED))).await;
            entries.extend(told.unwrap_or_default());
        }
        entries
    }

    pub(super) async fn reported(&mut self, report: Report) -> ControlFlow<()> {
        match report {
            Report::Guest { generation, input, sequence, committed } => {
                if self.handle.hooks.borrow().as_ref().is_some_and(|hook| hook.sequence < sequence) {
                    // The guest does not tell the next hostd of it once this is committed.
                    self.pace.hurry();
                    self.look_at_reports().await?;
                }
                let exit = exit_code(&self.session(), &input);
                let input = self.with_last_line(input).await;
                if exit.is_some() {
                    self.pace.hurry();
                    self.look_at_refusal(Instant::now()).await?;
                }
                let mut machine = self.machine();
                if generation == self.session().generation {
                    machine.heard = sequence;
                }
                let taken = self.feed_with(input, machine).await;
                if taken.is_ok() {
                    let _ = committed.send(());
                    exit.into_iter().for_each(|code| self.handle.terminal.agent_exited(code));
                }
                self.carry_out_taken(taken).await
            }
            Report::Admitted(place) => {
                self.place = Some(place);
                self.report(Input::Admitted).await
            }
            Report::NoPlace(input) | Report::Typed(input) => self.report(input).await,
            Report::Observed { reading, seen } => {
                if self.read(reading) {
                    self.report(Input::Observed(seen)).await
                } else {
                    ControlFlow::Continue(())
                }
            }
            Report::Delivered { generation, known: true } => self.report(Input::Delivered { generation }).await,
            Report::Delivered { generation, known: false } => self.report(Input::NotDelivered { generation }).await,
            Report::LinkLost { generation } => {
                let Some(running) = self.running.take_if(|running| running.generation == generation) else {
                    return ControlFlow::Continue(());
                };
                self.handle.live.send_replace(None);
                let cause = running.why_silent(self.ctx.timings.link_lost).await;
                running.end().await;
                self.report(Input::VmEnded { generation, cause }).await
            }
        }
    }

    /// Takes the reports that have come already, unless one of them is overtaken.
    pub(super) async fn take_reports(&mut self) -> ControlFlow<()> {
        for _ in 0..self.reports.len() {
            if self.overtaken.is_none()
                && let Ok(report) = self.reports.try_recv()
            {
                self.reported(report).await?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Takes a report of what happened: it cannot be refused.
    pub(super) async fn report(&mut self, input: Input) -> ControlFlow<()> {
        let machine = self.machine();
        self.report_with(input, machine).await
    }

    /// The same where what happened changes what the session is made from.
    pub(super) async fn report_with(&mut self, input: Input, machine: Machine) -> ControlFlow<()> {
        let taken = self.feed_with(input, machine).await;
        self.carry_out_taken(taken).await
    }

    async fn carry_out_taken(&mut self, taken: Result<Vec<OutboxEntry>, FleetError>) -> ControlFlow<()> {
        match taken {
            Ok(entries) => self.carry_out(entries).await,
            Err(error) => {
                tracing::error!(slug = self.session().slug, %error, "a report was not taken");
                ControlFlow::Continue(())
            }
        }
    }
}

/// Whether this input says how the agent ended.
fn exit_code(session: &Session, input: &Input) -> Option<i32> {
    match input {
        Input::AgentExited { generation, code, .. } if *generation == session.generation => Some(*code),
        _ => None,
    }
}
