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
        for handle in registry.all() {
            let works_there = {
                let session = &handle.record.borrow().session;
                let here = session.repository.as_ref().filter(|_| session.forge == *ctx.forge.id());
                here.is_some_and(|name| hint.as_ref().is_none_or(|hint| *name == hint.repository))
            };
            let concerned = hint.as_ref().and_then(|hint| hint.sessions.as_ref());
            if works_there && concerned.is_none_or(|ids| ids.contains(&handle.id)) {
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
