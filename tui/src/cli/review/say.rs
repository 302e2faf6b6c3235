use std::ffi::{OsStr, OsString};

use pilothouse_proto::hostd::v1::{NewReviewComment, SubmitReviewRequest};

use super::{find, head, name, print};
use crate::cli::{
    args::Said,
    failure::{Failure, Outcome},
    fleet::Fleet,
};

/// A verdict, or a comment on the whole, with comments on files and lines.
pub(super) async fn verdict(fleet: &Fleet, said: Said, verdict: &str) -> Outcome {
    if verdict != "approve" && said.text.is_empty() && said.at.is_empty() {
        let hint = format!("pilothouse review {verdict} {} TEXT", said.id);
        return Err(Failure::usage(format!("{verdict} needs a text")).hint(hint));
    }
    let (body, comments) = (said.text.join(" "), comments(&said.at)?);
    submit(fleet, said, verdict, body, comments).await
}

/// A comment, wherever it belongs.
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
    comments.insert(0, NewReviewComment { thread, path, line, body });
    submit(fleet, said, "comment", String::new(), comments).await
}

/// Of `--at FILE[:LINE] COMMENT`, each two of these.
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
            Ok(NewReviewComment { thread: 0, path, line, body })
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
    let (id, head) = (name(&found.it), head(said.head, &found.it));
    let request = SubmitReviewRequest { id, verdict: verdict.into(), head, body, comments };
    let pull = found.host.ask(found.host.reviews().submit_review(request)).await?;
    let did = match verdict {
        "approve" => "approved",
        "request-changes" => "requested changes to",
        _ => "commented on",
    };
    print(&found, &pull, said.json, &format!("{did} {} at revision {}", name(&pull), pull.revision)).await
}
