//! `host drain` and `host undrain`.

use pilothouse_proto::hostd::v1::{DrainRequest, UndrainRequest};
use serde::Serialize;

use super::wanted_host;
use crate::cli::{failure::Outcome, fleet::Fleet, format::plain, output, waiting};

/// What became of a drain.
#[derive(Serialize)]
struct Drained<'a> {
    /// Slugs of sessions that still run.
    left: &'a [String],
}

/// Returns when nothing runs there any more, or when that takes too long.
pub(super) async fn drain(fleet: &Fleet, wanted: Option<String>, yes: bool, json: bool) -> Outcome {
    let (host, info) = wanted_host(fleet, wanted, "drain").await?;
    if !yes {
        let name = plain(&info.name);
        let running = match info.running {
            1 => "1 session that runs".into(),
            many => format!("{many} sessions that run"),
        };
        output::confirm(
            &format!("draining {name} suspends {running}"),
            &format!("{name} suspends {running}, and takes no more until it is undrained. Drain it? [y/N] "),
            "nothing was drained",
        )?;
    }
    let mut client = host.host();
    let drained = waiting::shown("suspending what runs", client.drain(DrainRequest {})).await;
    let left = drained.map_err(|status| host.failure(&status))?.into_inner().left;
    if json {
        output::print_json(&Drained { left: &left })?;
    }
    if left.is_empty() {
        return Ok(0);
    }
    let left: Vec<_> = left.iter().map(|slug| plain(slug)).collect();
    output::note(&format!("still on their way to the disk: {}", left.join(", ")));
    Ok(1)
}

/// Returns when the host takes VMs again.
pub(super) async fn undrain(fleet: &Fleet, wanted: Option<String>) -> Outcome {
    let (host, _) = wanted_host(fleet, wanted, "undrain").await?;
    host.ask(host.host().undrain(UndrainRequest {})).await?;
    Ok(0)
}
