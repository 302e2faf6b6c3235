//! Whether systemd ends the VMs of sessions with their hostd.

use std::{fs, process::Command};

/// What a unit's `KillMode=` has systemd do where its hostd ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KillMode {
    /// Name of the unit.
    pub(crate) unit: String,
    /// The setting, such as `control-group`; None: systemd does not say.
    pub(crate) mode: Option<String>,
}

/// What becomes of VMs where their hostd is stopped or restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They run on.
    Outlive,
    /// They end with it: why, and what to do first.
    End(String),
    /// Nobody knows: what a person is to be asked.
    Unknown(String),
}

impl KillMode {
    /// Whether hostd may be stopped or restarted.
    pub(super) fn verdict(&self) -> Verdict {
        match (self.trouble(), self.ends_vms()) {
            (Some((found, advice)), _) => {
                Verdict::End(format!("{found}, as the next step would; {advice}, and then say the same again"))
            }
            (None, Some(_)) => Verdict::Outlive,
            (None, None) => Verdict::Unknown(format!(
                "systemd does not say what KillMode {} has; with another than `process` the VMs of all sessions end now. Go on?",
                self.unit
            )),
        }
    }

    /// Whether VMs end with hostd; None: it is not known.
    pub(crate) fn ends_vms(&self) -> Option<bool> {
        self.mode.as_ref().map(|mode| !matches!(mode.as_str(), "process" | "none"))
    }

    /// What is wrong with it, and what to do; None: nothing is.
    pub(crate) fn trouble(&self) -> Option<(String, String)> {
        if self.ends_vms() != Some(true) {
            return None;
        }
        let (unit, mode) = (&self.unit, self.mode.as_deref().unwrap_or_default());
        let found =
            format!("KillMode={mode} of {unit} ends the VMs of all sessions where hostd is stopped or restarted");
        Some((found, format!("write KillMode=process below [Service] (`systemctl edit {unit}`), and daemon-reload")))
    }
}

/// The setting of the unit that this process is the service of; None: systemd has not started it. Blocks.
pub(crate) fn of_this_process() -> Option<KillMode> {
    // Whatever else runs below a service has this from it, too, but is not asked about here.
    std::env::var_os("INVOCATION_ID").and_then(|_| of_cgroup(&fs::read_to_string("/proc/self/cgroup").ok()?))
}

/// The same of another process. Blocks.
pub(crate) fn of_holder(pid: u32) -> Option<KillMode> {
    of_cgroup(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

fn of_cgroup(cgroup: &str) -> Option<KillMode> {
    let (unit, user) = service(cgroup)?;
    Some(of_unit(&unit, user))
}

/// The setting of a unit, of the machine's systemd or of this user's. Blocks.
pub(super) fn of_unit(unit: &str, user: bool) -> KillMode {
    let scope = user.then_some("--user");
    let asked = Command::new("systemctl").args(scope).args(["show", "--property=KillMode", "--value", unit]).output();
    let said = asked.ok().filter(|output| output.status.success());
    let mode = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    KillMode { unit: unit.into(), mode: mode.filter(|mode| !mode.is_empty() && mode.len() < 64) }
}

/// The innermost service that a process is in, by its `/proc/PID/cgroup`, and whether it is one of a person's systemd.
fn service(cgroup: &str) -> Option<(String, bool)> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut parts = path.split('/').rev();
    let unit = parts.find(|part| part.ends_with(".service"))?;
    // A person's own services are below the one that is their systemd.
    let user = parts.any(|part| part.starts_with("user@") && part.ends_with(".service"));
    let own_systemd = unit.starts_with("user@");
    (!own_systemd).then(|| (unit.to_owned(), user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_process_is_found() {
        let of = |path: &str| service(&format!("0::{path}\n"));
        let hostd = |user| Some(("hostd.service".to_owned(), user));
        assert_eq!(of("/system.slice/hostd.service"), hostd(false));
        // With VMs in control groups below it.
        assert_eq!(of("/system.slice/hostd.service/vms/01J"), hostd(false));
        assert_eq!(of("/user.slice/user-1000.slice/user@1000.service/app.slice/hostd.service"), hostd(true));
        assert_eq!(of("/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope"), None);
        assert_eq!(of("/user.slice/user-1000.slice/session-2.scope"), None);
        assert_eq!([service("1:cpu:/system.slice/hostd.service\n"), service("")], [None, None]);
    }

    #[test]
    fn what_ends_vms_is_said_with_what_to_do() {
        let of = |mode: Option<&str>| KillMode { unit: "hostd.service".into(), mode: mode.map(Into::into) };
        assert_eq!([of(Some("process")), of(Some("none")), of(None)].map(|of| of.trouble()), [None, None, None]);
        for mode in ["control-group", "mixed"] {
            let (found, advice) = of(Some(mode)).trouble().unwrap();
            assert!(found.starts_with(&format!("KillMode={mode} of hostd.service ends the VMs")), "{found}");
            assert!(advice.contains("KillMode=process") && advice.contains("systemctl edit hostd.service"), "{advice}");
            let Verdict::End(trouble) = of(Some(mode)).verdict() else { panic!("{mode} would be gone on with") };
            assert!(trouble.contains("KillMode=process"), "{trouble}");
        }
        assert_eq!(of(Some("process")).verdict(), Verdict::Outlive);
        let Verdict::Unknown(question) = of(None).verdict() else { panic!("nobody would be asked") };
        assert!(question.ends_with("Go on?"), "{question}");
    }
}
