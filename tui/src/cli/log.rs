//! `log`: what the agent's terminal, or the guest's serial console, showed.

mod harmless;

use pilothouse_proto::hostd::v1::LogRequest;

use super::{
    args::Log,
    failure::{Failure, Outcome},
    fleet::Fleet,
    output,
};
use harmless::Harmless;

/// Prints a session's log as it comes.
pub(crate) async fn run(fleet: &Fleet, options: Log) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let request = LogRequest { id: found.it.id, serial: options.serial, follow: options.follow };
    let failure = |status| found.host.failure(&status);
    let mut log = found.host.sessions().log(request).await.map_err(failure)?.into_inner();
    let mut shown = Shown::new();
    while let Some(part) = log.message().await.map_err(failure)? {
        shown.write(&part.data)?;
    }
    shown.end()
}

/// A log on its way to stdout: all of it, or on a terminal what is harmless there.
pub(crate) struct Shown {
    filter: Option<Harmless>,
    ends_line: bool,
}

impl Shown {
    /// Creates it; nothing is shown so far.
    pub(crate) fn new() -> Self {
        Self { filter: output::is_terminal().then(Harmless::default), ends_line: true }
    }

    /// Shows the next piece of the log.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.ends_line = data.last().map_or(self.ends_line, |byte| *byte == b'\n');
        match &mut self.filter {
            Some(filter) => output::write(&filter.feed(data)),
            None => output::write(data),
        }
    }

    /// Ends the log.
    pub(crate) fn end(self) -> Outcome {
        if self.filter.is_some() {
            output::print(if self.ends_line { "\x1b[0m" } else { "\x1b[0m\n" })?;
        }
        Ok(0)
    }
}
