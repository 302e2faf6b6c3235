//! The shape of an event of a session.

use pilothouse_proto::hostd::v1 as api;
use serde::Serialize;

use crate::cli::format::time;

/// One thing that happened to a session: a line of `events`, and `last_event` of a session.
#[derive(Debug, Serialize)]
pub(crate) struct Event<'a> {
    id: i64,
    at: String,
    actor: Actor<'a>,
    what: &'a str,
    text: &'a str,
}

/// On whose behalf something was done.
#[derive(Debug, Serialize)]
struct Actor<'a> {
    kind: &'a str,
    name: &'a str,
    /// User name of the person on whose behalf it acts; empty: none, or not known.
    person: &'a str,
}

impl<'a> Event<'a> {
    /// The shape of this event.
    pub(crate) fn new(event: &'a api::Event) -> Self {
        let api::Event { id, at, actor, what, text } = event;
        let actor = actor.as_ref().map_or(Actor { kind: "host", name: "", person: "" }, |actor| Actor {
            kind: &actor.kind,
            name: &actor.name,
            person: &actor.person,
        });
        Self { id: *id, at: time(*at), actor, what, text }
    }
}
