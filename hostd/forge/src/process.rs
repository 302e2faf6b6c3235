//! Programs that a host runs beside itself: git, and others whose input guests chose.

use std::{io, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// Time between asking a program to end and ending it: it removes its lock files and temporary folders meanwhile.
const GRACE: Duration = Duration::from_secs(10);

/// Most memory of a program where a guest chose what it reads, in KiB, without the files that it maps.
pub const MEMORY_KIB: u32 = 1 << 20;

/// The same command with bounds to the memory of its process and of each of its children; its pipes are yet to be set.
#[must_use]
pub fn bounded(command: &Command) -> Command {
    let command = command.as_std();
    let limit = format!("ulimit -d {MEMORY_KIB} && exec \"$@\"");
    let mut bounded = Command::new("sh");
    bounded.args(["-c", &limit, "sh"]).arg(command.get_program()).args(command.get_args()).env_clear();
    bounded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = command.get_current_dir() {
        bounded.current_dir(directory);
    }
    bounded
}

/// A program and its children. Dropped before its end, all of them are asked to end, and ended if they do not.
#[derive(Debug)]
pub struct Group {
    child: Option<Child>,
}

impl Group {
    /// Starts a command as the leader of a group of its own; its pipes are in the second value.
    ///
    /// # Errors
    /// What the system says where the program cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<(Self, Pipes)> {
        let mut child = command.process_group(0).kill_on_drop(false).spawn()?;
        let pipes = Pipes { stdin: child.stdin.take(), stdout: child.stdout.take(), stderr: child.stderr.take() };
        Ok((Self { child: Some(child) }, pipes))
    }

    /// Waits for the program's end. Cancel safe.
    ///
    /// # Errors
    /// What the system says; and where the end was waited for already.
    pub async fn wait(&mut self) -> io::Result<std::process::ExitStatus> {
        let Some(child) = &mut self.child else { return Err(io::Error::other("it was waited for already")) };
        let status = child.wait().await?;
        self.child = None;
        Ok(status)
    }

    /// Waits a little for the program's end, which is near.
    pub async fn finish(&mut self) {
        // If it does not come, dropping this sees to it.
        let _ = timeout(GRACE, self.wait()).await;
    }
}

/// The pipes that the command asked for.
#[derive(Debug)]
pub struct Pipes {
    /// The program's standard input.
    pub stdin: Option<tokio::process::ChildStdin>,
    /// The program's standard output.
    pub stdout: Option<tokio::process::ChildStdout>,
    /// The program's error output.
    pub stderr: Option<tokio::process::ChildStderr>,
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(&child, Signal::TERM);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if timeout(GRACE, child.wait()).await.is_err() {
                signal(&child, Signal::KILL);
                // Nothing to do about an error: nobody else could wait for it.
                let _ = child.wait().await;
            }
        });
    }
}

/// Sends a signal to the program and its children: it leads their group, and its id is its own until it has been waited for.
fn signal(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = id {
        // Gone already is what was wanted.
        let _ = kill_process_group(group, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_bounded_cannot_take_more_memory() {
        let mut command = Command::new("sh");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("WORD", "kept").current_dir("/");
        command.args(["-c", "echo $(ulimit -d) $WORD \"$1\" $(pwd)", "sh", "two words"]);
        let output = bounded(&command).output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{MEMORY_KIB} kept two words /\n"));
    }
}
