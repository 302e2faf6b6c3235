use std::ffi::OsString;

use pilothouse_proto::hostd::v1::{NewReviewComment, SubmitReviewRequest};

use super::{find, head, name, print};
use crate::cli::{
    args::Said,
    failure::{Failure, Outcome},
    fleet::Fleet,
};

/// A verdict, or a comment on the whole.
pub(super) async fn verdict(fleet: &Fleet, said: Said, verdict: &str) -> Outcome {
    if verdict != "approve" && said.text.is_empty() {
        let hint = format!("pilothouse review {verdict} {} TEXT", said.id);
        return Err(Failure::usage(format!("{verdict} needs a text")).hint(hint));
    }
    let body = said.text.join(" ");
    submit(fleet, said, verdict, body, vec![]).await
}

/// A comment, wherever it belongs.
pub(super) async fn comment(
    fleet: &Fleet,
    said: Said,
    file: Option<OsString>,
    line: Option<u32>,
    thread: Option<u64>,
) -> Outcome {
    let path = match file.map(OsString::into_string) {
        None => String::new(),
        Some(Ok(path)) => path,
        Some(Err(path)) => {
            let text = format!("{} is not UTF-8, and comments are on paths that are", path.to_string_lossy());
            return Err(Failure::usage(text).hint("comment on the pull request as a whole, without --file"));
        }
    };
    if path.is_empty() && thread.is_none() {
        return verdict(fleet, said, "comment").await;
    }
    let body = said.text.join(" ");
    let (thread, line) = (thread.unwrap_or(0), line.unwrap_or(0));
    submit(fleet, said, "comment", String::new(), vec![NewReviewComment { thread, path, line, body }]).await
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
