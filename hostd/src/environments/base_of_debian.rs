//! A Debian with packages, made by mmdebstrap.
//!
//! Without root, mmdebstrap works in a user namespace, for which the user needs a range in /etc/subuid.

use std::{fs::File, os::unix::fs::PermissionsExt, path::Path, process::Stdio};

use tokio::{fs, process::Command};

use super::{
    base::{is_on_path, missing, path_with_sbin},
    files::at,
    mirrors,
    progress::Progress,
    types::EnvironmentError,
};
use crate::process::Group;

/// Format of bases of Debians; raised when the same inputs would give another base.
pub(super) const FORMAT: &str = "base 2";

/// Runs in mmdebstrap's namespace with the new root as `$1` and the image as standard input. The image is opened by that, and
/// not by its path, because without root the namespace's user has no way to it. The bind mount hides /proc, /sys and /dev.
const MAKE_IMAGE: &str = r#"set -e
rm -rf "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb
: > "$1"/etc/machine-id
mirror="$1.image"
mkdir "$mirror"
mount --bind "$1" "$mirror"
status=0
mke2fs -q -F -t ext4 -m 1 -L root -E assume_storage_prezeroed=1,root_owner=0:0 -d "$mirror" /proc/self/fd/0 "$PILOTHOUSE_DISK" || status=$?
umount "$mirror"
rmdir "$mirror"
exit $status"#;

/// A Debian that a base is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Debian {
    /// Name of the suite.
    pub(super) suite: String,
    /// Names of packages beside the essential ones.
    pub(super) packages: Vec<String>,
}

impl Debian {
    /// Makes a file system of this size, with the Debian and a tar of programs, in a new file.
    pub(super) async fn bootstrap(
        &self,
        image: &Path,
        disk: u64,
        programs: Option<&Path>,
        progress: &Progress,
    ) -> Result<(), EnvironmentError> {
        if !rustix::process::geteuid().is_root() && !is_on_path("newuidmap") {
            return Err(missing("newuidmap", "uidmap"));
        }
        let file = File::create_new(image).map_err(at(image))?;
        // For mmdebstrap's own user, where hostd is not root. The data folder keeps everyone else out.
        fs::set_permissions(image, PermissionsExt::from_mode(0o666)).await.map_err(at(image))?;
        let (mut bootstrap, pipes) = match Group::spawn(&mut self.command(file, disk, programs)?) {
            Ok(spawned) => spawned,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(missing("mmdebstrap", "mmdebstrap"));
            }
            Err(error) => return Err(at("mmdebstrap")(error)),
        };
        if let Some(stderr) = pipes.stderr {
            progress.follow(stderr).await;
        }
        let status = bootstrap.wait().await.map_err(at("mmdebstrap"))?;
        if !status.success() {
            return Err(progress.failure(&format!("mmdebstrap ended with {status}")));
        }
        Ok(())
    }

    fn command(&self, image: File, disk: u64, programs: Option<&Path>) -> Result<Command, EnvironmentError> {
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=apt", "--format=null"]);
        if !self.packages.is_empty() {
            command.arg(format!("--include={}", self.packages.join(",")));
        }
        for left_out in ["doc", "info", "locale", "man"] {
            command.arg(format!("--dpkgopt=path-exclude=/usr/share/{left_out}/*"));
        }
        // Packages such as Java's put links there, and cannot be set up where the folders are not.
        command
            .arg("--essential-hook=for section in 1 2 3 4 5 6 7 8; do mkdir -p \"$1/usr/share/man/man$section\"; done");
        // A base that was cut off is thrown away: nothing needs to be synced on the way.
        command.arg("--dpkgopt=force-unsafe-io");
        command.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
        if let Some(archive) = programs {
            let archive = std::path::absolute(archive).map_err(at(archive))?;
            // mmdebstrap takes its words apart as a shell does.
            let quoted = archive.to_string_lossy().replace('\'', r"'\''");
            command.arg(format!("--customize-hook=tar-in '{quoted}' /"));
        }
        // No target, since the hook takes it all.
        command.args(["--customize-hook=eval \"$PILOTHOUSE_MAKE_IMAGE\"", &self.suite, "/dev/null"]);
        command.args(mirrors::for_suite(Path::new("/"), &self.suite));
        command
            .env("PILOTHOUSE_MAKE_IMAGE", MAKE_IMAGE)
            .env("PILOTHOUSE_DISK", format!("{}M", disk >> 20))
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", path_with_sbin())
            // Not /tmp: that is often memory.
            .env("TMPDIR", "/var/tmp")
            .stdin(image)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Ok(command)
    }
}
