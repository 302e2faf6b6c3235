//! `repo`: the repositories of the hosts.

mod progress;

use std::path::{Component, Path, PathBuf};

use pilothouse_proto::hostd::v1::{
    AddRepositoryRequest, GetRepositoryRequest, ListRepositoriesRequest, Repository, Rules, SetRulesRequest,
    add_repository_response::Progress,
};

use super::{
    args::RepoCommand,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host, On},
    format::plain,
    json, output,
    show::lines,
    table::{Cell, Column, Tone, render},
};

/// Runs one of them.
pub(crate) async fn run(fleet: &Fleet, command: RepoCommand) -> Outcome {
    match command {
        RepoCommand::Ls { json } => list(fleet, json).await,
        RepoCommand::Add { source, name, branch, json } => {
            let (name, branch) = (name.unwrap_or_default(), branch.unwrap_or_default());
            add(fleet, AddRepositoryRequest { source: source_of(source)?, name, branch }, json).await
        }
        RepoCommand::Show { name, json } => {
            let found = find(fleet, &name).await?;
            show(found.host, &found.it, json).await
        }
        RepoCommand::Set { name, require, require_none, approvals, merge, keep_branches, json } => {
            let found = find(fleet, &name).await?;
            let before = found.it.rules.clone().unwrap_or_default();
            let rules = Rules {
                required_checks: if require_none || !require.is_empty() { require } else { before.required_checks },
                approvals: approvals.unwrap_or(before.approvals),
                merge_method: merge.unwrap_or(before.merge_method),
                keep_branches: keep_branches.map_or(before.keep_branches, |word| word == "yes"),
            };
            let request = SetRulesRequest { name: found.it.name.clone(), rules: Some(rules) };
            let changed = found.host.ask(found.host.repositories().set_rules(request)).await?;
            show(found.host, &changed, json).await
        }
    }
}

/// The repository of this name, on the one host that has it.
pub(crate) async fn find<'a>(fleet: &'a Fleet, name: &str) -> Result<On<'a, Repository>, Failure> {
    let asked = async |host: &Host| {
        host.ask(host.repositories().get_repository(GetRepositoryRequest { name: name.to_owned() })).await
    };
    fleet.find(&format!("repository `{}`", plain(name)), asked, |it| it.name.clone()).await
}

async fn list(fleet: &Fleet, json: bool) -> Outcome {
    let question = async |host: &Host| {
        let repositories = host.ask(host.repositories().list_repositories(ListRepositoriesRequest {})).await?;
        Ok((host.name().await, repositories.repositories))
    };
    let mut all: Vec<(String, Repository)> = vec![];
    for answer in fleet.gather(question).await? {
        let (host, of_host) = answer.it;
        all.extend(of_host.into_iter().map(|repository| (host.clone(), repository)));
    }
    if json {
        output::print_json(&all.iter().map(|(host, it)| json::Repository::new(host, it)).collect::<Vec<_>>())?;
        return Ok(0);
    }
    if all.is_empty() {
        output::note("no repositories; `pilothouse repo add URL|PATH` imports one");
        return Ok(0);
    }
    let many = fleet.hosts().len() > 1;
    let mut columns = vec![
        Column::fixed("REPOSITORY"),
        Column::flexible("BRANCH", 8),
        Column::fixed("OPEN PRS"),
        Column::fixed("MERGE").expendable(1),
        Column::flexible("REQUIRED CHECKS", 10).expendable(2),
    ];
    if many {
        columns.insert(1, Column::flexible("HOST", 8));
    }
    let rows: Vec<_> = all.iter().map(|(host, it)| row(many.then_some(host), it)).collect();
    output::print(&render(&columns, &rows, output::width(), output::colour()))?;
    Ok(0)
}

