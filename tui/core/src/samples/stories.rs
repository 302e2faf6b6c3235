//! A session's story.

use super::{MINUTE, NOW, report};
use crate::{
    Report, State,
    story::{Event, StoryReport},
};

/// What happened to a session, the oldest first.
pub(crate) fn story() -> Vec<Event> {
    let told = [
        (95, "anna", "created", "in demo: Please pick a database and open a pull request."),
        (94, "hostd", "started", "the agent, in a microVM of its own"),
        (60, "agent of anna", "opened", "#12 into main: Keep widgets in a database"),
        (59, "agent of anna", "waits", "for its checks"),
        (58, "hostd", "suspended", "waits on checks"),
        (41, "forge local", "checks", "of #12 failed: unit"),
        (41, "forge local", "woken", "for the answer: checks of #12 failed"),
        (40, "hostd", "resumed", "runs on where it was"),
        (30, "agent of anna", "pushed", "#12 revision 2, which replaces commits of the one before"),
        (
            12,
            "bert",
            "changes-requested",
            "#12 revision 2: the pool of connections is never closed, see the other service",
        ),
        (2, "agent of anna", "asks", "Which database should the widget store use?"),
        (0, "hostd", "oom-killed", "cc1plus, for want of memory"),
    ];
    let event = |(id, (minutes, who, what, text)): (i64, (i64, &str, &str, &str))| Event {
        id,
        at: NOW - minutes * MINUTE,
        who: who.into(),
        what: what.into(),
        text: text.into(),
    };
    (500..).zip(told).map(event).collect()
}

/// Gives the story that is read these events.
pub(crate) fn tell(state: &mut State, events: Vec<Event>) {
    let ticket = state.story.as_ref().unwrap().ticket;
    report(state, Report::Story(ticket, StoryReport::Events(events)));
}
