//! `events`: a session's story.

use pilothouse_proto::hostd::v1::{Event, EventsRequest, EventsResponse};
use tonic::Streaming;
use tui_core::story::Mood;

use super::{
    args::Events,
    failure::{Failure, NOT_FOUND, Outcome},
    fleet::{Fleet, Host},
    format::{plain, time},
    json, output,
    table::Tone,
};
use crate::actor;

/// Columns for who did it, and for what was done.
const WHO: usize = 16;
const WHAT: usize = 17;
/// Characters of the id of a session that is gone.
const WHOLE_ID: usize = 26;

/// Prints it, as it comes.
pub(crate) async fn run(fleet: &Fleet, options: Events) -> Outcome {
    let (host, mut story) = open(fleet, &options).await?;
    while let Some(part) = story.message().await.map_err(|status| host.failure(&status))? {
        for event in &part.events {
            if options.json {
                output::print_line(&json::Event::new(event))?;
            } else {
                output::print(&line(event, output::colour()))?;
            }
        }
    }
    Ok(0)
}

/// The story, and the host that has it. A session that is gone is found by its whole id, on the host that remembers it.
async fn open<'a>(fleet: &'a Fleet, options: &Events) -> Result<(&'a Host, Streaming<EventsResponse>), Failure> {
    let ask = async |host: &Host, id: String| {
        let request =
            EventsRequest { id, limit: options.limit.unwrap_or(0), follow: options.follow, ..Default::default() };
        host.sessions().events(request).await.map_err(|status| host.failure(&status))
    };
    let missing = match fleet.session(&options.id).await {
        Ok(found) => return Ok((found.host, ask(found.host, found.it.id).await?.into_inner())),
        Err(failure) if failure.exit == NOT_FOUND && options.id.len() == WHOLE_ID => failure,
        Err(failure) => return Err(failure),
    };
    for host in fleet.hosts() {
        if let Ok(story) = ask(host, options.id.to_ascii_uppercase()).await {
            return Ok((host, story.into_inner()));
        }
    }
    Err(missing)
}

/// One event, for a person.
fn line(event: &Event, colour: bool) -> String {
    let when = Tone::Dim.paint(&time(event.at), colour);
    let who = actor::words(event.actor.as_ref());
    let what = format!("{:WHAT$}", plain(&event.what));
    format!("{when}  {who:WHO$}  {}  {}\n", tone(&event.what).paint(&what, colour), plain(&event.text))
}

fn tone(what: &str) -> Tone {
    match Mood::of(what) {
        Mood::Bad => Tone::Bad,
        Mood::Asks => Tone::Warn,
        Mood::Good => Tone::Good,
        Mood::Plain => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_proto::hostd::v1::Actor;

    use super::*;

    fn event(kind: &str, name: &str, person: &str) -> Event {
        let actor = Some(Actor { kind: kind.into(), name: name.into(), person: person.into() });
        Event { id: 7, at: 0, actor, what: "approved".into(), text: "#3 \u{1b}[31mred".into() }
    }

    #[test]
    fn a_line_says_who_did_what_and_nothing_else_to_the_terminal() {
        let cases = [
            (event("person", "ann", "ann"), "ann"),
            (event("session", "fix", "ann"), "agent of ann"),
            (event("session", "fix", ""), "agent fix"),
            (event("host", "", ""), "hostd"),
            (event("forge", "local", ""), "forge local"),
        ];
        for (event, expected) in cases {
            let line = line(&event, false);
            assert!(line.contains(&format!("  {expected:WHO$}  approved ")), "{line:?}");
            assert!(!line.contains('\u{1b}') && line.ends_with("red\n"), "{line:?}");
        }
        assert!(line(&event("person", "ann", "ann"), true).contains("\u{1b}[32mapproved"));
    }

    #[test]
    fn json_names_the_actor() {
        let json = serde_json::to_string(&json::Event::new(&event("session", "fix", "ann"))).unwrap();
        assert!(json.contains(r#""actor":{"kind":"session","name":"fix","person":"ann"},"what":"approved""#), "{json}");
    }
}
