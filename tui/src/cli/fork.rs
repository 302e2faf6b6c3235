//! `fork`: makes another session from one as it is now, or was at a checkpoint.

use pilothouse_proto::hostd::v1::ForkRequest;

use super::{args::Fork, checkpoint, failure::Outcome, fleet::Fleet, format::plain, json, output, waiting};

/// Prints its id; it is on its way when this returns.
pub(crate) async fn run(fleet: &Fleet, options: Fork) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let from = options.from.map(|which| checkpoint::number(&found.it, which)).transpose()?;
    let (id, title) = (found.it.id, options.title.unwrap_or_default());
    let request = ForkRequest { id, title, budget_micros: options.budget, checkpoint: from.unwrap_or_default() };
    let mut sessions = found.host.sessions();
    let forked = waiting::shown("forking the session", sessions.fork(request)).await;
    let session = forked.map_err(|status| found.host.failure(&status))?.into_inner();
    if options.json {
        output::print_json(&json::Session::new(&found.host.name().await, &session))?;
    } else {
        output::print(&format!("{}\n", plain(&session.id)))?;
    }
    Ok(0)
}
