//! `restart`: boots a session again from its disk, or has it go back to a checkpoint; after a question where something is given up.

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::{RestartRequest, Session};

use super::{
    args::Restart,
    checkpoint,
    failure::{Failure, Outcome},
    fleet::Fleet,
    format::{age, plain},
    json, output, waiting,
};

/// Restarts it; it is on its way when this returns.
pub(crate) async fn run(fleet: &Fleet, options: Restart) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let suspended = found.it.lifecycle == "suspended";
    let from = options.from.map(|which| checkpoint::number(&found.it, which)).transpose()?;
    if !options.yes {
        ask(&found.it, from)?;
    }
    let give_up_memory = suspended && from.is_none();
    let request = RestartRequest { id: found.it.id, give_up_memory, checkpoint: from.unwrap_or_default() };
    let mut sessions = found.host.sessions();
    let restarted = waiting::shown("restarting the session", sessions.restart(request)).await;
    let session = restarted.map_err(|status| found.host.failure(&status))?;
    if options.json {
        output::print_json(&json::Session::new(&found.host.name().await, session.get_ref()))?;
    } else if let Some(last) = found.it.checkpoints.last().filter(|_| from.is_none() && found.it.lifecycle == "crashed")
    {
        let slug = plain(&found.it.slug);
        output::note(&format!(
            "it boots from its disk; `pilothouse restart {slug} --from {}` goes back to its memory of {} ago",
            last.number,
            age(last.at, Timestamp::now())
        ));
    }
    Ok(0)
}

/// Asks where something is given up.
fn ask(session: &Session, from: Option<u64>) -> Result<(), Failure> {
    let slug = plain(&session.slug);
    if let Some(number) = from {
        let taken = session.checkpoints.iter().find(|known| known.number == number).map_or(0, |known| known.at);
        let ago = age(taken, Timestamp::now());
        return output::confirm(
            &format!("going back to checkpoint {number} gives up what {slug} did in the {ago} since"),
            &format!(
                "{slug} goes back to checkpoint {number}, of {ago} ago. What it did since is lost, in memory and on its disk, but for what it \
                 has pushed. Go back? [y/N] "
            ),
            "nothing was changed",
        );
    }
    if session.lifecycle != "suspended" {
        return Ok(());
    }
    output::confirm(
        &format!("restarting {slug} gives up what is in its memory"),
        &format!(
            "{slug} is suspended: {}\nIts memory is given up. Boot it from its disk? [y/N] ",
            plain(&session.reason)
        ),
        "nothing was restarted",
    )
}
