//! Stepping the core, keeping what comes of it, and carrying it out.

use std::{ops::ControlFlow, sync::Arc};

use hostd_core::{Actor, Effect, Input, Lifecycle, Session, attention, session::step, story::of_session};

use super::{Supervisor, no_output};
use crate::{
    clock::now,
    sessions::error::FleetError,
    store::{Owed, Record},
};

impl Supervisor {
    /// Steps the core and commits. What happened stays true where it cannot be committed: then it is kept in memory, and
    /// the next commit writes it.
    pub(super) async fn feed(&mut self, input: Input) -> Result<Vec<Owed>, FleetError> {
        let actor = reporter(&input, &self.handle.record.borrow().session);
        self.feed_by(&actor, input).await
    }

    /// The same on somebody's behalf.
    pub(super) async fn feed_by(&mut self, actor: &Actor, input: Input) -> Result<Vec<Owed>, FleetError> {
        let record = self.handle.record.borrow().clone();
        let at = now();
        let (session, effects) =
            step(&record.session, input.clone(), at).map_err(|denied| FleetError::Denied(denied.0))?;
        let settled: Vec<i64> =
            self.owed.extract_if(.., |owed| owed.effect.answered_by(&input)).map(|o| o.id).collect();
        if session == record.session && effects.is_empty() && settled.is_empty() {
            return Ok(vec![]);
        }
        let told = of_session(&record.session, &input, &session, actor, at);
        let next = Record { session, machine: record.machine.clone() };
        let owed = match self.ctx.store.commit(&next, effects.clone(), settled, told).await {
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
            let (from, to, reason) = (before.lifecycle.word(), after.lifecycle.word(), attention(&after, now()).reason);
            tracing::info!(slug = after.slug, from, to, reason, "session");
            if !after.lifecycle.has_vm() {
                self.ctx.rooms.freed();
            }
            match no_output(&after) {
                Some(reason) => self.handle.terminal.end(reason),
                None if after.lifecycle == Lifecycle::Queued => self.handle.terminal.expect(),
                None => {}
            }
        }
        self.ctx.feed.session(self.handle.view());
    }

    pub(super) async fn carry_out(&mut self, owed: Vec<Owed>) -> ControlFlow<()> {
        for owed in owed {
            match &owed.effect {
                Effect::Admit => self.admit(),
                Effect::Start { generation } => self.start(*generation),
                Effect::Type { generation, message } => self.type_message(*generation, message.clone(), false),
                Effect::Press { generation, message } => self.type_message(*generation, message.clone(), true),
                Effect::Observe => self.observe(),
                Effect::Tell { generation, wait, answer } => self.tell(*generation, *wait, answer.clone()),
                Effect::End => self.end_synced().await,
                Effect::Remove => return self.remove().await,
                Effect::Suspend => self.suspend(),
                Effect::Resume { generation } => self.resume(*generation),
            }
            self.owed.push(owed);
        }
        ControlFlow::Continue(())
    }
}

/// Whether a command may be refused because it cannot be kept. A deletion may not: it is what makes room on a full disk.
fn refusable(input: &Input) -> bool {
    matches!(
        input,
        Input::Restart { .. } | Input::Suspend | Input::Resume | Input::Fork | Input::Send(_) | Input::HostStops
    )
}

/// On whose behalf something is reported.
fn reporter(input: &Input, session: &Session) -> Actor {
    match input {
        Input::AgentStatus { .. }
        | Input::Seen { .. }
        | Input::WaitBegan { .. }
        | Input::WaitWithdrawn { .. }
        | Input::AgentExited { .. } => Actor::Session { slug: session.slug.clone(), person: session.owner.clone() },
        Input::Observed(_) => Actor::local_forge(),
        _ => Actor::Host,
    }
}
