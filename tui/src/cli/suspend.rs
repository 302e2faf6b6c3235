//! `suspend`: puts a running session to disk.

use pilothouse_proto::hostd::v1::SuspendRequest;

use super::{args::Suspend, failure::Outcome, fleet::Fleet, json, output, waiting};

/// Returns when it is there; a session that cannot be suspended runs on.
pub(crate) async fn run(fleet: &Fleet, options: Suspend) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let request = SuspendRequest { id: found.it.id };
    let mut sessions = found.host.sessions();
    let suspended = waiting::shown("putting the session to disk", sessions.suspend(request)).await;
    let session = suspended.map_err(|status| found.host.failure(&status))?;
    if options.json {
        output::print_json(&json::Session::new(&found.host.name().await, session.get_ref()))?;
    }
    Ok(0)
}
