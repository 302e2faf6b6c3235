//! Another session from one, as people ask for it.

use std::collections::BTreeSet;

use hostd_core::{Session, session::NewFork};
use tokio::sync::oneshot;
use ulid::Ulid;

use super::{Fleet, create};
use crate::sessions::{
    error::FleetError,
    message::Command,
    registry::{Handle, Registry},
    view::SessionView,
};

/// A fork that somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForkOrder {
    /// Title for people; empty: it is made from the original's.
    pub title: String,
    /// User name of whoever asks.
    pub owner: String,
    /// Amount in millionths of a US dollar that models may cost it; 0: any; None: as much as the original's.
    pub budget: Option<u64>,
    /// Number of the session's checkpoint that it is made from; None: from the session as it is.
    pub from: Option<u64>,
}

impl Fleet {
    /// Makes another session from this one as it is at this moment, or after a merge of its layers that is under way while it
    /// runs; it is on its way when this returns.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::Invalid`] for a budget that is too great, [`FleetError::Denied`] where its state does not
    /// allow it, and [`FleetError::NotForked`]; the session goes on as it was, and nothing of a fork is left.
    pub async fn fork(&self, asked: &str, order: ForkOrder) -> Result<SessionView, FleetError> {
        if self.refresh.is_cancelled() {
            return Err(FleetError::Stopping);
        }
        self.takes_vms()?;
        create::check_budget(order.budget.unwrap_or_default())?;
        let handle = self.handle(asked)?;
        let from = order.from;
        if from.is_none() {
            handle.settled(Session::moves).await?;
        }
        let new = new_fork(self.registry(), &handle, order);
        let id = new.id.clone();
        let (answer, answered) = oneshot::channel();
        let sent = handle.commands.send(Command::Fork { new, from, answer }).await;
        sent.map_err(|_| FleetError::Stopping)?;
        answered.await.map_err(|_| FleetError::Stopping)??;
        self.get(&id)
    }
}

fn new_fork(registry: &Registry, handle: &Handle, order: ForkOrder) -> NewFork {
    let title = match order.title.trim() {
        "" => create::cut(&format!("fork of {}", handle.record.borrow().session.title)),
        title => create::cut(title),
    };
    let taken: BTreeSet<String> = registry.all().iter().map(|handle| handle.slug.clone()).collect();
    loop {
        let id = Ulid::new().to_string();
        let slug = create::slug(&id, &title);
        if !taken.contains(&slug) {
            return NewFork { id, slug, title, owner: order.owner, budget: order.budget };
        }
    }
}
