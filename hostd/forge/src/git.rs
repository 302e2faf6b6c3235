//! Running git: hardened, and bounded in time and output.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use hostd_core::{recipe::is_branch_name, text};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    time::timeout,
};

use super::ForgeError;
use crate::process::{Group, bounded};

/// Longest time of one run of git.
const DEADLINE: Duration = Duration::from_secs(120);
/// Longest output taken of one run, in bytes.
pub(super) const OUTPUT_MAX: u64 = 16 << 20;
/// Most bytes that are kept of what git says on stderr.
const STDERR_MAX: u64 = 4096;

/// What keeps git's memory and processors bounded, whatever a guest pushed: large files are streamed, and what is packed
/// anew is packed by one thread.
pub const BOUNDS: [(&str, &str); 4] = [
    ("core.bigFileThreshold", "32m"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "128m"),
    ("pack.deltaCacheSize", "64m"),
];

/// Settings that say what is found fault with in a push, beside git's own list. Repositories that come in whole may have
/// commits like these: careless programs of old wrote them, they do no harm, and whoever pushes on top of them cannot change
/// them.
pub const FSCK: [(&str, &str); 12] = [
    ("receive.fsckObjects", "true"),
    ("receive.fsck.badTimezone", "ignore"),
    ("receive.fsck.badDate", "ignore"),
    ("receive.fsck.zeroPaddedDate", "ignore"),
    ("receive.fsck.missingSpaceBeforeDate", "ignore"),
    ("receive.fsck.badEmail", "ignore"),
    ("receive.fsck.missingEmail", "ignore"),
    ("receive.fsck.missingSpaceBeforeEmail", "ignore"),
    ("receive.fsck.badName", "ignore"),
    ("receive.fsck.missingNameBeforeEmail", "ignore"),
    ("receive.fsck.multipleAuthors", "ignore"),
    ("receive.fsck.zeroPaddedFilemode", "ignore"),
];

/// A git command that knows nothing but what it is told; its process is ended when dropped.
#[must_use]
pub fn git(directory: &Path) -> Command {
    let mut git = Command::new("git");
    git.env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()))
        .env("LANG", "C.UTF-8")
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    git
}

/// Gives git its configuration. The repository may belong to another user than hostd's: it is in hostd's own folder.
pub fn trust(git: &mut Command, repository: &Path, settings: &[(&str, &str)]) {
    git.env("GIT_CONFIG_COUNT", (settings.len() + 1).to_string());
    git.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", repository);
    for (number, (key, value)) in (1..).zip(settings) {
        git.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
}

/// A bare repository on which git is run.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    pub(crate) path: PathBuf,
}

/// Result of a run of git.
#[derive(Debug)]
pub(super) struct Ran {
    /// Exit code; 128 + signal when a signal ended it.
    pub(super) code: i32,
    pub(super) stdout: Vec<u8>,
    /// What git said on stderr, in words for people, bounded.
    pub(super) stderr: String,
}

impl Ran {
    /// git's output, without the end of line.
    pub(super) fn line(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// The error for a run that was not to end so.
    pub(super) fn failed(self, what: &'static str) -> ForgeError {
        ForgeError::GitFailed { what, said: self.stderr }
    }
}

impl Repository {
    /// Runs git on it, whatever its exit code.
    pub(super) async fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Ran, ForgeError> {
        self.run_as(args, &[]).await
    }

    /// Runs git on the repository with these variables, whatever its exit code.
    pub(super) async fn run_as<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        variables: &[(&str, &str)],
    ) -> Result<Ran, ForgeError> {
        let mut command = git(&self.path);
        // A repository's own hooks are not ours.
        let settings = [("core.hooksPath", "/dev/null"), ("core.logAllRefUpdates", "always")];
        trust(&mut command, &self.path, &settings);
        command.arg("--git-dir").arg(&self.path).args(args).envs(variables.iter().copied());
        run(&command, DEADLINE).await
    }

    /// The commit that a name stands for; None: there is none.
    pub(super) async fn commit(&self, name: &str) -> Result<Option<String>, ForgeError> {
        let peeled = format!("{name}^{{commit}}");
        let ran = self.run(["rev-parse", "--verify", "--quiet", "--end-of-options", &peeled]).await?;
        let commit = ran.line();
        let is_commit = commit.len() >= 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
        Ok((ran.code == 0 && is_commit).then_some(commit))
    }