fn row(host: Option<&String>, it: &Repository) -> Vec<Cell> {
    let rules = it.rules.clone().unwrap_or_default();
    let branch = match (it.default_branch.as_str(), it.head.as_str()) {
        ("", _) => Cell("broken HEAD".into(), Tone::Bad),
        (branch, "") => Cell(format!("{} (missing)", plain(branch)), Tone::Bad),
        (branch, _) => plain(branch).into(),
    };
    let mut row: Vec<Cell> = vec![
        plain(&it.name).into(),
        branch,
        it.open_pulls.to_string().into(),
        plain(&rules.merge_method).into(),
        plain(&rules.required_checks.join(", ")).into(),
    ];
    if let Some(host) = host {
        row.insert(1, plain(host).into());
    }
    row
}

async fn show(host: &Host, it: &Repository, json: bool) -> Outcome {
    let name = host.name().await;
    if json {
        output::print_json(&json::Repository::new(&name, it))?;
        return Ok(0);
    }
    let rules = it.rules.clone().unwrap_or_default();
    let branch = match (it.default_branch.as_str(), it.head.as_str()) {
        ("", _) => "none: its HEAD is broken".into(),
        (branch, "") => format!("{}, which is not there", plain(branch)),
        (branch, head) => format!("{} at {}", plain(branch), plain(head)),
    };
    let checks =
        if rules.required_checks.is_empty() { "none".into() } else { plain(&rules.required_checks.join(", ")) };
    let facts = vec![
        ("repository", plain(&it.name)),
        ("host", name),
        ("default branch", branch),
        ("for sessions", plain(&it.url)),
        ("path", plain(&it.path)),
        ("open prs", it.open_pulls.to_string()),
        ("required checks", checks),
        ("approvals", rules.approvals.to_string()),
        ("merged by", plain(&rules.merge_method)),
        ("branches", if rules.keep_branches { "stay after a merge" } else { "are deleted after a merge" }.into()),
    ];
    output::print(&lines(&facts, output::colour()))?;
    Ok(0)
}

async fn add(fleet: &Fleet, request: AddRepositoryRequest, json: bool) -> Outcome {
    let host = fleet.only("add")?;
    let answer = host.repositories().add_repository(request).await.map_err(|status| host.failure(&status))?;
    let mut parts = answer.into_inner();
    let progress = progress::Import::new();
    let imported = loop {
        match parts.message().await.map(|part| part.and_then(|part| part.progress)) {
            Ok(Some(Progress::Line(line))) => progress.line(&line),
            Ok(Some(Progress::Done(repository))) => break Ok(repository),
            Ok(None) => break Err(Failure::failed("the host ended the import without a word")),
            Err(status) => break Err(host.failure(&status)),
        }
    };
    progress.over();
    added(host, &imported?, json).await
}

async fn added(host: &Host, it: &Repository, json: bool) -> Outcome {
    if json {
        return show(host, it, true).await;
    }
    let (name, branch, url) = (plain(&it.name), plain(&it.default_branch), plain(&it.url));
    output::print(&format!("{name} is there, on branch {branch}; recipes name it {url}\n"))?;
    Ok(0)
}

/// What the host is told: URLs as they are, paths absolute.
fn source_of(source: String) -> Result<String, Failure> {
    let is_url = source.contains("://") || source.split_once(':').is_some_and(|(host, _)| host.contains('@'));
    if is_url || source.starts_with('/') {
        return Ok(source);
    }
    let here = std::env::current_dir().map_err(|error| Failure::failed(format!("no current folder: {error}")))?;
    Ok(absolute(&here, Path::new(&source)).to_string_lossy().into_owned())
}

fn absolute(here: &Path, path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in here.join(path).components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_pass_and_paths_become_absolute() {
        for url in ["https://example.com/a.git", "git@example.com:a/b.git", "/srv/a.git", "file:///srv/a.git"] {
            assert_eq!(source_of(url.into()).unwrap(), url);
        }
        assert_eq!(absolute(Path::new("/home/sam"), Path::new("../ann/./src/a")), Path::new("/home/ann/src/a"));
    }
}
