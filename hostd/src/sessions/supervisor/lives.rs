//! The VM's lives: started, put to disk, brought back, ended.

use std::{future::pending, ops::ControlFlow, sync::Arc, time::Duration};

use hostd_core::{Cause, Input, Lifecycle, queue::Purpose};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Starting, Supervisor};
use crate::{
    sessions::{
        diff,
        message::{Message, Place},
        pool,
        running::Running,
        start::{NotStarted, Started, start},
        suspend::{Awake, forget_snapshot, resume, suspend},
    },
    store::Machine,
};

/// For the last output of an agent that has ended to be read; its children may hold its terminal for longer.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// What became of a start; an error where its task panicked.
pub(super) type Start = Result<Result<Started, NotStarted>, JoinError>;
/// The same of a suspend.
pub(super) type Suspend = Result<Result<Machine, Awake>, JoinError>;
/// A suspend under way.
pub(super) type Suspending = JoinHandle<Result<Machine, Awake>>;

impl Supervisor {
    pub(super) fn admit(&mut self) {
        let (host, messages, session) = (self.host.clone(), self.handle.messages.clone(), self.session());
        let boots = session.lifecycle == Lifecycle::Queued;
        let record = self.handle.record.borrow().clone();
        let looking = self.tasks.spawn(async move {
            let purpose = if boots { Purpose::Start } else { Purpose::Resume };
            let own = async {
                let processor = if boots { host.places.clone().acquire_owned().await.ok() } else { None };
                match host.admit(purpose, session.size.memory, &messages).await {
                    // A booting guest takes a processor; one that is resumed does not.
                    Ok(memory) => Message::Admitted(Place::holding((processor, memory))),
                    Err(why) => Message::NoPlace(Input::Refused { why }),
                }
            };
            let message = tokio::select! {
                biased;
                warm = pool::reserved(&host, &record) => Message::Admitted(Place::holding(warm)),
                message = own => message,
            };
            let _ = messages.send(message).await;
        });
        if let Some(before) = self.looking.replace(looking) {
            before.abort();
        }
    }

    pub(super) fn start(&mut self, generation: u64) {
        let cancel = CancellationToken::new();
        let task = tokio::spawn(start(self.host.clone(), self.handle.clone(), generation, cancel.clone()));
        self.starting = Some(Starting { generation, resumes: false, cancel, task });
    }

    pub(super) fn resume(&mut self, generation: u64) {
        self.look_at_layers();
        if self.merging.is_some() {
            self.resumes = Some(generation);
            return;
        }
        let cancel = CancellationToken::new();
        let task = tokio::spawn(resume(self.host.clone(), self.handle.clone(), generation, cancel.clone()));
        self.starting = Some(Starting { generation, resumes: true, cancel, task });
    }

    /// A VM that ended this moment is reported as ended instead.
    pub(super) fn suspend(&mut self) {
        if let Some(running) = self.running.take() {
            self.handle.live.send_replace(None);
            self.suspending = Some(tokio::spawn(suspend(self.host.clone(), self.handle.clone(), running)));
        }
    }

    pub(super) async fn suspend_ended(&mut self, result: Suspend) -> ControlFlow<()> {
        let input = self.suspended(result).await;
        self.report(input).await
    }

    /// What the core is told of it.
    pub(super) async fn suspended(&mut self, result: Suspend) -> Input {
        self.suspending = None;
        let result = match result {
            Ok(result) => result,
            Err(error) => Err(Awake::Ended(Cause::VmDied(self.after_panic(&error).await))),
        };
        match result {
            Ok(mut machine) => {
                // Reports that came before its link was closed may have been taken since this was made.
                machine.heard = machine.heard.max(self.handle.record.borrow().machine.heard);
                self.change(machine);
                Input::Suspended
            }
            Err(Awake::Runs { running, why }) => {
                self.handle.live.send_replace(Some(running.live.clone()));
                self.running = Some(running);
                tracing::warn!(slug = self.session().slug, why, "not suspended");
                Input::SuspendFailed { why: self.within(&why) }
            }
            Err(Awake::Ended(cause)) => Input::VmEnded { generation: self.session().generation, cause },
        }
    }

    /// What went wrong with the session's own files, without the long path of its folder.
    fn within(&self, why: &str) -> String {
        why.replace(&format!("{}/", self.host.directory(&self.handle.id).display()), "")
    }

