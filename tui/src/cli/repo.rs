//! `repo`: the repositories of the hosts.

mod clone;
mod progress;
mod remove;
mod set;
mod transfer;

use std::path::{Component, Path, PathBuf};

use pilothouse_proto::hostd::v1::{
    AddRepositoryRequest, GetRepositoryRequest, ListRepositoriesRequest, RenameRepositoryRequest, Repository,
    add_repository_response::Progress,
};

use super::{
    args::RepoCommand,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host, On},
    format::{plain, plain_lines},
    json, output,
    show::{lines, when},
    table::{Cell, Column, Tone, render},
    waiting,
};

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

/// Finds the repository of this name, on the one host that has it.
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
        ("upstream", upstream(it)),
        ("open prs", it.open_pulls.to_string()),
        ("required checks", checks),
        ("approvals", rules.approvals.to_string()),
        ("merged by", plain(&rules.merge_method)),
        ("branches", if rules.keep_branches { "stay after a merge" } else { "are deleted after a merge" }.into()),
        ("direct pushes", direct_pushes(&rules.direct_push).into()),
    ];
    output::print(&lines(&facts, output::colour()))?;
    Ok(0)
}

/// Words about a repository's upstream: where it is, when it was fetched from last, and what was wrong then.
fn upstream(it: &Repository) -> String {
    if it.upstream.is_empty() {
        return "none".into();
    }
    let every = match it.fetch_every {
        0 => String::new(),
        seconds => format!(", fetched every {}", duration_text(seconds)),
    };
    let last = match it.fetched_at {
        0 => String::new(),
        at => format!("\nfetched {}", when(at)),
    };
    let error = if it.fetch_error.is_empty() { String::new() } else { format!(": {}", plain_lines(&it.fetch_error)) };
    format!("{}{every}{last}{error}", plain(&it.upstream))
}

fn duration_text(seconds: u64) -> String {
    match seconds {
        hours if hours % 3600 == 0 => format!("{}h", hours / 3600),
        minutes if minutes % 60 == 0 => format!("{}m", minutes / 60),
        seconds => format!("{seconds}s"),
    }
}

/// What people may push to the default branch.
fn direct_pushes(word: &str) -> &'static str {
    match word {
        "none" => "to the default branch are refused",
        "any" => "to the default branch may replace what it has",
        _ => "to the default branch go on top of what it has",
    }
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

/// The source that the host is told: URLs as they are, paths absolute.
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
    fn upstreams_are_told() {
        let it = Repository {
            upstream: "/srv/a".into(),
            fetch_every: 900,
            fetch_error: "no\x1b[2J".into(),
            ..Default::default()
        };
        assert_eq!(upstream(&it), "/srv/a, fetched every 15m: no[2J");
        assert_eq!(upstream(&Repository::default()), "none");
        assert_eq!((duration_text(7200), duration_text(90)), ("2h".into(), "90s".into()));
    }

    #[test]
    fn urls_pass_and_paths_become_absolute() {
        for url in ["https://example.com/a.git", "git@example.com:a/b.git", "/srv/a.git", "file:///srv/a.git"] {
            assert_eq!(source_of(url.into()).unwrap(), url);
        }
        assert_eq!(absolute(Path::new("/home/sam"), Path::new("../ann/./src/a")), Path::new("/home/ann/src/a"));
    }
}
