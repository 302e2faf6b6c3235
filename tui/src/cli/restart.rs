//! `restart`: boots a session again from its disk; one whose memory is kept after a question.

use pilothouse_proto::hostd::v1::RestartRequest;

use super::{args::Restart, failure::Outcome, fleet::Fleet, format::plain, json, output, waiting};

/// Restarts it; it is on its way when this returns.
pub(crate) async fn run(fleet: &Fleet, options: Restart) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let suspended = found.it.lifecycle == "suspended";
    if suspended && !options.yes {
        let slug = plain(&found.it.slug);
        output::confirm(
            &format!("restarting {slug} gives up what is in its memory"),
            &format!(
                "{slug} is suspended: {}\nIts memory is given up. Boot it from its disk? [y/N] ",
                plain(&found.it.reason)
            ),
            "nothing was restarted",
        )?;
    }
    let request = RestartRequest { id: found.it.id, give_up_memory: suspended };
    let mut sessions = found.host.sessions();
    let restarted = waiting::shown("restarting the session", sessions.restart(request)).await;
    let session = restarted.map_err(|status| found.host.failure(&status))?;
    if options.json {
        output::print_json(&json::Session::new(&found.host.name().await, session.get_ref()))?;
    }
    Ok(0)
}
