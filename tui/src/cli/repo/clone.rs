//! The way back into a person's own clone: `repo clone`, and the remote that `repo add` sets up.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use pilothouse_proto::hostd::v1::Repository;
use tokio::process::Command;

use super::repository::find;
use crate::{
    cli::{
        failure::{Failure, Outcome},
        fleet::{Fleet, Host},
        format::plain,
        output,
        terminal::exit_code_of,
    },
    client::HostAddress,
};

/// Name of the program that git looks for on PATH.
const HELPER: &str = "git-remote-pilothouse";
/// Name of the remote in a clone that has others.
const REMOTE: &str = "pilothouse";

/// Clones a repository with the user's own git, whose exit code is passed on.
pub(super) async fn run(fleet: &Fleet, name: &str, directory: Option<PathBuf>) -> Outcome {
    let found = find(fleet, name).await?;
    let address = remote_address(&found.host.address, &found.it.name)?;
    let mut git = Command::new("git");
    git.args(["clone", "--", &address]);
    git.arg(directory.unwrap_or_else(|| PathBuf::from(&found.it.name)));
    if let Some(path) = path_with_helper() {
        git.env("PATH", path);
    }
    let status = git.status().await;
    let status = status.map_err(|error| Failure::failed(format!("git does not run: {error}")).hint("install git"))?;
    tell_of_path();
    let code = status.code().map(|code| u8::try_from(code).unwrap_or(1));
    Ok(code.unwrap_or_else(|| exit_code_of(status.signal().unwrap_or(0))))
}

/// Lets the clone at `path`, from which a repository was just added, fetch and push. What does not work is told, and no more:
/// the repository is there.
pub(super) async fn add_remote(host: &Host, it: &Repository, path: &Path) {
    let Ok(address) = remote_address(&host.address, &it.name) else { return };
    // Not a clone, or not of this machine, or somebody else's: there is nothing to set up.
    if git_says(path, &["rev-parse", "--is-inside-work-tree"]).await.as_deref() != Some("true") {
        return;
    }
    let shown = plain(&path.display().to_string());
    let known = git_says(path, &["config", "--get", &format!("remote.{REMOTE}.url")]).await;
    match known {
        Some(known) if known == address => {}
        Some(known) => {
            let known = plain(&known);
            output::note(&format!("note: {shown} has a remote `{REMOTE}` already, {known}; it stays"));
            return;
        }
        None if git_says(path, &["remote", "add", REMOTE, &address]).await.is_none() => {
            output::note(&format!(
                "note: {shown} could not be given the remote `{REMOTE}`: git remote add {REMOTE} {address}"
            ));
            return;
        }
        None => {}
    }
    let branch = plain(&it.default_branch);
    output::note(&format!(
        "{shown} has the remote `{REMOTE}` now: `git pull {REMOTE} {branch}` brings in what was merged, \
         `git push {REMOTE} {branch}` sends what is new there"
    ));
    tell_of_path();
}

/// Asks git for an answer of one line; None: it says no.
async fn git_says(folder: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(args).stderr(Stdio::null()).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The remote of a repository, as it reads from anywhere: with its host.
pub(super) fn remote_address(host: &HostAddress, repository: &str) -> Result<String, Failure> {
    let name = match host.is_nameless() {
        false => host.name.clone(),
        true => {
            let endpoint = host.endpoint.absolute().unwrap_or_else(|_| host.endpoint.clone());
            endpoint
                .to_text()
                .ok_or_else(|| Failure::failed("the path of hostd's socket is not UTF-8, and remotes of git are"))?
        }
    };
    Ok(format!("pilothouse::{name}/{repository}"))
}

/// The folder of this program, which has the helper too.
fn own_folder() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    own.parent().filter(|folder| folder.join(HELPER).is_file()).map(Path::to_owned)
}

/// PATH, with the helper's folder at its end.
fn path_with_helper() -> Option<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::env::split_paths(&path).chain(own_folder())).ok()
}

/// Tells what later fetches need, where the helper is not on PATH.
fn tell_of_path() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(HELPER).is_file()) {
        return;
    }
    let folder = own_folder().map_or_else(|| "its folder".into(), |folder| plain(&folder.display().to_string()));
    output::note(&format!("note: git needs {HELPER} on your PATH to fetch and push there: put {folder} on it"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_name_their_host() {
        let address = |name: &str, endpoint: &str| {
            let host = HostAddress { name: name.into(), endpoint: endpoint.parse().unwrap() };
            remote_address(&host, "widgets").unwrap()
        };
        assert_eq!(address("near", "unix:/run/a.sock"), "pilothouse::near/widgets");
        assert_eq!(address("unix:/run/a.sock", "unix:/run/a.sock"), "pilothouse::unix:/run/a.sock/widgets");
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            address("unix:a.sock", "unix:a.sock"),
            format!("pilothouse::unix:{}/a.sock/widgets", here.display())
        );
    }
}
