//! What a supervisor does for as long as it runs: it waits for whatever comes next, and sees to it.

use std::{ops::ControlFlow, time::Duration};

use hostd_core::{Actor, Cause, Input, Lifecycle, Session};

use super::{
    Supervisor,
    layers::room_again,
    signs::due,
    under_way::{Merged, Start, Step, Suspend, ended, finished, stepped},
    waits::over,
};
use crate::{
    sessions::message::{Answer, Message},
    store::Owed,
};

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
                    self.ctx.feed.session(self.handle.view());
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

    pub(super) async fn message(&mut self, message: Message) -> ControlFlow<()> {
        match message {
            Message::Command { actor, input, answer } => return self.command(actor, input, answer).await,
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

    async fn command(&mut self, actor: Actor, input: Input, answer: Answer) -> ControlFlow<()> {
        let delete = input == Input::Delete;
        // A deletion that failed is tried again, though the core has nothing to add.
        let again = delete && self.session().deleting;
        let effects = match self.feed_by(&actor, input).await {
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
    pub(super) async fn report(&mut self, input: Input) -> ControlFlow<()> {
        match self.feed(input).await {
            Ok(owed) => self.carry_out(owed).await,
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
