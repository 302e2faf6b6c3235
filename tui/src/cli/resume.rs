//! `resume`: brings a suspended session back.

use pilothouse_proto::hostd::v1::ResumeRequest;

use super::{args::Resume, failure::Outcome, fleet::Fleet, format::plain, json, output, waiting};

/// Returns when it runs, or when its host has no room for it now: it is resumed by itself then.
pub(crate) async fn run(fleet: &Fleet, options: Resume) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let request = ResumeRequest { id: found.it.id };
    let mut sessions = found.host.sessions();
    let resumed = waiting::shown("resuming the session", sessions.resume(request)).await;
    let session = resumed.map_err(|status| found.host.failure(&status))?.into_inner();
    if options.json {
        output::print_json(&json::Session::new(&found.host.name().await, &session))?;
    } else if session.lifecycle == "suspended" {
        output::note(&format!("{} {}; it is resumed when there is room", plain(&session.slug), plain(&session.reason)));
    }
    Ok(0)
}
