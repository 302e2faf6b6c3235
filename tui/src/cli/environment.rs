//! `env ls`, `env show` and `env build`.

pub(super) mod build;

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::{Build, Environment};

use super::{
    args::EnvCommand,
    facts::{lines, when},
    failure::{Failure, Outcome},
    fleet::Fleet,
    format::{age, bytes, plain, plain_lines},
    json, output,
    table::{Cell, Column, Tone, render},
};

/// Runs one of the commands of `env`.
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
        Column::fixed("WARM"),
        Column::fixed("ON DISK"),
        Column::fixed("SIZE").expendable(1),
        Column::flexible("REPOSITORY", 8).expendable(2),
        Column::flexible("AGENT", 8).expendable(3),
    ];
    if many {
        columns.insert(1, Column::flexible("HOST", 8));
    }
    let rows: Vec<_> = all
        .iter()
        .flat_map(|(host, it)| {
            let host = many.then_some(host);
            std::iter::once(row(host, it)).chain(it.older.iter().map(move |build| older(host, build)))
        })
        .collect();
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
        warm(it).into(),
        it.build.as_ref().map(on_disk).unwrap_or_default().into(),
        size(it).into(),
        plain(&it.repository).into(),
        plain(&it.agent.join(" ")).into(),
    ];
    if let Some(host) = host {
        row.insert(1, plain(host).into());
    }
    row
}

/// Row of a build that is not in use any more, below its environment.
fn older(host: Option<&String>, build: &Build) -> Vec<Cell> {
    let mut row: Vec<Cell> = vec![
        format!("  {}", plain(&build.id)).into(),
        Cell("older".into(), Tone::Dim),
        (age(build.created_at, Timestamp::now()) + " ago").into(),
        build.sessions.to_string().into(),
        String::new().into(),
        on_disk(build).into(),
    ];
    if let Some(host) = host {
        row.insert(1, plain(host).into());
    }
    row
}

/// Bytes of a build on disk, without the base, which others may share.
fn on_disk(build: &Build) -> String {
    bytes(build.size_bytes.saturating_add(build.template_bytes))
}

/// Ports that a devcontainer.json would have forwarded, and how they are.
fn ports(build: &Build) -> String {
    let ports: Vec<String> = build.forward_ports.iter().map(u32::to_string).collect();
    match ports.first() {
        Some(first) => format!("{}; `pilothouse forward SESSION {first}` reaches one", ports.join(", ")),
        None => String::new(),
    }
}

/// Numbers of VMs that stand ready and of those that are wanted.
fn warm(it: &Environment) -> String {
    if it.warm_max == 0 { String::new() } else { format!("{}/{}", it.warm_ready, it.warm_wanted) }
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
    if it.warm_max > 0 {
        let (ready, wanted, min, max) = (it.warm_ready, it.warm_wanted, it.warm_min, it.warm_max);
        facts.push(("warm VMs", format!("{ready} ready of {wanted} wanted ({min} to {max})")));
        facts.push(("unrehearsed", plain_lines(&it.warm_unrehearsed)));
    }
    if let Some(build) = &it.build {
        let template = match build.template_bytes {
            0 => "no template: its sessions boot".into(),
            some => format!("a template of {}", bytes(some)),
        };
        let sizes = format!("{} on a base of {}, {template}", bytes(build.size_bytes), bytes(build.base_bytes));
        facts.extend([
            ("build", plain(&build.id)),
            ("image", plain(&build.image)),
            ("devcontainer", plain(&build.devcontainer)),
            ("ports", ports(build)),
            ("not honoured", build.not_honoured.iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n")),
            ("commit", plain(&build.commit)),
            ("built", when(build.created_at)),
        ]);
        facts.push(("on disk", sizes));
    }
    let older = it.older.iter().map(|build| {
        let sessions = if build.sessions == 1 { "1 session".into() } else { format!("{} sessions", build.sessions) };
        format!("{}, built {}, {sessions}, {}", plain(&build.id), when(build.created_at), on_disk(build))
    });
    facts.push(("older builds", older.collect::<Vec<_>>().join("\n")));
    let text = lines(&facts, output::colour()) + "\n" + plain_lines(&it.recipe).trim_end() + "\n";
    output::print(&text)?;
    Ok(0)
}
