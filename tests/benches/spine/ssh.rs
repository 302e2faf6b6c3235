//! The peer: a real OpenSSH server in the same guest, reached over the same link.

use std::{fs, process::Command};

use tempfile::TempDir;
use tests::{Host, run};

/// A key that a session's root account knows, and how to come in with it.
pub(crate) struct Ssh {
    folder: TempDir,
    proxy: String,
}

impl Ssh {
    /// Makes a key and gives it to the session.
    pub(crate) fn prepare(host: &Host, id: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let _ = run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key), &[]).text();
        let public = fs::read(folder.path().join("key.pub")).unwrap();
        let script = "mkdir -p /run/sshd /root/.ssh && cat > /root/.ssh/authorized_keys && ssh-keygen -A >/dev/null";
        let _ = host.cli_with(["exec", id, "--", "sh", "-c", script], &public).text();
        let program = tests::paths::program("pilothouse");
        let proxy = format!(
            "ProxyCommand={} --host {} exec {id} -- /usr/sbin/sshd -i -o UsePAM=no",
            program.display(),
            host.address()
        );
        Self { folder, proxy }
    }

    /// `ssh` that runs `command` in the guest.
    pub(crate) fn command(&self, options: &[&str], command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-q", "-F", "none", "-o", &self.proxy, "-o", "StrictHostKeyChecking=no"]);
        ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-i"]).arg(self.folder.path().join("key"));
        ssh.args(options).args(["root@guest", command]);
        ssh
    }
}
