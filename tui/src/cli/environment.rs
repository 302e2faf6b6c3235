//! `env ls`, `env show` and `env build`.

mod build;

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::Environment;

use super::{
    args::EnvCommand,
    failure::{Failure, Outcome},
    fleet::Fleet,
    format::{age, bytes, plain, plain_lines},
    json, output,
    show::{lines, when},
    table::{Cell, Column, Tone, render},
};

/// Runs one of them.
pub(crate) async fn run(fleet: &Fleet, command: EnvCommand) -> Outcome {
    match command {
        EnvCommand::Ls { json } => list(fleet, json).await,
        EnvCommand::Build { environment, json } => build::run(fleet, &environment, json).await,
        EnvCommand::Show { name, json } => show(fleet, &name, json).await,
    }
}

async fn list(fleet: &Fleet, json: bool) -> Outcome {
    let answers = fleet.environments().await?;
    let mut all: Vec<(String, Environment)> = Vec::new();
    for answer in answers {
        let (host, of_host) = answer.it;
        all.extend(of_host.into_iter().map(|environment| (host.clone(), environment)));
    }
    all.sort_by(|(a_host, a), (b_host, b)| (&a.name, a_host).cmp(&(&b.name, b_host)));
    if json {
        let all: Vec<_> = all.iter().map(|(host, it)| json::Environment::new(host, it)).collect();
        output::print_json(&all)?;
    } else {
        print(fleet.hosts().len() > 1, &all)?;
    }
    Ok(0)
}

fn print(many: bool, all: &[(String, Environment)]) -> Result<(), Failure> {
    if all.is_empty() {
        output::note("no environments; `pilothouse env build FILE` makes one from a recipe");
        return Ok(());
    }
    let mut columns = vec![
        Column::fixed("ENVIRONMENT"),
        Column::fixed("STATE"),
        Column::fixed("BUILT"),
        Column::fixed("SESSIONS"),
        Column::fixed("SIZE").expendable(1),
        Column::flexible("REPOSITORY", 8).expendable(2),
        Column::flexible("AGENT", 8).expendable(3),
    ];
    if many {
        columns.insert(1, Column::flexible("HOST", 8));
    }
    let rows: Vec<_> = all.iter().map(|(host, it)| row(many.then_some(host), it)).collect();
    output::print(&render(&columns, &rows, output::width(), output::colour()))
}

fn row(host: Option<&String>, it: &Environment) -> Vec<Cell> {
    let tone = match it.state.as_str() {
        "ready" => Tone::Good,
        "failed" => Tone::Bad,
        "building" => Tone::Warn,
        _ => Tone::Dim,
    };
    let built = it.build.as_ref().map_or("never".into(), |build| age(build.created_at, Timestamp::now()) + " ago");
    let mut row: Vec<Cell> = vec![
        plain(&it.name).into(),
        Cell(plain(&it.state), tone),
        built.into(),
        it.sessions.to_string().into(),
        size(it).into(),
        plain(&it.repository).into(),
        plain(&it.agent.join(" ")).into(),
    ];
    if let Some(host) = host {
        row.insert(1, plain(host).into());
    }
    row
}

fn size(it: &Environment) -> String {
    let vcpus = if it.vcpus == 1 { "1 vcpu".into() } else { format!("{} vcpus", it.vcpus) };
    format!("{vcpus}, {}", bytes(it.memory_bytes))
}

async fn show(fleet: &Fleet, name: &str, json: bool) -> Outcome {
    let found = fleet.environment(name).await?;
    let host = found.host.name().await;
    if json {
        output::print_json(&json::Environment::new(&host, &found.it))?;
        return Ok(0);
    }
    let it = &found.it;
    let mut facts = vec![
        ("environment", plain(&it.name)),
        ("host", host),
        ("state", plain(&it.state)),
        ("error", plain_lines(&it.error)),
        ("source", plain(&it.source)),
        ("size", format!("{}, disk {}", size(it), bytes(it.disk_bytes))),
        ("repository", plain(&it.repository)),
        ("agent", plain(&it.agent.join(" "))),
        ("sessions", it.sessions.to_string()),
    ];
    if let Some(build) = &it.build {
        let sizes = format!("{} on a base of {}", bytes(build.size_bytes), bytes(build.base_bytes));
        facts.extend([
            ("build", plain(&build.id)),
            ("commit", plain(&build.commit)),
            ("built", when(build.created_at)),
        ]);
        facts.push(("on disk", sizes));
    }
    let text = lines(&facts, output::colour()) + "\n" + plain_lines(&it.recipe).trim_end() + "\n";
    output::print(&text)?;
    Ok(0)
}