    /// What it is made from; committed with the input that follows.
    pub(super) fn change(&self, machine: Machine) {
        self.handle.record.send_modify(|record| Arc::make_mut(record).machine = machine);
    }

    pub(super) async fn start_ended(&mut self, result: Start) -> ControlFlow<()> {
        let Some(Starting { generation, resumes, .. }) = self.starting.take() else { return ControlFlow::Continue(()) };
        self.place = None;
        let result = match result {
            Ok(result) => result,
            Err(error) => Err(NotStarted::Failed(self.after_panic(&error).await)),
        };
        let mut more = None;
        let input = match result {
            Ok(Started { running, mut machine, why_booted, broken }) => {
                more = match (broken, why_booted) {
                    (Some(why), _) => Some(Input::RepositoryBroken { generation, why }),
                    (None, why) => why.map(|why| Input::Booted { generation, why }),
                };
                if resumes {
                    machine.heard = machine.heard.max(self.handle.record.borrow().machine.heard);
                }
                self.handle.live.send_replace(Some(running.live.clone()));
                self.running = Some(running);
                self.change(machine);
                if resumes { Input::Resumed { generation } } else { Input::Started { generation } }
            }
            Err(NotStarted::Ended(cause)) => Input::VmEnded { generation, cause },
            Err(NotStarted::Failed(why)) if resumes => Input::ResumeFailed { why: self.within(&why) },
            Err(NotStarted::Failed(why)) => Input::StartFailed { generation, why },
            Err(NotStarted::Cancelled) => return ControlFlow::Continue(()),
        };
        let booted_anew = matches!(input, Input::Started { .. });
        if booted_anew || matches!(input, Input::Resumed { .. }) {
            diff::forget(&self.host, &self.handle.id).await;
        }
        let flow = self.report(input).await;
        if booted_anew {
            forget_snapshot(&self.host, &self.handle.id).await;
        }
        match more {
            Some(input) if flow.is_continue() => self.report(input).await,
            _ => flow,
        }
    }

    /// What is said of a start or a suspend that did not come to its end.
    pub(super) async fn after_panic(&self, error: &JoinError) -> String {
        self.end_left().await;
        format!("hostd failed: {error}; please report this")
    }

    /// Ends what such a one may have left.
    pub(super) async fn end_left(&self) {
        let own = self.host.directory(&self.handle.id);
        for folder in self.host.pool.taken(&self.handle.id).into_iter().chain([own]) {
            if let Err(left) = self.host.parts.vmm.end_leftover(&folder).await {
                tracing::error!(slug = self.session().slug, error = %left, "its VM may still run");
            }
        }
    }

    pub(super) async fn vm_ended(&mut self, cause: Cause) -> ControlFlow<()> {
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

    /// An agent that ended badly mostly says why.
    pub(super) async fn with_last_line(&self, input: Input) -> Input {
        match input {
            Input::AgentExited { generation, code, .. } if code != 0 => {
                let last = self.handle.terminal.last_line(LAST_OUTPUT).await;
                Input::AgentExited { generation, code, last }
            }
            input => input,
        }
    }

    /// The same, and what its guest has written is on its disk: it will boot from that.
    pub(super) async fn end_synced(&mut self) {
        if let Some(running) = &self.running {
            running.sync().await;
        }
        self.end().await;
    }

    /// Ends whatever runs or starts; reports nothing.
    pub(super) async fn end(&mut self) {
        self.settle_fork().await;
        self.handle.live.send_replace(None);
        self.end_merge().await;
        if let Some(starting) = self.starting.take() {
            starting.cancel.cancel();
            match starting.task.await {
                Ok(Ok(started)) => started.running.end().await,
                Ok(Err(_)) => {}
                Err(error) => drop(self.after_panic(&error).await),
            }
        }
        self.place = None;
        if let Some(suspending) = self.suspending.take() {
            match suspending.await {
                Ok(Err(Awake::Runs { running, .. })) => running.end().await,
                Ok(_) => {}
                Err(error) => drop(self.after_panic(&error).await),
            }
        }
        if let Some(running) = self.running.take() {
            running.end().await;
        }
        self.host.parts.rooms.freed();
    }
}

pub(super) async fn finished<T>(task: Option<&mut JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => pending().await,
    }
}

pub(super) async fn ended(running: Option<&Running>) -> Cause {
    match running {
        Some(running) => running.live.vm.ended().await,
        None => pending().await,
    }
}
