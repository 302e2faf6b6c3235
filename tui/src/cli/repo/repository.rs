//! The repository that a command of `repo` is about, and what is shown of it.

use pilothouse_proto::hostd::v1::{GetRepositoryRequest, Repository};

use crate::cli::{
    facts::{lines, when},
    failure::{Failure, Outcome},
    fleet::{Fleet, Host, On},
    format::{plain, plain_lines},
    json, output,
};

/// Finds the repository of this name, on the one host that has it.
pub(crate) async fn find<'a>(fleet: &'a Fleet, name: &str) -> Result<On<'a, Repository>, Failure> {
    let asked = async |host: &Host| {
        host.ask(host.repositories().get_repository(GetRepositoryRequest { name: name.to_owned() })).await
    };
    fleet.find(&format!("repository `{}`", plain(name)), asked, |it| it.name.clone()).await
}

/// Shows a repository of this host.
pub(super) async fn show(host: &Host, it: &Repository, json: bool) -> Outcome {
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
}
