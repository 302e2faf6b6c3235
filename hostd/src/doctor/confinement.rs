use super::check::Check;
use crate::{selftest::Circle, vm::qemu::Confinement};

const NAME: &str = "jail";
/// What DESIGN asks of a jail and hostd does not build.
const MISSING: &str = "no user, root folder, network namespace or cgroup of its own yet";

/// What held a VM's QEMU in, as the kernel said of one that ran.
pub(super) fn check(circle: Option<&Circle>) -> Check {
    match circle {
        Some(circle) => judge(&circle.confinement),
        None => Check::warning(NAME, "unknown: no VM ran to its end", "see snapshots"),
    }
}

fn judge(held: &Confinement) -> Check {
    let has = |holds: bool, what: &str| format!("{what} {}", if holds { "on" } else { "OFF" });
    let parts = [has(held.seccomp, "seccomp"), has(held.no_new_privileges, "no_new_privs")].join(", ");
    let found = format!("QEMU runs as {}; {parts}; {MISSING}", name(held.user));
    let check = if !held.seccomp || !held.no_new_privileges {
        Check::failed(NAME, found, "QEMU was built without seccomp; install your distribution's own")
    } else if held.user == 0 {
        let advice =
            "run hostd as a user of its own (in the group kvm), so that whoever breaks out of a VM is not root";
        Check::warning(NAME, found, advice)
    } else {
        Check::ok(NAME, found)
    };
    check.with(held)
}

fn name(user: u32) -> String {
    if user == 0 { "root".into() } else { format!("user {user}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn judges_what_holds() {
        let all = Confinement { seccomp: true, no_new_privileges: true, user: 1000 };
        assert_eq!(judge(&all).status, Status::Ok);
        assert_eq!(judge(&Confinement { user: 0, ..all.clone() }).status, Status::Warning);
        let open = judge(&Confinement { seccomp: false, ..all });
        assert_eq!(open.status, Status::Failed);
        assert!(open.found.contains("seccomp OFF, no_new_privs on"), "{}", open.found);
        assert_eq!(check(None).status, Status::Warning);
    }
}
