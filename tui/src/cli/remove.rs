//! `rm`: deletes sessions, after a question.

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::{DeleteRequest, Session};

use super::{
    args::Rm,
    failure::{Failure, NOT_FOUND, Outcome},
    fleet::{Fleet, On},
    format::{age, plain},
    json, output, waiting,
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
    let (mut first, mut all) = (None, Vec::new());
    for on in found {
        let error = delete(&on).await.err();
        match &error {
            None if options.json => {}
            None => output::print(&format!("deleted {}\n", plain(&on.it.slug)))?,
            Some(failure) => {
                output::note(&format!("error: {}: {}", plain(&on.it.slug), failure.message));
                first.get_or_insert(failure.exit);
            }
        }
        if options.json {
            let (host, Session { id, slug, .. }) = (on.host.name().await, on.it);
            all.push(json::Deleted { id, slug, host, deleted: error.is_none(), error: error.map(|it| it.message) });
        }
    }
    if options.json {
        output::print_json(&all)?;
    }
    Ok(first.unwrap_or(0))
}

async fn delete(on: &On<'_, Session>) -> Result<(), Failure> {
    let mut sessions = on.host.sessions();
    let request = DeleteRequest { id: on.it.id.clone() };
    let deleted = waiting::shown(&format!("deleting {}", plain(&on.it.slug)), sessions.delete(request)).await;
    match deleted.map_err(|status| on.host.failure(&status)) {
        // Somebody was quicker: it is gone, as wanted.
        Err(failure) if failure.exit != NOT_FOUND => Err(failure),
        _ => Ok(()),
    }
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
