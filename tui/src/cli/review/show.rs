use pilothouse_proto::hostd::v1::{Check, Pull, Review, ReviewThread, Revision};

use super::pull::{find, name};
use crate::cli::{
    facts::{Facts, lines, when},
    failure::Outcome,
    fleet::Fleet,
    format::{plain, plain_lines},
    json, output,
};

pub(super) async fn run(fleet: &Fleet, id: &str, json: bool) -> Outcome {
    let found = find(fleet, id).await?;
    let host = found.host.name().await;
    if json {
        output::print_json(&json::WholePull::new(&host, &found.it))?;
    } else {
        output::print(&text(&host, &found.it))?;
    }
    Ok(0)
}

fn text(host: &str, pull: &Pull) -> String {
    let mut text = lines(&facts(host, pull), output::colour());
    for thread in &pull.threads {
        text.push_str(&thread_text(pull, thread));
    }
    text
}

fn facts(host: &str, p: &Pull) -> Facts {
    let merged = match p.merged_at {
        0 => String::new(),
        at => format!("by {}, {}, as {}", plain(&p.merged_by), when(at), short(&p.merge_commit)),
    };
    let state = match (p.closed_why.as_str(), p.closed_at) {
        ("", _) => plain(&p.state),
        (why, 0) => format!("{}: {}", plain(&p.state), plain(why)),
        (why, at) => format!("{}: {}, {}", plain(&p.state), plain(why), when(at)),
    };
    vec![
        ("pull request", name(p)),
        ("title", plain(&p.title)),
        ("host", plain(host)),
        ("session", plain(&p.author)),
        ("state", state),
        ("merged", merged),
        (
            "branches",
            format!("{} into {}, by {}", plain(&p.head_branch), plain(&p.base_branch), plain(&p.merge_method)),
        ),
        ("review", plain(&p.standing)),
        ("blocked", plain(&p.blocked)),
        ("opened", when(p.created_at)),
        ("changed", when(p.updated_at)),
        ("text", plain_lines(&p.body)),
        ("revisions", joined(p.revisions.iter().map(revision))),
        ("checks", format!("{}\n{}", plain(&p.outcome_text), joined(p.checks.iter().map(check_line)))),
        ("reviews", joined(p.reviews.iter().map(review))),
    ]
}

fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

fn revision(it: &Revision) -> String {
    let forced = if it.forced { ", forced" } else { "" };
    format!("{}  {}  {}{forced}", it.number, short(&it.head), when(it.at))
}

/// A check in one line.
fn check_line(it: &Check) -> String {
    let required = if it.required { "required" } else { "" };
    let parts = [plain(&it.name), plain(&it.state), required.into(), plain(&it.summary), plain(&it.url)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

fn review(it: &Review) -> String {
    let head = format!("{} of revision {} by {}, {}", plain(&it.verdict), it.revision, plain(&it.who), when(it.at));
    let body = plain_lines(&it.body);
    if body.is_empty() { head } else { format!("{head}\n  {}", body.replace('\n', "\n  ")) }
}

fn thread_text(pull: &Pull, it: &ReviewThread) -> String {
    let line = if it.line == 0 { String::new() } else { format!(":{}", it.line) };
    let old = if it.head == pull.head { String::new() } else { format!(" (of revision {})", it.revision) };
    let settled = match &*it.resolved_by {
        "" => String::new(),
        who => format!("  resolved by {}", plain(who)),
    };
    let mut text = format!("\nthread {}  {}{line}{old}{settled}\n", it.id, plain(&it.path));
    if it.line > 0 {
        text.push_str(&format!("  > {}\n", plain_lines(&it.quote).replace('\n', " ")));
    }
    for comment in &it.comments {
        let body = plain_lines(&comment.body).replace('\n', "\n    ");
        text.push_str(&format!("  {}, {}:\n    {body}\n", plain(&comment.who), when(comment.at)));
    }
    text
}

/// A commit's id, as short as people write it.
fn short(commit: &str) -> String {
    plain(commit).chars().take(10).collect()
}
