//! What a shell may put in for a word: also what only the hosts know, such as sessions and pull requests.

use std::time::Duration;

use clap_complete::{
    ArgValueCandidates, CompletionCandidate,
    env::{CompleteEnv, Shells},
};

use pilothouse_proto::hostd::v1::{ListPullsRequest, ListRepositoriesRequest};

use super::{
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::plain,
    output,
};
use crate::client::Hosts;

/// Variable that the script which [`script`] prints sets to the name of the shell.
const VARIABLE: &str = "COMPLETE";
/// Longest wait for all hosts to answer: somebody has pressed Tab.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers a shell that asks how a line of the command that `command` makes goes on; returns whether one did.
pub(crate) fn answered(command: impl Fn() -> clap::Command) -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    let complete = CompleteEnv::with_factory(command).var(VARIABLE);
    // There is nobody to tell; a shell shows no completions then.
    complete.try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref()).unwrap_or(true)
}

/// Prints the script that makes a shell ask [`answered`].
pub(crate) fn script(shell: clap_complete::Shell) -> Outcome {
    let shells = Shells::builtins();
    let name = shell.to_string();
    let writer = shells.completer(&name).ok_or_else(|| Failure::usage(format!("{name} is not known")))?;
    let mut script = Vec::new();
    writer
        .write_registration(VARIABLE, "pilothouse", "pilothouse", "pilothouse", &mut script)
        .map_err(|error| Failure::failed(format!("no completions for {name}: {error}")))?;
    output::write(&script)?;
    Ok(0)
}

/// Completes with the slugs of all sessions.
pub(crate) fn sessions() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        asked(async |fleet| {
            let answers = fleet.sessions().await.unwrap_or_default();
            let all = answers.into_iter().flat_map(|on| on.it.1);
            all.map(|session| candidate(&session.slug, &session.title)).collect()
        })
    })
}

/// Completes with the names of all environments.
pub(crate) fn environments() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        asked(async |fleet| {
            let answers = fleet.environments().await.unwrap_or_default();
            let all = answers.into_iter().flat_map(|on| on.it.1);
            all.map(|environment| candidate(&environment.name, &environment.state)).collect()
        })
    })
}

/// Completes with the names of all agent profiles.
pub(crate) fn profiles() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        asked(async |fleet| {
            let question = async |host: &Host| host.profiles().await;
            let answers = fleet.gather(question).await.unwrap_or_default();
            let all = answers.into_iter().flat_map(|on| on.it);
            all.map(|profile| candidate(&profile.name, &profile.about)).collect()
        })
    })
}

/// Names of all repositories.
pub(crate) fn repositories() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        asked(async |fleet| {
            let question =
                async |host: &Host| host.ask(host.repositories().list_repositories(ListRepositoriesRequest {})).await;
            let answers = fleet.gather(question).await.unwrap_or_default();
            let all = answers.into_iter().flat_map(|on| on.it.repositories);
            all.map(|repository| candidate(&repository.name, &repository.upstream)).collect()
        })
    })
}

/// All open pull requests, as `REPOSITORY#NUMBER`.
pub(crate) fn pulls() -> ArgValueCandidates {
    ArgValueCandidates::new(|| asked(async |fleet| of_pulls(fleet, false).await))
}

/// All that are over, too: one of them may be opened again.
pub(crate) fn all_pulls() -> ArgValueCandidates {
    ArgValueCandidates::new(|| asked(async |fleet| of_pulls(fleet, true).await))
}

/// What changes can be looked at: sessions and open pull requests.
pub(crate) fn changes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        asked(async |fleet| {
            let sessions = fleet.sessions().await.unwrap_or_default().into_iter().flat_map(|on| on.it.1);
            let mut all: Vec<_> = sessions.map(|session| candidate(&session.slug, &session.title)).collect();
            all.extend(of_pulls(fleet, false).await);
            all
        })
    })
}

async fn of_pulls(fleet: &Fleet, all: bool) -> Vec<CompletionCandidate> {
    let question = async |host: &Host| {
        host.ask(host.reviews().list_pulls(ListPullsRequest { repository: String::new(), all })).await
    };
    let answers = fleet.gather(question).await.unwrap_or_default();
    let all = answers.into_iter().flat_map(|on| on.it.pulls);
    all.map(|pull| candidate(&format!("{}#{}", pull.repository, pull.number), &pull.title)).collect()
}

/// Completes with the names of all configured hosts.
pub(crate) fn hosts() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let hosts = Hosts::load().and_then(|hosts| hosts.choose(&[], None)).unwrap_or_default();
        hosts.iter().map(|host| candidate(&host.name, "")).collect()
    })
}

fn candidate(value: &str, help: &str) -> CompletionCandidate {
    let help = Some(plain(help)).filter(|help| !help.is_empty()).map(Into::into);
    CompletionCandidate::new(plain(value)).help(help)
}

/// Asks the hosts; nothing comes where they are out of reach, or slow.
fn asked(question: impl AsyncFn(&Fleet) -> Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    let default = std::env::var_os("PILOTHOUSE_HOST").map(|host| host.to_string_lossy().into_owned());
    let hosts = Hosts::load().and_then(|hosts| hosts.choose(&[], default.as_deref()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(hosts), Ok(runtime)) = (hosts, runtime) else { return vec![] };
    runtime.block_on(async {
        let fleet = Fleet::new(hosts);
        tokio::time::timeout(PATIENCE, question(&fleet)).await.unwrap_or_default()
    })
}
