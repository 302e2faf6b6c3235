//! `log`: what the agent's terminal, or the guest's serial console, showed.

mod harmless;

use pilothouse_proto::hostd::v1::LogRequest;

use super::{args::Log, failure::Outcome, fleet::Fleet, output};
use harmless::Harmless;

/// Prints it.
pub(crate) async fn run(fleet: &Fleet, options: Log) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let request = LogRequest { id: found.it.id, serial: options.serial };
    let failure = |status| found.host.failure(&status);
    let mut log = found.host.sessions().log(request).await.map_err(failure)?.into_inner();
    let mut filter = output::is_terminal().then(Harmless::default);
    let mut ends_line = true;
    while let Some(part) = log.message().await.map_err(failure)? {
        ends_line = part.data.last().map_or(ends_line, |byte| *byte == b'\n');
        match &mut filter {
            Some(filter) => output::write(&filter.feed(&part.data))?,
            None => output::write(&part.data)?,
        }
    }
    if filter.is_some() {
        output::print(if ends_line { "\x1b[0m" } else { "\x1b[0m\n" })?;
    }
    Ok(0)
}
