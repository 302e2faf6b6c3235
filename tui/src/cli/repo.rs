//! `repo`: the repositories of the hosts.

mod clone;
mod progress;
mod remove;
mod repository;
mod set;
mod source;
mod transfer;

use std::path::{Path, PathBuf};

use pilothouse_proto::hostd::v1::{
    AddRepositoryRequest, ListRepositoriesRequest, RenameRepositoryRequest, Repository,
    add_repository_response::Progress,
};

use super::{
    args::RepoCommand,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::plain,
    json, output,
    table::{Cell, Column, Tone, render},
    waiting,
};
pub(crate) use repository::find;
use repository::show;
use source::source_of;

/// Runs one of the commands of `repo`.
pub(crate) async fn run(fleet: &Fleet, command: RepoCommand) -> Outcome {
    match command {
        RepoCommand::Ls { json } => list(fleet, json).await,
        RepoCommand::Add { source, name, branch, no_remote, json } => {
            let (name, branch) = (name.unwrap_or_default(), branch.unwrap_or_default());
            let request = AddRepositoryRequest { source: source_of(source)?, name, branch };
            add(fleet, request, !no_remote, json).await
        }
        RepoCommand::Clone { name, directory } => clone::run(fleet, &name, directory).await,
        RepoCommand::Fetch { name, json } => transfer::fetch(fleet, &name, json).await,
        RepoCommand::Push { name, branches, json } => transfer::push(fleet, &name, branches, json).await,
        RepoCommand::Remove { name, yes, force } => remove::run(fleet, &name, yes, force).await,
        RepoCommand::Rename { name, new, json } => {
            let found = find(fleet, &name).await?;
            let request = RenameRepositoryRequest { name: found.it.name.clone(), new_name: new };
            let renamed = found.host.ask(found.host.repositories().rename_repository(request)).await?;
            if json {
                return show(found.host, &renamed, true).await;
            }
            output::print(&format!("{} is called {} now\n", plain(&found.it.name), plain(&renamed.name)))?;
            let address = clone::remote_address(&found.host.address, &renamed.name)?;
            output::note(&format!("clones of it find it again by: git remote set-url pilothouse {}", plain(&address)));
            Ok(0)
        }
        RepoCommand::Show { name, json } => {
            let found = find(fleet, &name).await?;
            show(found.host, &found.it, json).await
        }
        RepoCommand::Set { name, change, json } => set::run(fleet, &name, change, json).await,
    }
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

async fn add(fleet: &Fleet, request: AddRepositoryRequest, remote: bool, json: bool) -> Outcome {
    let host = fleet.only("add")?;
    let source = PathBuf::from(&request.source);
    let mut repositories = host.repositories();
    let answer = waiting::shown("waiting for the host's answer", repositories.add_repository(request)).await;
    let mut parts = answer.map_err(|status| host.failure(&status))?.into_inner();
    let mut progress = progress::Import::new();
    let imported = loop {
        match progress.wait(parts.message()).await.map(|part| part.and_then(|part| part.progress)) {
            Ok(Some(Progress::Line(line))) => progress.line(&line),
            Ok(Some(Progress::Done(repository))) => break Ok(repository),
            Ok(None) => break Err(Failure::failed("the host ended the import without a word")),
            Err(status) => break Err(host.failure(&status)),
        }
    };
    progress.over();
    added(host, &imported?, remote.then_some(source.as_path()), json).await
}

async fn added(host: &Host, it: &Repository, clone: Option<&Path>, json: bool) -> Outcome {
    if let Some(clone) = clone.filter(|path| path.is_absolute()) {
        clone::add_remote(host, it, clone).await;
    }
    if json {
        return show(host, it, true).await;
    }
    let (name, branch, url) = (plain(&it.name), plain(&it.default_branch), plain(&it.url));
    output::print(&format!("{name} is there, on branch {branch}; recipes name it {url}\n"))?;
    Ok(0)
}
