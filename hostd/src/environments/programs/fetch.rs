//! npm and pip, which fetch packages into a folder.

use std::{ffi::OsString, io, path::Path, process::Stdio, time::Duration};

use hostd_core::profile::{Pin, Profile};
use tokio::{fs, process::Command, time::timeout};

use super::Wanted;
use crate::{
    environments::{files::at, progress::Progress, types::EnvironmentError},
    process::Group,
    vm::VmError,
};

/// Longest time of npm or pip; a build that hangs would keep all others from being made.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// Largest package.json that is read, in bytes.
const PACKAGE_MAX: u64 = 1 << 20;
/// Folder of the Python packages.
pub(super) const PYTHON: &str = "python";
/// What wheels may be made for: C libraries up to the one of Debian 12.
const PLATFORMS: [&str; 8] = [
    "manylinux_2_36_x86_64",
    "manylinux_2_35_x86_64",
    "manylinux_2_34_x86_64",
    "manylinux_2_31_x86_64",
    "manylinux_2_28_x86_64",
    "manylinux_2_24_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
];

/// Fetches the profile's packages of npm into `packages/node_modules`.
pub(super) async fn npm(
    profile: &Profile,
    packages: &Path,
    path: Option<&OsString>,
    progress: &Progress,
) -> Result<(), EnvironmentError> {
    if profile.npm.is_empty() {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--no-package-lock"]);
    // For the guest, and not for this machine; what the host's Node is too old for is no matter.
    npm.args([
        "--os=linux",
        "--cpu=x64",
        "--libc=glibc",
        "--no-engine-strict",
        "--no-global",
        "--omit=dev",
        "--prefix",
    ]);
    npm.arg(packages).arg("--").args(profile.npm.iter().map(|Pin { package, version }| format!("{package}@{version}")));
    run(npm, packages, path, "npm", progress).await?.map_err(|_| missing("npm", "npm"))?;
    let modules = packages.join("node_modules");
    for pin in &profile.npm {
        let found = version(&modules.join(&pin.package).join("package.json")).await;
        // It puts another version in the place of one that does not fit the host, without a word.
        if found.as_deref() != Some(&pin.version) {
            let found = found.unwrap_or_else(|| "nothing".into());
            return Err(progress.failure(&format!("npm fetched {found} as {} {}", pin.package, pin.version)));
        }
    }
    // It names where the packages came from, which is nobody's business in a guest.
    let lock = modules.join(".package-lock.json");
    match fs::remove_file(&lock).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(lock)(error)),
        _ => Ok(()),
    }
}

/// Fetches the profile's Python packages into `packages/python`.
pub(super) async fn python(
    wanted: &Wanted,
    packages: &Path,
    path: Option<&OsString>,
    progress: &Progress,
) -> Result<(), EnvironmentError> {
    if wanted.profile.python.is_empty() {
        return Ok(());
    }
    let Some(version) = wanted.python else {
        let why =
            format!("nobody knows which Python {} has; have the base be Debian bookworm or trixie", wanted.system);
        return Err(progress.failure(&why));
    };
    let folder = packages.join(PYTHON);
    let pip = |program: &str| {
        let mut pip = Command::new(program);
        pip.args(["install", "--only-binary=:all:", "--no-compile", "--no-input", "--disable-pip-version-check"]);
        pip.args(["--progress-bar=off", "--implementation=cp", "--python-version", version]);
        pip.arg(format!("--abi=cp{}", version.replace('.', "")))
            .args(PLATFORMS.map(|name| format!("--platform={name}")));
        pip.arg("--target").arg(&folder).arg("--");
        pip.args(wanted.profile.python.iter().map(|Pin { package, version }| format!("{package}=={version}")));
        pip
    };
    let done = match run(pip("pip3"), packages, path, "pip", progress).await? {
        Err(NotThere) => run(pip("pip"), packages, path, "pip", progress).await?,
        done => done,
    };
    done.map_err(|_| missing("pip3", "python3-pip"))?;
    for Pin { package, version } in &wanted.profile.python {
        let name = package.replace(['-', '.'], "_");
        if !folder.join(format!("{name}-{version}.dist-info")).is_dir() {
            return Err(progress.failure(&format!("pip did not fetch {package} {version}")));
        }
    }
    Ok(())
}

/// There is no such program.
struct NotThere;

/// Runs a program to its end in this folder; its output becomes the step's.
async fn run(
    mut command: Command,
    folder: &Path,
    path: Option<&OsString>,
    name: &str,
    progress: &Progress,
) -> Result<Result<(), NotThere>, EnvironmentError> {
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let (mut group, pipes) = match Group::spawn(&mut command) {
        Ok(spawned) => spawned,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(NotThere)),
        Err(error) => return Err(at(name)(error)),
    };
    let ended = async {
        if let Some(stderr) = pipes.stderr {
            progress.follow(stderr).await;
        }
        group.wait().await
    };
    match timeout(DEADLINE, ended).await {
        Ok(Ok(status)) if status.success() => Ok(Ok(())),
        Ok(Ok(status)) => {
            let why = "it could not fetch the packages; try the same by hand, it has your user's configuration";
            Err(progress.failure(&format!("{name} ended with {status}: {why}")))
        }
        Ok(Err(error)) => Err(at(name)(error)),
        Err(_) => Err(progress.failure(&format!("{name} took longer than {} min", DEADLINE.as_secs() / 60))),
    }
}

/// The version in a package.json; None: there is none that makes sense.
async fn version(file: &Path) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Package {
        version: String,
    }
    let metadata = fs::symlink_metadata(file).await.ok()?;
    if !metadata.is_file() || metadata.len() > PACKAGE_MAX {
        return None;
    }
    let text = fs::read_to_string(file).await.ok()?;
    let package: Package = serde_json::from_str(&text).ok()?;
    Some(hostd_core::text::clean(&package.version, 64))
}

fn missing(program: &str, package: &'static str) -> EnvironmentError {
    VmError::Missing { program: program.into(), package }.into()
}
