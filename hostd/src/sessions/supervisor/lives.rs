//! The VM's lives: started, put to disk, brought back, ended.

use std::{ops::ControlFlow, time::Duration};

use futures::FutureExt as _;
use hostd_core::{Cause, Input, Lifecycle, Session, capacity::Need, profile::Task, queue::Purpose};
use tokio::{task::JoinError, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    Supervisor,
    under_way::{Start, Starting, Suspend},
};
use crate::{
    admission::Kind,
    guest_vm::end_orphan,
    sessions::{
        disk::merge::Plan,
        message::{Place, Report},
        vm::{
            resume::{Awake, resume},
            start::{NotStarted, Started, start},
            suspend::suspend,
        },
    },
    store::Machine,
};

/// For the last output of an agent that has ended to be read; its children may hold its terminal for longer.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// For a VM that is to be ended to be taken over first.
const ADOPTION: Duration = Duration::from_secs(20);

impl Supervisor {
    /// Looks for a place to start in: a warm VM, or room for one of its own.
    pub(super) fn admit(&mut self) {
        let (ctx, pool, reports) = (self.ctx.clone(), self.all.pool.clone(), self.handle.reports.clone());
        let record = self.handle.record.borrow().clone();
        let boots = record.session.lifecycle == Lifecycle::Queued;
        let looking = self.tasks.spawn(async move {
            let purpose = if boots { Purpose::Start } else { Purpose::Resume };
            let need = Need { memory: record.session.size.memory, disk: 0 };
            let say = |why| async {
                // Nobody hears it where the session is gone, and its wait with it.
                let _ = reports.send(Report::NoPlace(Input::Waits { why })).await;
            };
            let own = async {
                // A booting guest takes a processor; one that is resumed does not.
                let processor = if boots { ctx.turns.starts.clone().acquire_owned().await.ok() } else { None };
                match ctx.admission.admit(Kind::Session, purpose, need, say).await {
                    Ok(memory) => Report::Admitted(Place::holding((processor, memory))),
                    Err(why) => Report::NoPlace(Input::Refused { why }),
                }
            };
            let report = tokio::select! {
                biased;
                warm = pool.reserved(&record, || ctx.has_disk()) => Report::Admitted(Place::holding(warm)),
                report = own => report,
            };
            let _ = reports.send(report).await;
        });
        if let Some(before) = self.looking.replace(looking) {
            before.abort();
        }
    }

    /// A place for a session that is to come back from disk, where the host has one now and nobody waits before it. Where hostd
    /// ends nothing comes back any more.
    pub(super) fn place_at_once(&self, session: &Session) -> Option<Place> {
        if session.lifecycle != Lifecycle::Suspended || self.ctx.closing.is_cancelled() {
            return None;
        }
        let need = Need { memory: session.size.memory, disk: 0 };
        let say = |_| std::future::ready(());
        let admitted = self.ctx.admission.admit(Kind::Session, Purpose::Resume, need, say).now_or_never();
        admitted.and_then(Result::ok).map(Place::holding)
    }

    pub(super) fn start(&mut self, generation: u64) {
        let cancel = CancellationToken::new();
        let (pool, record, folder) = (self.all.pool.clone(), self.site.record(), self.site.folder.clone());
        let meter = self.ctx.meter.clone();
        let warm = async move {
            let (session, machine) = (&record.session, &record.machine);
            let taken = pool.take(&session.id, &session.build, &folder, &machine.disk).await;
            // Of a build without a template there is none, and what has lived before has a disk of its own.
            if machine.template.is_some() && generation <= 1 {
                meter.asked_pool(taken.is_some());
            }
            taken
        };
        let task =
            tokio::spawn(start(self.site.clone(), generation, warm, cancel.clone()).instrument(self.span.clone()));
        self.starting = Some(Starting { generation, resumes: false, cancel, task });
    }

    pub(super) fn resume(&mut self, generation: u64) {
        self.look_at_layers();
        // Else its VM is told of the merge when that is done, and lets go of what was merged.
        let is_behind = || Plan::of(&self.ctx.data, &self.machine()).is_some_and(|plan| plan.is_behind());
        if self.merging.is_some() && is_behind() {
            self.resumes = Some(generation);
            return;
        }
        let cancel = CancellationToken::new();
        let task = tokio::spawn(resume(self.site.clone(), generation, cancel.clone()).instrument(self.span.clone()));
        self.starting = Some(Starting { generation, resumes: true, cancel, task });
    }

    /// A VM that ended this moment is reported as ended instead.
    pub(super) fn suspend(&mut self) {
        if let Some(running) = self.running.take() {
            self.handle.live.send_replace(None);
            self.suspending = Some(tokio::spawn(suspend(self.site.clone(), running).instrument(self.span.clone())));
        }
    }

    pub(super) async fn suspend_ended(&mut self, result: Suspend) -> ControlFlow<()> {
        match self.suspended(result).await {
            Some((input, machine)) => self.report_with(input, machine).await,
            None => ControlFlow::Continue(()),
        }
    }

