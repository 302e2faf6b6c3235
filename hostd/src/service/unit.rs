//! The unit's text.

use super::place::{Place, Scope};

/// The user that the machine's service runs as.
pub(super) const USER: &str = "pilothouse";

/// The unit of a service at this place.
pub(super) fn text(place: &Place) -> String {
    let hostd = place.program("hostd").display().to_string();
    let (start, own, wanted) = match place.scope {
        Scope::User => (format!("{hostd} serve"), String::new(), "default.target"),
        Scope::System => {
            let start = format!("{hostd} serve --data /var/lib/pilothouse --log-format json");
            (start, of_system(), "multi-user.target")
        }
    };
    format!(
        "# Written by `hostd install`; what is to be other belongs into a drop-in: `systemctl edit hostd`.
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
# VMs are bounded by cgroups below this one.
Delegate=yes
# Secrets that credentials.toml names with `systemd = \"npm-token\"`:
#LoadCredential=npm-token:/etc/pilothouse/npm-token

[Install]
WantedBy={wanted}
"
    )
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
ReadWritePaths=/var/tmp
DevicePolicy=closed
DeviceAllow=/dev/kvm rw
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_DAC_OVERRIDE CAP_SYS_ADMIN
"
    )
}
