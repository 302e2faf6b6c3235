//! Destinations that sessions were refused, as events of their stories.

use std::sync::Arc;

use hostd_core::{Actor, story::Event};
use tokio::sync::broadcast::error::RecvError;

use crate::{
    clock::now,
    gateway::Denied,
    sessions::{context::Context, registry::Registry},
};

/// Writes what sessions are refused into their stories, for ever. Refusals that the channel has dropped are left out.
pub(in crate::sessions) async fn tell(ctx: Arc<Context>, registry: Arc<Registry>) {
    let mut denials = ctx.gateway.denials();
    loop {
        match denials.recv().await {
            Ok(denied) => write(&ctx, &registry, &denied).await,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Builds and checks have the gateway, too, and no story.
async fn write(ctx: &Context, registry: &Registry, denied: &Denied) {
    let Some(handle) = registry.get(&denied.session) else { return };
    let person = handle.record.borrow().session.owner.clone();
    let actor = Actor::Session { slug: handle.slug.clone(), person };
    let text = format!("{}: {}", denied.refused.destination, denied.refused.why);
    if let Err(error) = ctx.store.add_event(Event::new(&handle.id, now(), actor, "refused", &text)).await {
        handle.span().in_scope(|| tracing::warn!(slug = handle.slug, %error, "a refusal is not in the story"));
    }
}
