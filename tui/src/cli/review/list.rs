use jiff::Timestamp;
use pilothouse_proto::hostd::v1::{ListPullsRequest, Pull};

use super::pull::name;
use crate::cli::{
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::{age, plain},
    json, output,
    table::{Cell, Column, Tone, render},
};

pub(super) async fn run(fleet: &Fleet, repo: Option<String>, all: bool, json: bool) -> Outcome {
    let repository = repo.unwrap_or_default();
    let question = async |host: &Host| {
        let request = ListPullsRequest { repository: repository.clone(), all };
        let pulls = host.ask(host.reviews().list_pulls(request)).await?.pulls;
        Ok((host.name().await, pulls))
    };
    let mut pulls: Vec<(String, Pull)> = vec![];
    for answer in fleet.gather(question).await? {
        let (host, of_host) = answer.it;
        pulls.extend(of_host.into_iter().map(|pull| (host.clone(), pull)));
    }
    if json {
        let all: Vec<_> = pulls.iter().map(|(host, pull)| json::Pull::new(host, pull)).collect();
        output::print_json(&all)?;
    } else {
        table(fleet.hosts().len() > 1, &pulls)?;
    }
    Ok(0)
}

fn table(many: bool, pulls: &[(String, Pull)]) -> Result<(), Failure> {
    if pulls.is_empty() {
        output::note("no pull requests; sessions open them with `session pr open`");
        return Ok(());
    }
    let mut columns = vec![
        // Never cut: people copy it.
        Column::fixed("PR"),
        Column::fixed("STATE"),
        Column::fixed("CHECKS"),
        Column::fixed("REVIEW"),
        Column::flexible("TITLE", 20),
        Column::flexible("SESSION", 8).expendable(2),
        Column::fixed("AGE").expendable(1),
    ];
    if many {
        columns.insert(6, Column::flexible("HOST", 8).expendable(3));
    }
    let now = Timestamp::now();
    let rows: Vec<_> = pulls.iter().map(|(host, pull)| row(many.then_some(host), pull, now)).collect();
    output::print(&render(&columns, &rows, output::width(), output::colour()))
}

fn row(host: Option<&String>, pull: &Pull, now: Timestamp) -> Vec<Cell> {
    let mut row: Vec<Cell> = vec![
        name(pull).into(),
        Cell(plain(&pull.state), if pull.state == "open" { Tone::Plain } else { Tone::Dim }),
        Cell(plain(&pull.outcome), outcome_tone(&pull.outcome)),
        Cell(plain(&pull.standing), standing_tone(&pull.standing)),
        plain(&pull.title).into(),
        plain(&pull.author).into(),
        age(pull.created_at, now).into(),
    ];
    if let Some(host) = host {
        row.insert(6, plain(host).into());
    }
    row
}

fn outcome_tone(word: &str) -> Tone {
    match word {
        "passed" => Tone::Good,
        "failed" => Tone::Bad,
        "none" => Tone::Dim,
        _ => Tone::Plain,
    }
}

fn standing_tone(word: &str) -> Tone {
    match word {
        "approved" => Tone::Good,
        "changes-requested" => Tone::Dim,
        _ => Tone::Warn,
    }
}
