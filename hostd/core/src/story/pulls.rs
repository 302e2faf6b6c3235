use super::Event;
use crate::{
    UnixMillis,
    actor::Actor,
    pulls::{PullRequest, PullState, Verdict, Who, WhyClosed},
};

/// What a change of a pull request adds to the story of the session whose work it is. `before` is None for a new one; `person` is
/// the user name of whoever that session belongs to, empty where it is not known.
#[must_use]
pub fn of_pull(before: Option<&PullRequest>, after: &PullRequest, person: &str, now: UnixMillis) -> Vec<Event> {
    let PullRequest { number, author, .. } = after;
    let event =
        |at, actor, what, text: &str| Event::new(&author.session, at, actor, what, &format!("#{number} {text}"));
    let session = || Actor::Session { slug: author.slug.clone(), person: person.into() };
    let Some(before) = before else {
        return vec![event(
            after.created_at,
            session(),
            "opened",
            &format!("into {}: {}", after.base_branch, after.title),
        )];
    };
    let mut events = Vec::new();
    for revision in after.revisions.iter().filter(|revision| revision.number > before.revision()) {
        let how = if revision.forced { ", which replaces commits of the one before" } else { "" };
        events.push(event(revision.at, session(), "pushed", &format!("revision {}{how}", revision.number)));
    }
    let known = before.reviews.last().map_or(0, |review| review.id);
    for review in after.reviews.iter().filter(|review| review.id > known) {
        let what = match review.verdict {
            Verdict::Comment => "commented",
            Verdict::Approve => "approved",
            Verdict::RequestChanges => "changes-requested",
        };
        let body = if review.body.is_empty() { String::new() } else { format!(": {}", review.body) };
        events.push(event(review.at, of(&review.who), what, &format!("revision {}{body}", review.revision)));
    }
    events.extend(match (&before.state, &after.state) {
        (PullState::Merged(_), PullState::Merged(_)) | (PullState::Closed(_), PullState::Closed(_)) => None,
        (_, PullState::Merged(merge)) => {
            Some(event(merge.at, Actor::person(&*merge.by), "merged", &format!("into {}", after.base_branch)))
        }
        (_, PullState::Closed(closing)) => {
            let actor = match &closing.why {
                WhyClosed::By(name) => Actor::person(&**name),
                WhyClosed::HeadGone | WhyClosed::BaseGone => Actor::forge(&after.forge),
            };
            Some(event(closing.at, actor, "closed", &closing.why.to_string()))
        }
        (PullState::Closed(_), PullState::Open) => {
            let forge = || Actor::forge(&after.forge);
            let actor = after.reopened_by.as_deref().map_or_else(forge, Actor::person);
            Some(event(now, actor, "reopened", "is open again"))
        }
        _ => None,
    });
    events
}

fn of(who: &Who) -> Actor {
    match &who.session {
        Some(_) => Actor::Session { slug: who.name.clone(), person: String::new() },
        None => Actor::person(&*who.name),
    }
}
