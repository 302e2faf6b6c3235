//! `allow`: lets a session reach a destination beside those of its recipe, or says which it asked for.

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::{AllowRequest, AllowResponse, Allowed, Refused, Session};
use serde::Serialize;

use super::{
    args::Allow,
    facts::lines,
    failure::{Failure, Outcome},
    fleet::Fleet,
    format::{age, plain},
    json, output,
};

/// What was allowed to a session, as `--json` prints it.
#[derive(Serialize)]
struct Done<'a> {
    /// The destination as `egress` of a recipe has it.
    entry: &'a str,
    /// Environment whose recipe has it now; null: it is the session's alone.
    environment: Option<&'a str>,
    /// File that the recipe came from, which does not have it.
    source: Option<&'a str>,
    /// Whether sessions to come have it only after the environment's next build.
    next_build: bool,
    session: json::Session<'a>,
}

/// Changes what the session may reach; without a destination, says what it may and what it was refused.
pub(crate) async fn run(fleet: &Fleet, options: Allow) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let Some(destination) = options.destination else {
        if options.json {
            let host = found.host.name().await;
            output::print_json(&json::Session::new(&host, &found.it).with_refused(&found.it).with_allowed(&found.it))?;
        } else {
            output::print(&listed(&found.it))?;
        }
        return Ok(0);
    };
    let Allow { private, remove, recipe, json, .. } = options;
    let request = AllowRequest { id: found.it.id.clone(), destination, private, remove, recipe };
    let answer = found.host.ask(found.host.sessions().allow(request)).await?;
    let session = answer.session.as_ref().ok_or_else(|| Failure::failed("the host says nothing of the session"))?;
    if json {
        let host = found.host.name().await;
        output::print_json(&Done {
            entry: &answer.entry,
            environment: Some(&*answer.environment).filter(|name| !name.is_empty()),
            source: Some(&*answer.source).filter(|source| is_file(source)),
            next_build: answer.next_build,
            session: json::Session::new(&host, session).with_refused(session).with_allowed(session),
        })?;
    } else {
        output::print(&said(&answer, &session.slug, remove))?;
    }
    Ok(0)
}

/// What was done, and what is left to do.
fn said(answer: &AllowResponse, slug: &str, remove: bool) -> String {
    let AllowResponse { entry, environment, source, next_build, .. } = answer;
    let (entry, slug) = (plain(entry), plain(slug));
    if remove {
        return format!("{slug} may not reach {entry} any more, but where its recipe says so\n");
    }
    let mut text = format!("{slug} may reach {entry}\n");
    if !environment.is_empty() {
        let from = if *next_build { " after its next build" } else { "" };
        text.push_str(&format!("sessions of {} to come may as well{from}\n", plain(environment)));
        if is_file(source) {
            text.push_str(&format!("add it to egress in {}, or its next build takes it back\n", plain(source)));
        }
    }
    text
}

/// Whether a recipe's source is a file that somebody keeps.
fn is_file(source: &str) -> bool {
    !matches!(source, "" | "built-in" | "registered")
}

/// What a session may reach beside its recipe, and what it was refused.
fn listed(session: &Session) -> String {
    let facts = vec![("allowed", allowed(session)), ("refused", all_refused(session))];
    match lines(&facts, output::colour()) {
        text if text.is_empty() => "nothing was refused, and nothing allowed beside its recipe\n".into(),
        text => text,
    }
}

/// Words about a destination that the session asked for and may not reach.
fn refused(refused: &Refused) -> String {
    let Refused { destination, why, count, last_at } = refused;
    let times = if *count == 1 { "once".into() } else { format!("{count} times") };
    let ago = age(*last_at, Timestamp::now());
    format!("{} {times}, last {ago} ago: {}", plain(destination), plain(why))
}

/// Destinations that the session asked for and may not reach, a line each.
pub(crate) fn all_refused(s: &Session) -> String {
    s.refused.iter().map(refused).collect::<Vec<_>>().join("\n")
}

/// Destinations that people have allowed a session, a line each.
pub(crate) fn allowed(session: &Session) -> String {
    let line = |Allowed { destination, private }: &Allowed| {
        let whichever = if *private { ", also at a private address" } else { "" };
        format!("{}{whichever}", plain(destination))
    };
    session.allowed.iter().map(line).collect::<Vec<_>>().join("\n")
}