    /// The commits of those of these branches, each with `refs/heads/` before it, that are there.
    pub(super) async fn tips(&self, branches: &[String]) -> Result<BTreeMap<String, String>, ForgeError> {
        let command = ["for-each-ref", "--format=%(objectname) %(refname)"];
        let ran = self.run(command.into_iter().chain(branches.iter().map(String::as_str))).await?;
        if ran.code != 0 {
            return Err(ran.failed("reading branches"));
        }
        let listed = String::from_utf8_lossy(&ran.stdout).into_owned();
        let pair = |line: &str| line.split_once(' ').map(|(commit, name)| (name.to_owned(), commit.to_owned()));
        // git lists what is below such a name, too.
        Ok(listed.lines().filter_map(pair).filter(|(name, _)| branches.contains(name)).collect())
    }

    /// The branch that the repository's HEAD names, whether it is there or not; empty: none. Not shortened by git, which says
    /// `heads/main` where there is a tag `main` too.
    pub(super) async fn head_branch(&self) -> Result<String, ForgeError> {
        let name = self.run(["symbolic-ref", "--quiet", "HEAD"]).await?.line();
        Ok(name.strip_prefix("refs/heads/").unwrap_or_default().to_owned())
    }

    /// The names of its branches that can be named here, in order.
    pub(super) async fn branches(&self) -> Result<Vec<String>, ForgeError> {
        let names = self.run(["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/"]).await?.line();
        Ok(names.lines().filter(|name| is_branch_name(name)).map(str::to_owned).collect())
    }

    /// Whether `ancestor` is in the history of `commit`.
    pub(super) async fn contains(&self, commit: &str, ancestor: &str) -> Result<bool, ForgeError> {
        let ran = self.run(["merge-base", "--is-ancestor", ancestor, commit]).await?;
        match ran.code {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(ran.failed("comparing commits")),
        }
    }

    /// A newest commit that both have in their histories; None: there is none.
    pub(super) async fn merge_base(&self, one: &str, other: &str) -> Result<Option<String>, ForgeError> {
        let ran = self.run(["merge-base", one, other]).await?;
        match ran.code {
            0 => Ok(Some(ran.line())),
            1 => Ok(None),
            _ => Err(ran.failed("comparing commits")),
        }
    }

    /// Moves a ref from `old` to `new`; false: it does not point to `old`. An empty `old`: it is new.
    pub(super) async fn move_ref(&self, name: &str, new: &str, old: &str) -> Result<bool, ForgeError> {
        let ran = self.run(["update-ref", "-m", "pilothouse", name, new, old]).await?;
        match ran.code {
            0 => Ok(true),
            _ if self.commit(name).await?.as_deref() != Some(old) => Ok(false),
            _ => Err(ran.failed("moving a branch")),
        }
    }
}

/// Runs a command of git to its end, with bounds to its memory: guests chose what it reads.
pub(super) async fn run(command: &Command, deadline: Duration) -> Result<Ran, ForgeError> {
    let mut command = bounded(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut group, pipes) = Group::spawn(&mut command).map_err(ForgeError::Git)?;
    let all = async {
        let (stdout, stderr) = tokio::join!(take(pipes.stdout, OUTPUT_MAX), take(pipes.stderr, STDERR_MAX));
        let status = group.wait().await?;
        Ok::<_, io::Error>((stdout?, stderr?, status))
    };
    let ended = timeout(deadline, all).await.map_err(|_| ForgeError::Git(io::ErrorKind::TimedOut.into()))?;
    let ((stdout, cut), (stderr, _), status) = ended.map_err(ForgeError::Git)?;
    if cut {
        return Err(ForgeError::Git(io::Error::other("its output is too long")));
    }
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    let said = String::from_utf8_lossy(&stderr);
    Ok(Ran { code, stdout, stderr: text::clean(said.trim(), STDERR_MAX as usize) })
}

/// Reads a pipe to its end and keeps at most `max` bytes; returns also whether there were more.
async fn take(pipe: Option<impl AsyncRead + Unpin>, max: u64) -> io::Result<(Vec<u8>, bool)> {
    let Some(mut pipe) = pipe else { return Ok((vec![], false)) };
    let mut kept = vec![];
    (&mut pipe).take(max).read_to_end(&mut kept).await?;
    let more = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok((kept, more > 0))
}
