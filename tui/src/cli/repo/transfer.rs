//! `repo fetch` and `repo push`: between a repository and its upstream.

use pilothouse_proto::hostd::v1::{
    FetchRepositoryRequest, FetchedBranch, PushRepositoryRequest, fetch_repository_response, push_repository_response,
};

use super::{progress::Import, repository::find};
use crate::cli::{
    failure::{Failure, Outcome},
    fleet::Fleet,
    format::plain,
    json, output,
};

/// Runs `repo fetch`.
pub(super) async fn fetch(fleet: &Fleet, name: &str, json: bool) -> Outcome {
    use fetch_repository_response::Progress;
    let found = find(fleet, name).await?;
    let request = FetchRepositoryRequest { name: found.it.name.clone() };
    let failure = |status| found.host.failure(&status);
    let mut parts = found.host.repositories().fetch_repository(request).await.map_err(failure)?.into_inner();
    let mut progress = Import::new();
    let done = loop {
        match progress.wait(parts.message()).await.map(|part| part.and_then(|part| part.progress)) {
            Ok(Some(Progress::Line(line))) => progress.line(&line),
            Ok(Some(Progress::Done(done))) => break Ok(done.branches),
            Ok(None) => break Err(Failure::failed("the host ended the fetch without a word")),
            Err(status) => break Err(failure(status)),
        }
    };
    progress.over();
    let branches = done?;
    if json {
        output::print_json(&branches.iter().map(json::FetchedBranch::new).collect::<Vec<_>>())?;
        return Ok(0);
    }
    if branches.is_empty() {
        output::print("nothing is new, and nothing waits to be pushed\n")?;
    }
    for branch in &branches {
        output::print(&format!("{}\n", told(name, branch)))?;
    }
    Ok(0)
}

fn told(name: &str, it: &FetchedBranch) -> String {
    let (name, branch) = (plain(name), plain(&it.branch));
    let commit: String = plain(&it.upstream).chars().take(10).collect();
    let commits = |count: u64| if count == 1 { "1 commit".to_owned() } else { format!("{count} commits") };
    let (ahead, behind) = (commits(it.ahead), commits(it.behind));
    match it.stood.as_str() {
        "missing" => format!("{branch}: new, at {commit}"),
        "behind" => format!("{branch}: {behind} more, at {commit}"),
        "ahead" => format!("{branch}: has {ahead} to push: pilothouse repo push {name} {branch}"),
        _ => format!(
            "{branch}: stays, it has diverged: {ahead} here, {behind} there; merge the two in a clone of yours, \
             and push that to both"
        ),
    }
}

/// Runs `repo push`.
pub(super) async fn push(fleet: &Fleet, name: &str, branches: Vec<String>, json: bool) -> Outcome {
    use push_repository_response::Progress;
    let found = find(fleet, name).await?;
    let request = PushRepositoryRequest { name: found.it.name.clone(), branches };
    let failure = |status| found.host.failure(&status);
    let mut parts = found.host.repositories().push_repository(request).await.map_err(failure)?.into_inner();
    let mut progress = Import::new();
    let done = loop {
        match progress.wait(parts.message()).await.map(|part| part.and_then(|part| part.progress)) {
            Ok(Some(Progress::Line(line))) => progress.line(&line),
            Ok(Some(Progress::Done(done))) => break Ok(done.branches),
            Ok(None) => break Err(Failure::failed("the host ended the push without a word")),
            Err(status) => break Err(failure(status)),
        }
    };
    progress.over();
    let pushed = done?;
    if json {
        output::print_json(&pushed.iter().map(json::PushedBranch::new).collect::<Vec<_>>())?;
        return Ok(0);
    }
    for it in &pushed {
        let commit: String = plain(&it.commit).chars().take(10).collect();
        output::print(&format!("{}: its upstream {} is at {commit}\n", plain(&it.branch), plain(&found.it.upstream)))?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_told_with_what_to_do() {
        let told = |stood: &str, ahead, behind| {
            let (branch, upstream) = ("main".into(), "0123456789abcdef".into());
            told("widgets", &FetchedBranch { branch, stood: stood.into(), ahead, behind, upstream })
        };
        assert_eq!(told("missing", 0, 0), "main: new, at 0123456789");
        assert_eq!(told("behind", 0, 1), "main: 1 commit more, at 0123456789");
        assert_eq!(told("ahead", 2, 0), "main: has 2 commits to push: pilothouse repo push widgets main");
        assert!(told("diverged", 2, 3).starts_with("main: stays, it has diverged: 2 commits here, 3 commits there;"));
    }
}
