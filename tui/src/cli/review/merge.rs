use std::io::{self, BufRead, IsTerminal};

use pilothouse_proto::hostd::v1::{MergePullRequest, Pull};

use super::pull::{find, head, name, print};
use crate::cli::{
    failure::{Failure, Outcome},
    fleet::Fleet,
    format::plain,
    output, waiting,
};

pub(super) async fn run(fleet: &Fleet, id: &str, asked: Option<String>, yes: bool, json: bool) -> Outcome {
    let found = find(fleet, id).await?;
    if !yes && !ask(&found.it)? {
        return Err(Failure::failed("nothing was merged"));
    }
    let request = MergePullRequest { id: name(&found.it), head: head(asked, &found.it) };
    // Without the patience for questions: large trees take time.
    let mut reviews = found.host.reviews();
    let merged = waiting::shown("merging", reviews.merge_pull(request)).await;
    let pull = merged.map_err(|status| found.host.failure(&status))?.into_inner();
    let commit: String = plain(&pull.merge_commit).chars().take(10).collect();
    print(&found, &pull, json, &format!("merged {} into {} as {commit}", name(&pull), plain(&pull.base_branch))).await
}

fn ask(pull: &Pull) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(
            Failure::usage("merge asks first, and there is no terminal to ask on").hint("say --yes if you mean it")
        );
    }
    output::note(&format!(
        "  {}: {} ({}, {})",
        name(pull),
        plain(&pull.title),
        plain(&pull.outcome_text),
        plain(&pull.standing)
    ));
    output::write_stderr(&format!("Merge revision {} into {}? [y/N] ", pull.revision, plain(&pull.base_branch)));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::failed(format!("no answer: {error}")))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
