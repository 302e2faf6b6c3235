//! `credential ls` and `credential check`. No secret comes this way.

use pilothouse_proto::hostd::v1::{
    CheckCredentialRequest, CheckCredentialResponse, Credential, HostAnswer, ListCredentialsRequest,
};

use super::{
    args::CredentialCommand,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::{plain, plain_lines},
    json, output,
    table::{Cell, Column, Tone, render},
};

/// Runs one of the commands of `credential`.
pub(crate) async fn run(fleet: &Fleet, command: CredentialCommand) -> Outcome {
    match command {
        CredentialCommand::Ls { json } => list(fleet.only("ls")?, json).await,
        CredentialCommand::Check { name, json } => check(fleet.only("check")?, name, json).await,
    }
}

async fn list(host: &Host, json: bool) -> Outcome {
    let answer = host.ask(host.credentials().list(ListCredentialsRequest {})).await?;
    if json {
        output::print_json(&answer.credentials.iter().map(json::Credential::new).collect::<Vec<_>>())?;
    } else if answer.credentials.is_empty() {
        output::note(&format!("no credentials; {} on the host would name some", plain(&answer.path)));
    } else {
        let columns = [
            Column::fixed("CREDENTIAL"),
            Column::flexible("HOSTS", 16),
            Column::flexible("GOES IN AS", 10).expendable(2),
            Column::flexible("SECRET", 12),
            Column::fixed("STATE"),
            Column::flexible("ENVIRONMENTS", 10).expendable(1),
        ];
        let rows: Vec<_> = answer.credentials.iter().map(row).collect();
        output::print(&render(&columns, &rows, output::width(), output::colour()))?;
    }
    for one in answer.credentials.iter().filter(|one| !one.readable) {
        output::note(&format!("warning: the secret of {}: {}", plain(&one.name), plain_lines(&one.problem)));
    }
    if answer.problem.is_empty() {
        return Ok(0);
    }
    Err(Failure::failed(format!("the file as it is now is not in force: {}", plain_lines(&answer.problem)))
        .hint("what it said before stays in force until it is mended"))
}

fn row(one: &Credential) -> Vec<Cell> {
    let list = |words: &[String]| plain(&words.join(", "));
    let place =
        if one.path.is_empty() { plain(&one.place) } else { format!("{} at {}", plain(&one.place), plain(&one.path)) };
    let state = if one.readable { Cell("readable".into(), Tone::Good) } else { Cell("unreadable".into(), Tone::Bad) };
    let environments = if one.environments.is_empty() { "none".into() } else { list(&one.environments) };
    vec![
        plain(&one.name).into(),
        list(&one.hosts).into(),
        place.into(),
        plain(&one.source).into(),
        state,
        environments.into(),
    ]
}

async fn check(host: &Host, name: Option<String>, json: bool) -> Outcome {
    let names = match name {
        Some(name) => vec![name],
        None => {
            let all = host.ask(host.credentials().list(ListCredentialsRequest {})).await?.credentials;
            all.into_iter().map(|one| one.name).collect()
        }
    };
    let mut answers = vec![];
    for name in names {
        answers.push(host.ask(host.credentials().check(CheckCredentialRequest { name })).await?);
    }
    let good = answers.iter().all(is_good);
    if json {
        output::print_json(&answers.iter().map(json::CheckedCredential::new).collect::<Vec<_>>())?;
    } else {
        for answer in &answers {
            output::print(&text(answer))?;
        }
    }
    Ok(u8::from(!good))
}

fn is_good(answer: &CheckCredentialResponse) -> bool {
    answer.credential.as_ref().is_some_and(|one| one.readable) && answer.answers.iter().all(|it| meaning(it).1)
}

fn text(answer: &CheckCredentialResponse) -> String {
    let Some(one) = &answer.credential else { return String::new() };
    let name = plain(&one.name);
    if !one.readable {
        return format!("{name}: the secret cannot be read: {}\n", plain_lines(&one.problem));
    }
    if answer.answers.is_empty() {
        return format!("{name}: the secret was read; its hosts are not known by name, and were not asked\n");
    }
    answer.answers.iter().map(|it| format!("{name}: {} {}\n", plain(&it.host), meaning(it).0)).collect()
}

/// What a host's answer means, and whether it took the secret as far as can be told: without a question of its own a host may
/// answer anything but that it does not know who asks.
pub(crate) fn meaning(answer: &HostAnswer) -> (String, bool) {
    match answer.status {
        0 => (format!("gave no proper answer: {}", plain_lines(&answer.problem)), false),
        401 | 403 | 407 => (format!("does not take the secret: it answered {}", answer.status), false),
        status => (format!("answered {status}"), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_refuses_is_told_from_one_that_does_not_know_the_path() {
        let of = |status, problem: &str| meaning(&HostAnswer { host: "a".into(), status, problem: problem.into() });
        assert_eq!(of(404, ""), ("answered 404".into(), true));
        assert!(!of(401, "").1);
        assert_eq!(of(0, "no\u{1b}route"), ("gave no proper answer: noroute".into(), false));
    }
}
