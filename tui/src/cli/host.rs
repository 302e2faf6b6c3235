//! `host ls` and `host show`; the other commands of `host` are beside.

mod drain;
mod edit;
mod test;

use futures::future::join_all;
use pilothouse_proto::hostd::v1::{HostAccounts, HostInfo};

use super::{
    args::HostCommand,
    facts::{lines, when},
    failure::{Failure, NOT_FOUND, Outcome, UNREACHABLE},
    fleet::{Fleet, Host},
    format::{bytes, plain, plain_lines},
    json, output,
    table::{Cell, Column, Tone, render},
    waiting,
};

/// Runs one of the commands of `host`.
pub(crate) async fn run(fleet: &Fleet, command: HostCommand) -> Outcome {
    match command {
        HostCommand::Ls { json } => list(fleet, json).await,
        HostCommand::Show { name, json } => show(fleet, name, json).await,
        HostCommand::Test { hosts, json } => test::run(fleet, &hosts, json).await,
        HostCommand::Drain { name, yes, json } => drain::drain(fleet, name, yes, json).await,
        HostCommand::Undrain { name } => drain::undrain(fleet, name).await,
        HostCommand::Add { .. } | HostCommand::Rm { .. } => edit(command).await,
    }
}

/// Runs a command that changes which hosts there are.
pub(crate) async fn edit(command: HostCommand) -> Outcome {
    match command {
        HostCommand::Add { name, address, hostd, unreached } => edit::add(&name, &address, hostd, unreached).await,
        HostCommand::Rm { name } => edit::remove(&name),
        HostCommand::Ls { .. }
        | HostCommand::Show { .. }
        | HostCommand::Test { .. }
        | HostCommand::Drain { .. }
        | HostCommand::Undrain { .. } => Ok(0),
    }
}

/// Lists the hosts. A dead host stands in the list too; only if all are dead has this failed.
async fn list(fleet: &Fleet, json: bool) -> Outcome {
    let answers = waiting::shown("waiting for the hosts", join_all(fleet.hosts().iter().map(Host::info))).await;
    let hosts: Vec<_> =
        fleet.hosts().iter().zip(&answers).map(|(host, answer)| (host, name(host, answer), answer)).collect();
    if json {
        let all: Vec<_> = hosts.iter().map(|(host, name, answer)| shape(host, name, answer)).collect();
        output::print_json(&all)?;
    } else {
        let columns = [
            Column::flexible("HOST", 10),
            Column::fixed("STATE"),
            Column::fixed("SESSIONS"),
            Column::fixed("RUNNING"),
            Column::fixed("CPUS").expendable(3),
            Column::fixed("MEMORY FREE"),
            Column::fixed("DISK FREE").expendable(2),
            Column::fixed("VMM").expendable(1),
            Column::flexible("VERSION", 5).expendable(4),
        ];
        let rows: Vec<_> = hosts.iter().map(|(_, name, answer)| row(name, answer)).collect();
        output::print(&render(&columns, &rows, output::width(), output::colour()))?;
    }
    let failures: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    for failure in &failures {
        output::note(&format!("warning: {}", failure.message));
    }
    Ok(if failures.len() == answers.len() { UNREACHABLE } else { 0 })
}

fn name(host: &Host, answer: &Result<HostInfo, Failure>) -> String {
    match answer {
        Ok(info) if host.address.is_nameless() && !info.name.is_empty() => plain(&info.name),
        _ => host.address.name.clone(),
    }
}

fn shape<'a>(host: &Host, name: &'a str, answer: &'a Result<HostInfo, Failure>) -> json::Host<'a> {
    let address = host.address.endpoint.to_string();
    json::Host::new(name, address, answer.as_ref().map_err(|failure| failure.message.as_str()))
}

fn row(name: &str, answer: &Result<HostInfo, Failure>) -> Vec<Cell> {
    let Ok(info) = answer else {
        return vec![plain(name).into(), Cell("out of reach".into(), Tone::Bad)];
    };
    let state = match info.problems.len() {
        _ if !info.drained_by.is_empty() => Cell("drained".into(), Tone::Warn),
        0 => Cell("ready".into(), Tone::Good),
        1 => Cell("1 problem".into(), Tone::Warn),
        many => Cell(format!("{many} problems"), Tone::Warn),
    };
    vec![
        plain(name).into(),
        state,
        info.sessions.to_string().into(),
        info.running.to_string().into(),
        info.cpus.to_string().into(),
        format!("{} of {}", bytes(info.memory_available), bytes(info.memory_total)).into(),
        format!("{} of {}", bytes(info.disk_available), bytes(info.disk_total)).into(),
        format!("{}, {}", plain(&info.vmm), plain(&info.accelerator)).into(),
        plain(&info.version).into(),
    ]
}

