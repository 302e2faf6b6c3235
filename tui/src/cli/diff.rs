//! `diff`: what a session or a pull request changed, or what differs between two revisions.

mod form;
mod json;
mod names;
mod patch;
mod stat;

use std::os::unix::ffi::OsStringExt as _;

use pilothouse_proto::hostd::v1::{
    DiffDetail, DiffPull, DiffRequest, DiffResponse, DiffRevisions, DiffStart, diff_request::Of,
    diff_response::Response,
};
use tonic::Streaming;

use super::{
    args::Diff,
    facts::when,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::plain,
    output, repo, review, waiting,
};
use form::Form;

/// Words of the waiting line while a host compares.
const COMPARING: &str = "comparing";
/// Words of the waiting line where the host may have to start a VM for it.
const COPYING: &str = "reading the session's changes from a copy of its VM";

/// Prints what a session, a pull request or two revisions differ in.
pub(crate) async fn run(fleet: &Fleet, options: Diff) -> Outcome {
    let (host, of, wait) = find(fleet, &options).await?;
    let (detail, mut form): (_, Box<dyn Form>) = match (options.stat, options.name_only, options.json) {
        (true, ..) if options.nul => (DiffDetail::Counts, Box::new(stat::Numbers::default())),
        (true, ..) => (DiffDetail::Counts, Box::new(stat::Stat::default())),
        (_, true, _) => (DiffDetail::List, Box::new(names::Names { nul: options.nul })),
        (.., true) => (DiffDetail::Hunks, Box::new(json::Json::default())),
        _ => (DiffDetail::Hunks, Box::new(patch::Patch::new(output::is_terminal(), output::colour()))),
    };
    let request = DiffRequest {
        of: Some(of),
        paths: options.paths.into_iter().map(|path| path.into_vec().into()).collect(),
        detail: detail.into(),
        context: Some(options.unified),
        file_bytes: 0,
    };
    let failure = |status| host.failure(&status);
    let mut client = host.diffs();
    let mut answers = waiting::shown(wait, client.get(request)).await.map_err(failure)?.into_inner();
    follow(host, &mut answers, form.as_mut()).await?;
    form.end()?;
    Ok(0)
}

async fn follow(host: &Host, answers: &mut Streaming<DiffResponse>, form: &mut dyn Form) -> Result<(), Failure> {
    let failure = |status| host.failure(&status);
    let (mut files, mut ended) = (Vec::new(), false);
    while let Some(answer) = answers.message().await.map_err(failure)? {
        match answer.response {
            Some(Response::Start(start)) => {
                tell(&start);
                form.start(&start)?;
            }
            Some(Response::Files(more)) => files.extend(more.files),
            Some(Response::Listed(listed)) => form.listed(&files, listed.cut)?,
            Some(Response::Piece(piece)) => {
                let file = files.get(piece.file as usize);
                let file =
                    file.ok_or_else(|| Failure::failed("the host sends changes of a file that it did not list"))?;
                form.piece(file, &piece)?;
            }
            Some(Response::End(_)) => ended = true,
            None => {}
        }
    }
    if ended { Ok(()) } else { Err(Failure::failed("the host ended the answer early; try again")) }
}

/// Tells people what is to be known beside the changes.
fn tell(start: &DiffStart) {
    if start.suspended {
        output::note(&format!("note: the session does not run; this is as of {}", when(start.taken_at)));
    }
    if !start.missing.is_empty() {
        output::note(&format!("warning: {}", plain(&start.missing)));
    }
}

/// Finds the host that is asked and the question, and the words of the waiting line.
async fn find<'a>(fleet: &'a Fleet, options: &Diff) -> Result<(&'a Host, Of, &'static str), Failure> {
    if let Some(name) = &options.repo {
        let (old, new, since_merge_base) = revisions(&options.what)?;
        let found = repo::find(fleet, name).await?;
        let revisions = DiffRevisions { repository: found.it.name, old, new, since_merge_base };
        return Ok((found.host, Of::Revisions(revisions), COMPARING));
    }
    if options.what.contains('#') {
        let id = options.what.strip_prefix('#').unwrap_or(&options.what);
        let found = review::find(fleet, id).await?;
        let (from, to) = options.revisions.unwrap_or_default();
        return Ok((found.host, Of::Pull(DiffPull { id: review::name(&found.it), from, to }), COMPARING));
    }
    if options.revisions.is_some() {
        return Err(Failure::usage("--revisions is for pull requests").hint("name one like widgets#12"));
    }
    if options.what.contains("..") {
        return Err(Failure::usage(format!("`{}` of which repository?", plain(&options.what))).hint("say --repo NAME"));
    }
    let found = fleet.session(&options.what).await?;
    let wait = if matches!(&*found.it.lifecycle, "suspended" | "stopped" | "crashed") { COPYING } else { COMPARING };
    Ok((found.host, Of::Session(found.it.id), wait))
}

/// Parses `A..B` or `A...B` (true); a side that is left out is HEAD.
fn revisions(text: &str) -> Result<(String, String, bool), Failure> {
    let split = text.split_once("...").map(|(old, new)| (old, new, true));
    let split = split.or_else(|| text.split_once("..").map(|(old, new)| (old, new, false)));
    let wrong = || Failure::usage(format!("`{}` is no pair of revisions", plain(text))).hint("write it like main..fix");
    split.map(|(old, new, since)| (old.to_owned(), new.to_owned(), since)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_revisions() {
        assert_eq!(revisions("a..b").unwrap(), ("a".into(), "b".into(), false));
        assert_eq!(revisions("a...b").unwrap(), ("a".into(), "b".into(), true));
        assert_eq!(revisions("..b").unwrap(), (String::new(), "b".into(), false));
        assert_eq!(revisions("main").unwrap_err().exit, 2);
    }
}
