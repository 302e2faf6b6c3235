//! `resume`: brings a suspended session back.

use pilothouse_proto::hostd::v1::ResumeRequest;

use super::{args::Resume, failure::Outcome, fleet::Fleet, json, output};

/// Returns when it runs.
pub(crate) async fn run(fleet: &Fleet, options: Resume) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let request = ResumeRequest { id: found.it.id };
    let session = found.host.sessions().resume(request).await.map_err(|status| found.host.failure(&status))?;
    if options.json {
        output::print_json(&json::Session::new(&found.host.name().await, session.get_ref()))?;
    }
    Ok(0)
}