async fn show(fleet: &Fleet, wanted: Option<String>, json: bool) -> Outcome {
    let (host, info) = wanted_host(fleet, wanted, "show").await?;
    let answer = Ok(info);
    let name = name(host, &answer);
    if json {
        output::print_json(&shape(host, &name, &answer))?;
    } else if let Ok(info) = &answer {
        output::print(&lines(&facts(&name, host, info), output::colour()))?;
    }
    Ok(0)
}

/// The host of this name, or the only one; `what` is to be done with it.
async fn wanted_host<'a>(
    fleet: &'a Fleet,
    wanted: Option<String>,
    what: &'static str,
) -> Result<(&'a Host, HostInfo), Failure> {
    match wanted {
        None => {
            let host = fleet.only(what)?;
            Ok((host, host.info().await?))
        }
        Some(wanted) => find(fleet, &wanted).await,
    }
}

/// Finds a host by its configured name, its address, or what it calls itself.
async fn find<'a>(fleet: &'a Fleet, wanted: &str) -> Result<(&'a Host, HostInfo), Failure> {
    if let Some(host) = fleet.hosts().iter().find(|host| host.address.name == wanted) {
        return Ok((host, host.info().await?));
    }
    let answers = join_all(fleet.hosts().iter().map(Host::info)).await;
    let mut found = fleet.hosts().iter().zip(answers).filter_map(|(host, answer)| Some((host, answer.ok()?)));
    found.find(|(_, info)| info.name == wanted).ok_or_else(|| {
        Failure::new(NOT_FOUND, format!("there is no host `{}`", plain(wanted))).hint("`pilothouse host ls` lists them")
    })
}

fn memory_use(a: &HostAccounts) -> String {
    amounts(&[
        ("sessions alone", a.memory_private),
        ("warm VMs", a.memory_warm),
        ("CI", a.memory_ci),
        ("builds", a.memory_builds),
        ("shared by them", a.memory_shared),
        ("page cache", a.memory_cache),
        ("free", a.memory_free),
        ("reserve", a.memory_reserve),
        ("at most for sessions", a.memory_most),
    ])
}

fn disk_use(a: &HostAccounts) -> String {
    amounts(&[
        ("bases", a.disk_bases),
        ("builds and templates", a.disk_builds),
        ("sessions' disks", a.disk_layers),
        ("snapshots", a.disk_snapshots),
        ("warm VMs", a.disk_warm),
        ("CI", a.disk_ci),
        ("logs", a.disk_logs),
        ("other", a.disk_other),
        ("reserve", a.disk_reserve),
    ])
}

/// Names and bytes of the sessions that take the room, the largest first.
fn largest(a: &HostAccounts) -> String {
    a.sessions.iter().map(|s| format!("{} {}", plain(&s.slug), bytes(s.bytes))).collect::<Vec<_>>().join(", ")
}

fn amounts(of: &[(&str, u64)]) -> String {
    of.iter().map(|(what, amount)| format!("{what} {}", bytes(*amount))).collect::<Vec<_>>().join(", ")
}

/// By whom the host is drained, and since when; empty: it is not.
fn drained(info: &HostInfo) -> String {
    match info.drained_by.as_str() {
        "" => String::new(),
        by => format!("by {}, {}; `pilothouse host undrain` has it take VMs again", plain(by), when(info.drained_at)),
    }
}

fn facts(name: &str, host: &Host, info: &HostInfo) -> Vec<(&'static str, String)> {
    let accelerator = match info.accelerator_reason.as_str() {
        "" => plain(&info.accelerator),
        reason => format!("{} ({})", plain(&info.accelerator), plain(reason)),
    };
    let free = |available, total| format!("{} free of {}", bytes(available), bytes(total));
    vec![
        ("host", plain(name)),
        ("address", host.address.endpoint.to_string()),
        ("version", plain(&info.version)),
        ("vmm", plain(&info.vmm)),
        ("accelerator", accelerator),
        ("qemu", plain(&info.qemu_version)),
        ("guest kernel", plain(&info.kernel_version)),
        ("cpus", info.cpus.to_string()),
        ("memory", free(info.memory_available, info.memory_total)),
        ("disk", free(info.disk_available, info.disk_total)),
        ("memory use", info.accounts.as_ref().map(memory_use).unwrap_or_default()),
        ("disk use", info.accounts.as_ref().map(disk_use).unwrap_or_default()),
        ("largest", info.accounts.as_ref().map(largest).unwrap_or_default()),
        ("drained", drained(info)),
        ("sessions", format!("{}, {} running", info.sessions, info.running)),
        ("data", plain(&info.data_directory)),
        ("started", when(info.started_at)),
        ("problems", info.problems.iter().map(|problem| plain_lines(problem)).collect::<Vec<_>>().join("\n")),
    ]
}
