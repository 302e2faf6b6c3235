//! `send`: types a message to the agent.

use pilothouse_proto::hostd::v1::SendRequest;

use super::{args::Send, failure::Outcome, fleet::Fleet, json, output};

/// Sends it.
pub(crate) async fn run(fleet: &Fleet, options: Send) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let request = SendRequest { id: found.it.id.clone(), text: options.text.join(" ") };
    found.host.sessions().send(request).await.map_err(|status| found.host.failure(&status))?;
    if options.json {
        output::print_json(&json::Session::new(&found.host.name().await, &found.it))?;
    }
    Ok(0)
}
