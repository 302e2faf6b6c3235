//! `rm`: deletes sessions, after a question.

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::{DeleteRequest, Session};

use super::{
    args::Rm,
    failure::{NOT_FOUND, Outcome},
    fleet::{Fleet, On},
    format::{age, plain},
    output,
};

/// Deletes them. All are found before the first is touched; one that cannot be deleted does not keep the others.
pub(crate) async fn run(fleet: &Fleet, options: Rm) -> Outcome {
    let mut found: Vec<On<'_, Session>> = Vec::new();
    for id in &options.ids {
        let on = fleet.session(id).await?;
        if !found.iter().any(|other| other.it.id == on.it.id) {
            found.push(on);
        }
    }
    if !options.yes {
        let losses: String = found.iter().map(|on| loss(&on.it) + "\n").collect();
        let question = format!("{losses}VM, disk and all that was not pushed are lost. Delete? [y/N] ");
        output::confirm("rm deletes for good", &question, "nothing was deleted")?;
    }
    let mut first = None;
    for on in found {
        match on.host.sessions().delete(DeleteRequest { id: on.it.id.clone() }).await {
            Ok(_) => output::print(&format!("deleted {}\n", plain(&on.it.slug)))?,
            Err(status) => {
                let failure = on.host.failure(&status);
                // Somebody was quicker: it is gone, as wanted.
                if failure.exit != NOT_FOUND {
                    output::note(&format!("error: {}: {}", plain(&on.it.slug), failure.message));
                    first.get_or_insert(failure.exit);
                }
            }
        }
    }
    Ok(first.unwrap_or(0))
}

fn loss(session: &Session) -> String {
    let viewers = match session.viewers {
        0 => String::new(),
        1 => ", 1 viewer attached".into(),
        many => format!(", {many} viewers attached"),
    };
    let old = age(session.created_at, Timestamp::now());
    let (slug, reason) = (plain(&session.slug), plain(&session.reason));
    format!("  {slug}: {}, {old} old, {reason}{viewers}", plain(&session.lifecycle))
}