    /// What the core is told of it, and what the session is made from then; None: nothing, it is the next hostd's.
    pub(super) async fn suspended(&mut self, result: Suspend) -> Option<(Input, Machine)> {
        self.suspending = None;
        let before = self.machine();
        let result = match result {
            Ok(result) => result,
            Err(error) => Err(Awake::Ended(Cause::VmDied(self.after_panic(&error).await))),
        };
        Some(match result {
            Ok(mut machine) => {
                // Reports that came before its link was closed may have been taken since this was made.
                machine.heard = machine.heard.max(before.heard);
                (Input::Suspended, machine)
            }
            Err(Awake::Runs { running, why }) => {
                self.handle.live.send_replace(Some(running.live.clone()));
                self.running = Some(running);
                tracing::warn!(slug = self.session().slug, why, "not suspended");
                (Input::SuspendFailed { why: self.within(&why) }, before)
            }
            Err(Awake::Ended(cause)) => (Input::VmEnded { generation: self.session().generation, cause }, before),
            Err(Awake::Left) => return None,
        })
    }

    /// What went wrong with the session's own files, without the long path of its folder.
    pub(super) fn within(&self, why: &str) -> String {
        why.replace(&format!("{}/", self.site.folder.path().display()), "")
    }

    pub(super) async fn start_ended(&mut self, result: Start) -> ControlFlow<()> {
        let Some(Starting { generation, resumes, .. }) = self.starting.take() else { return ControlFlow::Continue(()) };
        self.place = None;
        let result = match result {
            Ok(result) => result,
            Err(error) => Err(NotStarted::Failed(self.after_panic(&error).await)),
        };
        let (mut first, mut more, mut made_from) = (None, None, self.machine());
        let input = match result {
            Ok(Started { running, mut machine, anew, answered, why_booted, broken }) => {
                first = anew.then(|| self.began_anew(generation));
                more = match (broken, why_booted) {
                    (Some(why), _) => Some(Input::RepositoryBroken { generation, why }),
                    (None, why) => why.map(|why| Input::Booted { generation, why }),
                };
                if resumes {
                    machine.heard = machine.heard.max(made_from.heard);
                }
                self.handle.live.send_replace(Some(running.live.clone()));
                self.running = Some(running);
                made_from = machine;
                if resumes { Input::Resumed { generation, answered } } else { Input::Started { generation } }
            }
            Err(NotStarted::Ended(cause)) => Input::VmEnded { generation, cause },
            Err(NotStarted::Failed(why)) if resumes => Input::ResumeFailed { why: self.within(&why) },
            Err(NotStarted::Failed(why)) => Input::StartFailed { generation, why },
            Err(NotStarted::Cancelled) => return ControlFlow::Continue(()),
        };
        let booted_anew = matches!(input, Input::Started { .. });
        if booted_anew || matches!(input, Input::Resumed { .. }) {
            self.site.folder.forget_changes().await;
        }
        if let Some(input) = first {
            self.report(input).await?;
        }
        // What was seen while it had no VM may be over.
        self.pace.again(Duration::ZERO);
        let flow = self.report_with(input, made_from).await;
        if booted_anew {
            self.site.folder.forget_snapshot().await;
        }
        match more {
            Some(input) if flow.is_continue() => self.report(input).await,
            _ => flow,
        }
    }

    /// That its agent has begun anew, which is to be known before it is given what waits for it.
    fn began_anew(&self, generation: u64) -> Input {
        let typed = self.machine().agent.is_some_and(|agent| agent.profile.task == Task::Typed);
        Input::BeganAnew { generation, typed }
    }

    /// What is said of a start or a suspend that did not come to its end.
    pub(super) async fn after_panic(&self, error: &JoinError) -> String {
        self.end_left().await;
        format!("hostd failed: {error}; please report this")
    }

    /// Ends what such a one may have left.
    pub(super) async fn end_left(&self) {
        let own = self.site.folder.path().to_owned();
        for folder in self.all.pool.taken(&self.handle.id).into_iter().chain([own]) {
            end_orphan(&*self.ctx.vmm, &folder, "the VM of a session").await;
        }
    }

    pub(super) async fn vm_ended(&mut self, cause: Cause) -> ControlFlow<()> {
        let Some(running) = self.running.take() else { return ControlFlow::Continue(()) };
        let generation = running.generation;
        self.handle.live.send_replace(None);
        running.last_words().await;
        // Reports that it sent before it ended come first.
        self.take_reports().await?;
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
        // Where it is not this hostd's by then it is ended synced, too.
        let _ = self.settle_adoption(Instant::now() + ADOPTION).await;
        if let Some(running) = &self.running {
            running.sync().await;
        }
        self.end().await;
    }

    /// Ends whatever runs or starts; reports nothing.
    pub(super) async fn end(&mut self) {
        self.settle_fork().await;
        self.handle.live.send_replace(None);
        self.end_adoption().await;
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
        self.ctx.admission.freed();
    }
}
