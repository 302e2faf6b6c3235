//! The forge's hints, on their way to the sessions that they may concern.

use std::sync::Arc;

use crate::{
    forge::Heard,
    sessions::{context::Context, registry::Registry},
};

/// Passes hints on, for ever.
pub(in crate::sessions) async fn pass_on(ctx: Arc<Context>, registry: Arc<Registry>) {
    let mut hints = ctx.forge.hints();
    while let Some(hint) = hints.next().await.map(Heard::hint) {
        let concerned = match &hint {
            Some(hint) => ctx.forge.concerned(hint).await,
            None => None,
        };
        for handle in registry.all() {
            let of = handle.record.borrow().session.repository.clone();
            let there = of.is_some() && hint.as_ref().is_none_or(|hint| of.as_ref() == Some(&hint.repository));
            if there && concerned.as_ref().is_none_or(|ids| ids.contains(&handle.id)) {
                handle.forge_news.send_replace(());
            }
        }
    }
}

/// Which checks CI runs may have changed.
pub(in crate::sessions) fn environments_changed(registry: &Registry) {
    for handle in registry.all() {
        if handle.record.borrow().session.repository.is_some() {
            handle.forge_news.send_replace(());
        }
    }
}
