//! `checkpoint`: takes a checkpoint of a session, and lists those that there are.

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::{Checkpoint as Known, CheckpointRequest, Session};

use super::{
    args::{Checkpoint, CheckpointCommand, Which},
    failure::{Failure, NOT_FOUND, Outcome},
    fleet::Fleet,
    format::{age, bytes, plain, time},
    json, output,
    table::{Column, render},
    waiting,
};

/// Prints the number of a checkpoint once it is there, or lists them.
pub(crate) async fn run(fleet: &Fleet, options: Checkpoint) -> Outcome {
    match options {
        Checkpoint { command: Some(CheckpointCommand::Ls { id, json }), .. } => list(fleet, &id, json).await,
        Checkpoint { id, json, .. } => take(fleet, &id.unwrap_or_default(), json).await,
    }
}

async fn take(fleet: &Fleet, id: &str, json: bool) -> Outcome {
    let found = fleet.session(id).await?;
    let mut sessions = found.host.sessions();
    let (request, before) = (CheckpointRequest { id: found.it.id }, found.it.checkpoints);
    let taken = waiting::shown("taking a checkpoint", sessions.checkpoint(request)).await;
    let session = taken.map_err(|status| found.host.failure(&status))?.into_inner();
    let Some(newest) = session.checkpoints.last() else {
        return Err(Failure::failed("the host answers without a checkpoint"));
    };
    // A schedule's own come and go beside this.
    let is_kept = |old: &&Known| old.automatic || session.checkpoints.iter().any(|known| known.number == old.number);
    for gone in before.iter().filter(|old| !is_kept(old)) {
        output::note(&format!(
            "checkpoint {} is not kept any more: only the last that people asked for are",
            words(gone)
        ));
    }
    if json {
        output::print_json(&json::Checkpoint::new(newest))?;
    } else {
        output::print(&format!("{}\n", newest.number))?;
    }
    Ok(0)
}

async fn list(fleet: &Fleet, id: &str, json: bool) -> Outcome {
    let found = fleet.session(id).await?;
    let newest_first = found.it.checkpoints.iter().rev();
    if json {
        output::print_json(&newest_first.map(json::Checkpoint::new).collect::<Vec<_>>())?;
        return Ok(0);
    }
    let columns = ["CHECKPOINT", "TAKEN", "AGE", "SIZE", "STOOD STILL", "BY"].map(Column::fixed);
    let row = |known: &Known| {
        let by = if known.automatic { "schedule" } else { "person" };
        let stood = if known.stood_ms == 0 { String::new() } else { format!("{} ms", known.stood_ms) };
        let age = age(known.at, Timestamp::now());
        [known.number.to_string(), time(known.at), age, bytes(known.bytes), stood, by.into()].map(Into::into).to_vec()
    };
    let rows: Vec<_> = newest_first.map(row).collect();
    output::print(&render(&columns, &rows, output::width(), output::colour()))?;
    Ok(0)
}

/// Number of the checkpoint that is meant.
pub(crate) fn number(session: &Session, which: Which) -> Result<u64, Failure> {
    let found = match which {
        Which::Last => session.checkpoints.last(),
        Which::Number(number) => session.checkpoints.iter().find(|known| known.number == number),
    };
    let slug = plain(&session.slug);
    found.map(|known| known.number).ok_or_else(|| {
        let what =
            if let Which::Number(number) = which { format!("no checkpoint {number}") } else { "no checkpoint".into() };
        Failure::new(NOT_FOUND, format!("{slug} has {what}")).hint("`pilothouse checkpoint ls` lists them")
    })
}

/// A checkpoint in words, e.g. `3, 4 min ago, 12 MiB`.
pub(crate) fn words(known: &Known) -> String {
    let by = if known.automatic { "" } else { ", by a person" };
    format!("{}, {} ago, {}{by}", known.number, age(known.at, Timestamp::now()), bytes(known.bytes))
}
