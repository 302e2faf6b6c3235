//! Secrets: read when they are wanted, shown to nobody.

use std::{fmt, fs::File, io::Read as _, path::Path, process::Stdio, time::Duration};

use hostd_core::credentials::{Credential, Source};
use tokio::{
    io::AsyncReadExt as _,
    process::Command,
    sync::Mutex,
    time::{Instant, timeout},
};
use zeroize::{Zeroize as _, Zeroizing};

use super::file::owned;
use crate::process::Group;

/// Longest secret, in bytes.
const BYTES: usize = 16 * 1024;
/// Longest time for a command to print its secret.
const COMMAND: Duration = Duration::from_secs(15);
/// Time for which what a command printed is used again.
const KEPT: Duration = Duration::from_secs(60);
/// Rights to a secret's file that all users have who are neither its owner nor of its group.
const OTHERS: u32 = 0o007;
/// Variables that a command keeps of hostd's own.
const VARIABLES: [&str; 8] =
    ["PATH", "HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "GNUPGHOME", "CREDENTIALS_DIRECTORY"];

/// A secret. It is wiped from memory when it is dropped, and no way of printing it shows any of it.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// What was read, without white space at its end. Only visible ASCII fits into a header.
    fn of(mut bytes: Vec<u8>) -> Result<Self, SecretError> {
        let length = bytes.trim_ascii_end().len();
        bytes[length..].zeroize();
        bytes.truncate(length);
        let secret = Self(Zeroizing::new(bytes));
        if secret.0.is_empty() {
            return Err(SecretError::Empty);
        }
        if !secret.0.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            return Err(SecretError::NotText);
        }
        Ok(secret)
    }

    /// Bytes of the secret: visible ASCII and spaces.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a text has the secret in it.
    pub(super) fn is_in(&self, text: &str) -> bool {
        text.as_bytes().windows(self.0.len()).any(|part| part == self.0.as_slice())
    }
}

/// Why a secret cannot be read. Nothing of it is in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be read, or others can.
    #[error("its file {path}: {why}")]
    File {
        /// Path of the file.
        path: String,
        /// What is the matter, with what to do.
        why: String,
    },
    /// Its command did not print it.
    #[error("its command `{program}` {why}")]
    Command {
        /// Program of the command.
        program: String,
        /// What happened.
        why: String,
    },
    /// hostd was handed no credentials by systemd.
    #[error(
        "systemd handed hostd no credentials; put LoadCredential=NAME:/PATH into its unit, or use file = \"/PATH\""
    )]
    NoSystemd,
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It has bytes that no header may have.
    #[error("it has bytes that are no visible ASCII, such as a second line; write the secret alone")]
    NotText,
    /// A variable that guests find has it in it.
    #[error("the variable {variable} of the credential has the secret itself in it; write a stand-in there")]
    InVariable {
        /// Name of the variable.
        variable: String,
    },
}

/// What a command printed, and when.
#[derive(Debug)]
pub(super) struct Printed {
    command: Vec<String>,
    secret: Secret,
    at: Instant,
}

/// Reads the secret; a command that printed it lately is not run again.
pub(super) async fn read(
    credential: &Credential,
    systemd: Option<&Path>,
    printed: &Mutex<Option<Printed>>,
) -> Result<Secret, SecretError> {
    match &credential.source {
        Source::File(path) => of_file(Path::new(path)).await,
        Source::Systemd(name) => of_file(&systemd.ok_or(SecretError::NoSystemd)?.join(name)).await,
        Source::Command(command) => {
            // Held while it runs: who wants the same meanwhile waits for it.
            let mut kept = printed.lock().await;
            if let Some(kept) = &*kept
                && kept.command == *command
                && kept.at.elapsed() < KEPT
            {
                return Ok(kept.secret.clone());
            }
            let secret = of_command(command).await?;
            *kept = Some(Printed { command: command.clone(), secret: secret.clone(), at: Instant::now() });
            Ok(secret)
        }
    }
}

async fn of_file(path: &Path) -> Result<Secret, SecretError> {
    let own = path.to_owned();
    let read = tokio::task::spawn_blocking(move || -> Result<Vec<u8>, String> {
        let file = File::open(&own).map_err(|error| error.to_string())?;
        let is = file.metadata().map_err(|error| error.to_string())?;
        owned(&is, OTHERS).map_err(|why| format!("it {why}; run `chmod 600` on it"))?;
        // At once as long as any may be: one that grows leaves copies behind.
        let mut bytes = Vec::with_capacity(BYTES + 1);
        file.take(BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() > BYTES {
            bytes.zeroize();
            return Err(format!("it is longer than {BYTES} bytes"));
        }
        Ok(bytes)
    });
    let read = read.await.unwrap_or_else(|error| Err(error.to_string()));
    Secret::of(read.map_err(|why| SecretError::File { path: path.display().to_string(), why })?)
}

async fn of_command(words: &[String]) -> Result<Secret, SecretError> {
    let program = words.first().cloned().unwrap_or_default();
    let failed = |why: String| SecretError::Command { program: program.clone(), why };
    let mut command = Command::new(&program);
    command.args(words.iter().skip(1)).env_clear().current_dir("/");
    command.envs(VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    // What it complains of may have the secret in it: nobody reads that.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let run = async {
        let (mut group, pipes) = Group::spawn(&mut command).map_err(|error| format!("cannot be run: {error}"))?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES + 1));
        if let Some(stdout) = pipes.stdout {
            let read = stdout.take(BYTES as u64 + 1).read_to_end(&mut bytes).await;
            read.map_err(|error| format!("cannot be read: {error}"))?;
        }
        if bytes.len() > BYTES {
            return Err(format!("printed more than {BYTES} bytes"));
        }
        let status = group.wait().await.map_err(|error| format!("cannot be waited for: {error}"))?;
        if status.success() { Ok(bytes) } else { Err(format!("failed: {status}; run it by hand to see why")) }
    };
    let late = |_| format!("took longer than {} s", COMMAND.as_secs());
    let mut bytes = timeout(COMMAND, run).await.map_err(late).and_then(|done| done).map_err(failed)?;
    Secret::of(std::mem::take(&mut *bytes))
}
