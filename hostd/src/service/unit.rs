//! The unit's text.

use std::{fs, io, io::Read as _, path::Path};

use eyre::{Context as _, bail};

use super::place::{Place, Scope};

/// The user that the machine's service runs as.
pub(super) const USER: &str = "pilothouse";

/// How every unit begins that hostd writes.
const BEGIN: &str = "# Written by `hostd install`";

/// Whether the unit at this path is hostd's to replace: it wrote it, or there is none.
///
/// # Errors
/// The unit cannot be read.
pub(super) fn is_ours(path: &Path) -> eyre::Result<bool> {
    let mut begin = vec![];
    match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        file => file.and_then(|file| file.take(BEGIN.len() as u64).read_to_end(&mut begin)),
    }
    .wrap_err_with(|| path.display().to_string())?;
    Ok(begin == BEGIN.as_bytes())
}

/// The unit of a service at this place.
///
/// # Errors
/// The path of hostd is none that a unit can name.
pub(super) fn text(place: &Place) -> eyre::Result<String> {
    let hostd = quoted(&place.program("hostd"))?;
    let (start, own, wanted) = match place.scope {
        Scope::User => (format!("{hostd} serve"), String::new(), "default.target"),
        Scope::System => {
            let start = format!("{hostd} serve --data /var/lib/pilothouse --log-format json");
            (start, of_system(), "multi-user.target")
        }
    };
    Ok(format!(
        "{BEGIN}; what is to be other belongs into a drop-in: `systemctl edit hostd`.
[Unit]
Description=Pilothouse: sessions of coding agents, each in a microVM
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={start}
{own}# VMs of sessions are processes of this service, and run on while hostd is stopped, restarted or replaced.
KillMode=process
# A VM that the kernel ends for want of memory is one session's trouble.
OOMPolicy=continue
Restart=on-failure
RestartSec=1
# hostd says that it lives twice in this time. One that hangs is ended and started again; VMs run on.
WatchdogSec=60
TimeoutStartSec=300
# `hostd serve --stop-vms` puts sessions to disk within 80 s.
TimeoutStopSec=90
LimitNOFILE=524288
# A core has the secrets that hostd holds, and memory of sessions.
LimitCORE=0
# VMs are bounded by cgroups below this one.
Delegate=yes
# Secrets that credentials.toml names with `systemd = \"npm-token\"`:
#LoadCredential=npm-token:/etc/pilothouse/npm-token

[Install]
WantedBy={wanted}
"
    ))
}

/// A path as the program of a unit's command: systemd splits at blanks, takes `%` as the begin of a specifier, and has no program
/// with a quote or a backslash in its path.
fn quoted(path: &Path) -> eyre::Result<String> {
    let special = |c: char| c.is_control() || "\"'\\".contains(c);
    let Some(text) = path.to_str().filter(|text| !text.contains(special)) else {
        bail!("systemd has no program with a path such as {path:?}; install hostd with --system");
    };
    let plain = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    let text = text.replace('%', "%%");
    Ok(if text.chars().all(plain) { text } else { format!("\"{text}\"") })
}

/// What a service of the machine is held to. All that implies no_new_privs is left out: an environment's base is made in a user
/// namespace, for which `newuidmap` needs its rights: the kernel asks for all four of those that the unit bounds programs to, of
/// which hostd itself, as a user who is not root, has none. hostd sets no_new_privs and seccomp for each QEMU itself.
fn of_system() -> String {
    format!(
        "User={USER}
SupplementaryGroups=kvm
StateDirectory=pilothouse
StateDirectoryMode=0700
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
DevicePolicy=closed
DeviceAllow=/dev/kvm rw
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_DAC_OVERRIDE CAP_SYS_ADMIN
"
    )
}
