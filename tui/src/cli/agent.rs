//! `agent ls`, `agent show` and `agent try`.

mod attempt;

use pilothouse_proto::hostd::v1::{AgentProfile, agent_profile::Mark};

use super::{
    args::AgentCommand,
    facts::lines,
    failure::{Failure, NOT_FOUND, Outcome},
    fleet::{Fleet, Host, On},
    format::{bytes, plain, plain_lines},
    json, output,
    table::{Cell, Column, Tone, render},
};

/// What npm packages of native programs have behind their version: the platform of guests.
const PLATFORMS: [&str; 2] = ["-linux-x64", "-linux-arm64"];

/// Runs one of the commands of `agent`.
pub(crate) async fn run(fleet: &Fleet, command: AgentCommand) -> Outcome {
    match command {
        AgentCommand::Ls { json } => list(fleet, json).await,
        AgentCommand::Show { name, json } => show(fleet, &name, json).await,
        AgentCommand::Try(options) => attempt::run(fleet, options).await,
    }
}

async fn list(fleet: &Fleet, json: bool) -> Outcome {
    let answers = fleet.gather(async |host: &Host| Ok((host.name().await, host.profiles().await?))).await?;
    let all: Vec<(String, AgentProfile)> = answers
        .into_iter()
        .flat_map(|On { it: (host, profiles), .. }| profiles.into_iter().map(move |it| (host.clone(), it)))
        .collect();
    if json {
        let all: Vec<_> = all.iter().map(|(host, it)| json::AgentProfile::new(host, it)).collect();
        output::print_json(&all)?;
        return Ok(0);
    }
    let many = fleet.hosts().len() > 1;
    let mut columns = vec![
        Column::fixed("PROFILE"),
        Column::flexible("VERSION", 8),
        Column::fixed("USER"),
        Column::fixed("MEMORY").expendable(1),
        Column::flexible("ABOUT", 12),
        Column::flexible("SOURCE", 8).expendable(2),
    ];
    if many {
        columns.insert(1, Column::flexible("HOST", 8));
    }
    let rows: Vec<_> = all.iter().map(|(host, it)| row(many.then_some(host), it)).collect();
    output::print(&render(&columns, &rows, output::width(), output::colour()))?;
    Ok(0)
}

fn row(host: Option<&String>, it: &AgentProfile) -> Vec<Cell> {
    let wrong = !it.error.is_empty();
    let version = it.npm.first().or(it.python.first()).map(|pin| version(pin)).unwrap_or_default();
    let memory = if it.memory_bytes == 0 { String::new() } else { bytes(it.memory_bytes) };
    let about = if wrong { Cell(plain(&it.error), Tone::Bad) } else { plain(&it.about).into() };
    let mut row: Vec<Cell> = vec![
        plain(&it.name).into(),
        plain(version).into(),
        plain(&it.user).into(),
        memory.into(),
        about,
        plain(&it.source).into(),
    ];
    if let Some(host) = host {
        row.insert(1, plain(host).into());
    }
    row
}

/// Version of a package that is pinned as `name@version` or `name==version`, without the platform that npm packages of native
/// programs have behind it.
fn version(pin: &str) -> &str {
    let version = pin.rsplit(['@', '=']).next().unwrap_or_default();
    PLATFORMS.iter().find_map(|platform| version.strip_suffix(platform)).unwrap_or(version)
}

/// Finds the profile of this name on exactly one host.
async fn find<'a>(fleet: &'a Fleet, name: &str) -> Result<On<'a, AgentProfile>, Failure> {
    let asked = async |host: &'a Host| {
        let profiles = host.profiles().await?;
        let known = profiles.iter().map(|it| plain(&it.name)).collect::<Vec<_>>().join(", ");
        let missing =
            || Failure::new(NOT_FOUND, format!("there is no agent profile `{}`; there are: {known}", plain(name)));
        profiles.into_iter().find(|it| it.name == name).ok_or_else(missing)
    };
    fleet.find(&format!("agent profile `{}`", plain(name)), asked, |it| it.name.clone()).await
}

async fn show(fleet: &Fleet, name: &str, json: bool) -> Outcome {
    let found = find(fleet, name).await?;
    let host = found.host.name().await;
    let it = &found.it;
    if json {
        output::print_json(&json::AgentProfile::new(&host, it))?;
        return Ok(0);
    }
    let variables = |it: &AgentProfile| {
        let mut all: Vec<_> = it.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        all.sort();
        plain_lines(&all.join("\n"))
    };
    let facts = vec![
        ("profile", plain(&it.name)),
        ("host", host),
        ("source", plain(&it.source)),
        ("error", plain_lines(&it.error)),
        ("about", plain(&it.about)),
        ("command", plain(&it.command.join(" "))),
        ("task", plain(&it.task)),
        ("resume", plain(&it.resume.join(" "))),
        ("user", if it.sudo { format!("{}, with sudo", plain(&it.user)) } else { plain(&it.user) }),
        ("memory", if it.memory_bytes == 0 { String::new() } else { bytes(it.memory_bytes) }),
        ("debian", plain(&it.packages.join(" "))),
        ("npm", plain_lines(&it.npm.join("\n"))),
        ("python", plain_lines(&it.python.join("\n"))),
        ("egress", plain_lines(&it.egress.join("\n"))),
        ("credentials", plain(&it.credentials.join(" "))),
        ("variables", variables(it)),
        ("files", plain_lines(&it.files.join("\n"))),
        ("hooks", plain(&it.hooks.join(" "))),
        ("titles", marks(&it.titles)),
        ("patterns", marks(&it.patterns)),
        ("allow", plain(&it.allow.join(" "))),
        ("deny", plain(&it.deny.join(" "))),
        ("after limit", plain(&it.after_rate_limit)),
        ("conversation", plain(&it.conversation_file)),
        ("rehearsed", if it.rehearse { "in warm VMs".into() } else { String::new() }),
    ];
    output::print(&lines(&facts, output::colour()))?;
    Ok(0)
}

/// What texts of the terminal mean, one a line.
fn marks(marks: &[Mark]) -> String {
    let line = |mark: &Mark| format!("{}: {}", plain(&mark.means), plain(&mark.contains));
    marks.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_without_their_platform() {
        for (pin, expected) in [
            ("@openai/codex@0.171.0-linux-x64", "0.171.0"),
            ("@qwen-code/qwen-code@0.24.4", "0.24.4"),
            ("aider-chat==0.86.1", "0.86.1"),
            ("a@1.0.0-rc.1", "1.0.0-rc.1"),
        ] {
            assert_eq!(version(pin), expected, "{pin}");
        }
    }
}
