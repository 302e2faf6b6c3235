//! `checks`: lists them, prints their logs, runs them again, reports them.

use std::{
    io::{self, Read, Seek as _, SeekFrom},
    path::Path,
};

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::{Check, CheckLogRequest, ListChecksRequest, ReportCheckRequest, RerunChecksRequest};

use super::{
    args::{ChecksCommand, Of},
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::{age, plain},
    json, log, output, repo, review,
    table::{Cell, Column, Tone, render},
};

/// Most bytes of a log that are sent to a host, from its end.
const LOG_MAX: usize = 3 << 20;

/// Runs one of the commands of `checks`.
pub(crate) async fn run(fleet: &Fleet, command: ChecksCommand) -> Outcome {
    match command {
        ChecksCommand::Ls { of, json } => list(fleet, of, json).await,
        ChecksCommand::Log { of, name, follow } => print_log(fleet, of, name.unwrap_or_default(), follow).await,
        ChecksCommand::Rerun { of, name } => rerun(fleet, of, name.unwrap_or_default()).await,
        ChecksCommand::Report { repo, commit, name, state, url, summary, log } => {
            let log = match log {
                Some(file) => read(&file)?.into(),
                None => bytes::Bytes::new(),
            };
            let (url, summary) = (url.unwrap_or_default(), summary.unwrap_or_default());
            report(fleet, ReportCheckRequest { repository: repo, commit, name, state, url, summary, log }).await
        }
    }
}

/// Finds whose checks are meant: the host, and its words for pull request, repository and commit.
async fn whose(fleet: &Fleet, of: Of) -> Result<(&Host, String, String, String), Failure> {
    match of {
        Of { pull: Some(pull), commit: None, .. } => {
            let found = review::find(fleet, &pull).await?;
            Ok((found.host, review::name(&found.it), String::new(), String::new()))
        }
        Of { pull: None, repo: Some(repository), commit: Some(commit) } => {
            let found = repo::find(fleet, &repository).await?;
            Ok((found.host, String::new(), repository, commit))
        }
        _ => Err(Failure::usage("say either a pull request, or --repo and --commit")),
    }
}

async fn list(fleet: &Fleet, of: Of, json: bool) -> Outcome {
    let (host, pull, repository, commit) = whose(fleet, of).await?;
    let request = ListChecksRequest { pull, repository, commit };
    let checks = host.ask(host.checks().list_checks(request)).await?.checks;
    if json {
        output::print_json(&checks.iter().map(json::Check::new).collect::<Vec<_>>())?;
    } else if checks.is_empty() {
        output::note("no checks were reported; `pilothouse checks report` does so for CI that runs elsewhere");
    } else {
        let columns = [
            Column::fixed("CHECK"),
            Column::fixed("STATE"),
            Column::fixed("REQUIRED").expendable(2),
            Column::flexible("SUMMARY", 20),
            Column::fixed("AGE").expendable(1),
            Column::flexible("URL", 20).expendable(3),
        ];
        let rows: Vec<_> = checks.iter().map(row).collect();
        output::print(&render(&columns, &rows, output::width(), output::colour()))?;
    }
    Ok(0)
}

fn row(check: &Check) -> Vec<Cell> {
    let tone = match check.state.as_str() {
        "passed" => Tone::Good,
        "failed" | "errored" => Tone::Bad,
        "cancelled" => Tone::Dim,
        _ => Tone::Plain,
    };
    vec![
        plain(&check.name).into(),
        Cell(plain(&check.state), tone),
        if check.required { "yes" } else { "no" }.into(),
        plain(&check.summary).into(),
        age(check.updated_at, Timestamp::now()).into(),
        plain(&check.url).into(),
    ]
}

/// The name of the check that is meant: with --commit the first word is the check's.
fn name_of(of: &mut Of, name: String) -> String {
    if of.commit.is_some() && name.is_empty() { of.pull.take().unwrap_or_default() } else { name }
}

async fn rerun(fleet: &Fleet, mut of: Of, name: String) -> Outcome {
    let name = name_of(&mut of, name);
    let (host, pull, repository, commit) = whose(fleet, of).await?;
    let request = RerunChecksRequest { pull, repository, commit, name };
    for name in host.ask(host.checks().rerun_checks(request)).await?.names {
        output::print(&format!("{} runs again\n", plain(&name)))?;
    }
    Ok(0)
}

async fn print_log(fleet: &Fleet, mut of: Of, name: String, follow: bool) -> Outcome {
    let name = name_of(&mut of, name);
    let (host, pull, repository, commit) = whose(fleet, of).await?;
    let request = CheckLogRequest { pull, repository, commit, name, follow };
    let mut pieces = host.ask(host.checks().check_log(request)).await?;
    let mut shown = log::Shown::new();
    while let Some(piece) = pieces.message().await.map_err(|status| host.failure(&status))? {
        shown.write(&piece.data)?;
    }
    shown.end()
}

async fn report(fleet: &Fleet, request: ReportCheckRequest) -> Outcome {
    let host = match fleet.hosts() {
        [host] => host,
        _ => repo::find(fleet, &request.repository).await?.host,
    };
    let (name, state) = (plain(&request.name), plain(&request.state));
    let answer = host.ask(host.checks().report_check(request)).await?;
    output::print(&if answer.changed {
        format!("{name} is {state}\n")
    } else {
        format!("{name} was {state} already\n")
    })?;
    Ok(0)
}

/// Reads the end of a log's file; of stdin for `-`.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: io::Error| Failure::usage(format!("cannot read {}: {error}", file.display()));
    if file == Path::new("-") {
        return end_of(io::stdin().lock()).map_err(unreadable);
    }
    let mut opened = std::fs::File::open(file).map_err(unreadable)?;
    let length = opened.metadata().map_err(unreadable)?.len();
    let from = length.saturating_sub(LOG_MAX as u64);
    // What cannot be sought in (a pipe) says that it is empty, and is read from where it stands.
    if from > 0 {
        opened.seek(SeekFrom::Start(from)).map_err(unreadable)?;
    }
    end_of(opened).map_err(unreadable)
}

/// Reads to the end and keeps the last of it.
fn end_of(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let (mut kept, mut buffer) = (vec![], vec![0; 64 << 10]);
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            kept.drain(..kept.len().saturating_sub(LOG_MAX));
            return Ok(kept);
        }
        kept.extend_from_slice(&buffer[..length]);
        if kept.len() > 2 * LOG_MAX {
            kept.drain(..kept.len() - LOG_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_end_is_kept() {
        let long = io::repeat(b'x').take(3 * LOG_MAX as u64 + 17).chain(&b"end"[..]);
        let kept = end_of(long).unwrap();
        assert!(kept.len() == LOG_MAX && kept.ends_with(b"xend"));
        assert_eq!(end_of(&b"short"[..]).unwrap(), b"short");
    }
}
