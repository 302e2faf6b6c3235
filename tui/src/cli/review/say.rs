use std::ffi::{OsStr, OsString};

use pilothouse_proto::hostd::v1::{NewReviewComment, Pull, ResolveThreadRequest, SubmitReviewRequest};

use super::pull::{find, head, name, print};
use crate::cli::{
    args::Said,
    failure::{Failure, Outcome},
    fleet::Fleet,
};

/// Gives a verdict, or a comment on the whole, with comments on files and lines.
pub(super) async fn verdict(fleet: &Fleet, said: Said, verdict: &str) -> Outcome {
    if verdict != "approve" && said.text.is_empty() && said.at.is_empty() {
        let hint = format!("pilothouse review {verdict} {} TEXT", said.id);
        return Err(Failure::usage(format!("{verdict} needs a text")).hint(hint));
    }
    let (body, comments) = (said.text.join(" "), comments(&said.at)?);
    submit(fleet, said, verdict, body, comments).await
}

/// Gives a comment, wherever it belongs.
pub(super) async fn comment(
    fleet: &Fleet,
    said: Said,
    file: Option<OsString>,
    line: Option<u32>,
    thread: Option<u64>,
) -> Outcome {
    let path = file.map_or(Ok(String::new()), |file| path(&file))?;
    if path.is_empty() && thread.is_none() {
        return verdict(fleet, said, "comment").await;
    }
    let body = said.text.join(" ");
    let (thread, line) = (thread.unwrap_or(0), line.unwrap_or(0));
    let mut comments = comments(&said.at)?;
    comments.insert(0, NewReviewComment { thread, path, line, body, head: String::new() });
    submit(fleet, said, "comment", String::new(), comments).await
}

/// Comments of `--at FILE[:LINE] COMMENT`, each of two words.
fn comments(at: &[OsString]) -> Result<Vec<NewReviewComment>, Failure> {
    at.chunks(2)
        .map(|pair| {
            let place = path(pair.first().map_or(OsStr::new(""), OsString::as_os_str))?;
            let body = pair.get(1).map(|body| body.to_string_lossy().into_owned()).unwrap_or_default();
            let (path, line) = match place.rsplit_once(':').map(|(path, line)| (path, line.parse())) {
                Some((path, Ok(line @ 1..))) => (path.to_owned(), line),
                _ => (place, 0),
            };
            if path.is_empty() || body.trim().is_empty() {
                return Err(Failure::usage("--at needs a file and what is said of it")
                    .hint("for example: --at src/parser.rs:40 'Why not saturate?'"));
            }
            Ok(NewReviewComment { thread: 0, path, line, body, head: String::new() })
        })
        .collect()
}

fn path(file: &OsStr) -> Result<String, Failure> {
    file.to_str().map(str::to_owned).ok_or_else(|| {
        let text = format!("{} is not UTF-8, and comments are on paths that are", file.to_string_lossy());
        Failure::usage(text).hint("comment on the pull request as a whole, without naming the file")
    })
}

async fn submit(fleet: &Fleet, said: Said, verdict: &str, body: String, comments: Vec<NewReviewComment>) -> Outcome {
    let found = find(fleet, &said.id).await?;
    let (id, older) = (name(&found.it), said.revision.is_some());
    let head = match said.revision {
        Some(number) => revision(&found.it, number)?,
        None => head(said.head, &found.it),
    };
    let revision = said.revision.unwrap_or(found.it.revision);
    let request = SubmitReviewRequest { id, verdict: verdict.into(), head, body, comments, older };
    let pull = found.host.ask(found.host.reviews().submit_review(request)).await?;
    let did = match verdict {
        "approve" => "approved",
        "request-changes" => "requested changes to",
        _ => "commented on",
    };
    print(&found, &pull, said.json, &format!("{did} {} at revision {revision}", name(&pull))).await
}

/// Id of the head commit of a revision.
fn revision(pull: &Pull, number: u32) -> Result<String, Failure> {
    let found = pull.revisions.iter().find(|revision| revision.number == number);
    found.map(|revision| revision.head.clone()).ok_or_else(|| {
        let text = format!("{} has no revision {number}; its newest is {}", name(pull), pull.revision);
        Failure::usage(text).hint(format!("pilothouse review show {}", name(pull)))
    })
}

/// Marks a thread as resolved, or as open again.
pub(super) async fn resolve(fleet: &Fleet, id: &str, thread: u64, resolved: bool, json: bool) -> Outcome {
    let found = find(fleet, id).await?;
    let request = ResolveThreadRequest { id: name(&found.it), thread, resolved };
    let pull = found.host.ask(found.host.reviews().resolve_thread(request)).await?;
    let did = if resolved { "resolved" } else { "reopened" };
    print(&found, &pull, json, &format!("{did} thread {thread} of {}", name(&pull))).await
}
