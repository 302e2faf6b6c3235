//! A folder as one file, in the form that mmdebstrap unpacks.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use crate::{
    environments::{files::at, progress::Progress, types::EnvironmentError},
    process::Group,
};

/// Packs all that is in a folder. What is in the archive is root's, may be read by everybody, and is written by root alone,
/// whatever it was on the host.
pub(super) async fn pack(folder: &Path, archive: &Path, progress: &Progress) -> Result<(), EnvironmentError> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--mode=u=rwX,go=rX", "--file"]);
    tar.arg(archive).arg("--directory").arg(folder).arg(".");
    tar.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let (mut group, pipes) = Group::spawn(&mut tar).map_err(at("tar"))?;
    if let Some(stderr) = pipes.stderr {
        progress.follow(stderr).await;
    }
    let status = group.wait().await.map_err(at("tar"))?;
    if status.success() { Ok(()) } else { Err(progress.failure(&format!("tar ended with {status}"))) }
}
