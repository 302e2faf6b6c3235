//! The last event of each session's story, which its view shows.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use crate::{
    sessions::{
        context::Context,
        registry::{Handle, Registry},
    },
    store::ALL_EVENTS,
};

/// Passes on what the stories gain, for ever.
pub(in crate::sessions) async fn pass_on(ctx: Arc<Context>, registry: Arc<Registry>) {
    let mut stories = ctx.store.stories();
    loop {
        match stories.recv().await {
            Ok(event) => {
                if let Some(handle) = registry.get(&event.event.session) {
                    handle.happened((*event).clone());
                }
            }
            Err(RecvError::Lagged(_)) => {
                for handle in registry.all() {
                    read(&ctx, &handle).await;
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Reads what happened last to a session.
pub(in crate::sessions) async fn read(ctx: &Context, handle: &Handle) {
    match ctx.store.events(&handle.id, ALL_EVENTS, 1).await {
        Ok(events) => events.into_iter().for_each(|event| handle.happened(event)),
        Err(error) => {
            handle.span().in_scope(|| tracing::warn!(slug = handle.slug, %error, "its story cannot be read"));
        }
    }
}
