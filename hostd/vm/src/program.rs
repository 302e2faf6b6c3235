//! Helper programs: found on PATH afresh for each use, run with a deadline, their output bounded.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use hostd_core::text;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

use super::VmError;

/// Most bytes that are kept of each of stdout and stderr; the rest is read and dropped.
const OUTPUT: u64 = 64 * 1024;
/// Most bytes of a program's error output that stand in an error.
const MESSAGE: usize = 4 * 1024;
/// Folders of administrators' programs, which Debian leaves out of a user's PATH.
const SBIN: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// A program that we may need, and the Debian package that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
}

pub(super) const QEMU: Program = Program { name: "qemu-system-x86_64", package: "qemu-system-x86" };
pub(super) const QEMU_IMG: Program = Program { name: "qemu-img", package: "qemu-utils" };
pub(super) const APT_CACHE: Program = Program { name: "apt-cache", package: "apt" };
pub(super) const APT_GET: Program = Program { name: "apt-get", package: "apt" };
pub(super) const DPKG_DEB: Program = Program { name: "dpkg-deb", package: "dpkg" };
pub(super) const DEPMOD: Program = Program { name: "depmod", package: "kmod" };
pub(super) const MODPROBE: Program = Program { name: "modprobe", package: "kmod" };
pub(super) const MKE2FS: Program = Program { name: "mke2fs", package: "e2fsprogs" };
pub(super) const XZ: Program = Program { name: "xz", package: "xz-utils" };

/// Where programs are looked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    /// Used instead of the PATH of hostd, for tests.
    pub(super) path: Option<OsString>,
}

impl Search {
    /// Finds the program's file.
    ///
    /// # Errors
    /// [`VmError::Missing`] with the package to install.
    pub(super) fn find(&self, program: Program) -> Result<PathBuf, VmError> {
        let path = self.path.clone().or_else(|| env::var_os("PATH")).unwrap_or_default();
        let sbin = if self.path.is_none() { OsStr::new(SBIN) } else { OsStr::new("") };
        env::split_paths(&path)
            .chain(env::split_paths(sbin))
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(program.name))
            .find(|file| is_executable(file))
            .ok_or_else(|| VmError::Missing { program: program.name.into(), package: program.package })
    }

    /// Runs a program to its end and returns its stdout, at most 64 KiB of it.
    ///
    /// # Errors
    /// [`VmError::Missing`]; [`VmError::Failed`] with what it wrote to stderr, or that `within` was over (it is killed).
    pub(super) async fn run<A: AsRef<OsStr>>(
        &self,
        program: Program,
        arguments: &[A],
        folder: Option<&Path>,
        within: Duration,
    ) -> Result<Vec<u8>, VmError> {
        let mut command = Command::new(self.find(program)?);
        command.args(arguments).env("LC_ALL", "C").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
        let failed = |output: String| VmError::Failed { program: program.name.into(), output };
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let all = async { tokio::join!(read_bounded(stdout), read_bounded(stderr), child.wait()) };
        let Ok((stdout, stderr, status)) = timeout(within, all).await else {
            return Err(failed(format!("it did not end within {} s", within.as_secs())));
        };
        let status = status.map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(stdout) } else { Err(failed(message(&stderr, &status.to_string()))) }
    }
}

/// Makes foreign error output fit for an error; `otherwise` where there is none.
pub(super) fn message(output: &[u8], otherwise: &str) -> String {
    let tail = output.len().saturating_sub(MESSAGE);
    let text = text::clean(&String::from_utf8_lossy(output.get(tail..).unwrap_or_default()), MESSAGE);
    let text = text.trim();
    if text.is_empty() { otherwise.into() } else { text.into() }
}

async fn read_bounded(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        // A stream that cannot be read is as good as an empty one: the program's exit status decides.
        let _ = (&mut stream).take(OUTPUT).read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    kept
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Makes a shell script for a test. Copied by another process: a script that this one has open for writing, were it only
/// in a child that another test's thread just forked, cannot be run (ETXTBSY).
#[cfg(test)]
pub(super) fn put_script(file: &Path, script: &str) {
    let source = file.with_extension("source");
    std::fs::write(&source, format!("#!/bin/sh\n{script}\n")).unwrap();
    let done = std::process::Command::new("install").args(["-m", "755"]).arg(&source).arg(file).status().unwrap();
    assert!(done.success());
    std::fs::remove_file(source).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    const SH: Program = Program { name: "sh", package: "dash" };
    const WITHIN: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn gives_output_and_errors() {
        let search = Search::default();
        assert_eq!(search.run(SH, &["-c", "echo hi"], None, WITHIN).await.unwrap(), b"hi\n");
        let error = search.run(SH, &["-c", "printf 'no\\033 way' >&2; exit 3"], None, WITHIN).await.unwrap_err();
        assert_eq!(error.to_string(), "sh failed: no way");
        let error = search.run(SH, &["-c", "exit 3"], None, WITHIN).await.unwrap_err();
        assert_eq!(error.to_string(), "sh failed: exit status: 3");
    }

    #[tokio::test]
    async fn bounds_output_and_time() {
        let search = Search::default();
        let much = search.run(SH, &["-c", "head -c 1000000 /dev/zero"], None, WITHIN).await.unwrap();
        assert_eq!(much.len(), 64 * 1024);
        let error = search.run(SH, &["-c", "exec sleep 600"], None, Duration::from_millis(50)).await.unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }

    #[test]
    fn says_what_to_install() {
        let nowhere = Search { path: Some("/nonexistent".into()) };
        let error = nowhere.find(QEMU).unwrap_err().to_string();
        assert_eq!(error, "qemu-system-x86_64 was not found; install it (qemu-system-x86) and try again");
    }
}
