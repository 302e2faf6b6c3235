//! `restart`: boots a stopped or crashed session again.

use pilothouse_proto::hostd::v1::RestartRequest;

use super::{args::Restart, failure::Outcome, fleet::Fleet, json, output};

/// Restarts it; it is on its way when this returns.
pub(crate) async fn run(fleet: &Fleet, options: Restart) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let request = RestartRequest { id: found.it.id };
    let session = found.host.sessions().restart(request).await.map_err(|status| found.host.failure(&status))?;
    if options.json {
        output::print_json(&json::Session::new(&found.host.name().await, session.get_ref()))?;
    }
    Ok(0)
}
