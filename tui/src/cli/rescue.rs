//! `rescue`: the work of a session on a branch of its repository, whatever became of its VM.

use pilothouse_proto::hostd::v1::{RescueRequest, RescueResponse};
use serde_json::json;

use super::{args::Rescue, failure::Outcome, fleet::Fleet, format::plain, output, waiting};

/// Said while hostd reads the session's disk.
const READING: &str = "reading the session's working tree";

/// Puts what a session has not pushed on a new branch.
pub(crate) async fn run(fleet: &Fleet, options: Rescue) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let mut sessions = found.host.sessions();
    let asked = found.host.ask(sessions.rescue(RescueRequest { id: found.it.id.clone() }));
    let RescueResponse { repository, branch, commit, missing } = waiting::shown(READING, asked).await?;
    if options.json {
        let missing = Some(&missing).filter(|missing| !missing.is_empty());
        let rescued = json!({"repository": repository, "branch": branch, "commit": commit, "missing": missing});
        output::print_json(&rescued)?;
        return Ok(0);
    }
    if !missing.is_empty() {
        output::note(&format!("warning: {}", plain(&missing)));
    }
    let short = commit.get(..12).unwrap_or(&commit);
    output::print(&format!("{} has the branch {} ({})\n", plain(&repository), plain(&branch), plain(short)))?;
    Ok(0)
}
