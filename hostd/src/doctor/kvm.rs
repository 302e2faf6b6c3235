//! What matters of the host where its own processors run the guests.

use std::fs;

use serde_json::json;

use super::check::Check;

const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const SMT: &str = "/sys/devices/system/cpu/smt/active";
/// The first kernel that restores a guest's TSC as it was however young the guest is.
const KEEPS_TSC: (u32, u32) = (6, 7);

/// Nothing but warnings: whether guests come through all of it is tried.
pub(super) fn checks() -> Vec<Check> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    vec![
        kernel(&rustix::system::uname().release().to_string_lossy()),
        clock(&read(CLOCK)),
        nesting(&cpuinfo),
        smt(&read(SMT)),
    ]
}

fn kernel(release: &str) -> Check {
    let name = "host kernel";
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let check = if version < KEEPS_TSC {
        let advice = "before 6.7 the clock of a guest that is restored within its first second is changed by KVM; hostd waits \
                      longer before it writes a first snapshot, and a newer kernel needs none of it";
        Check::warning(name, release, advice)
    } else {
        Check::ok(name, release)
    };
    check.with(json!({"release": release}))
}

fn clock(source: &str) -> Check {
    let name = "host clock";
    let check = if source == "tsc" {
        Check::ok(name, "tsc: guests read the time without leaving the processor")
    } else {
        let advice = "guests' clocks are slower and may not be steady; `dmesg | grep -i -e tsc -e clocksource` says why the \
                      kernel does not trust the processor's counter";
        Check::warning(name, format!("{}, and not tsc", if source.is_empty() { "unknown" } else { source }), advice)
    };
    check.with(json!({"clocksource": source}))
}

fn nesting(cpuinfo: &str) -> Check {
    let name = "nesting";
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let nested = flags.split_whitespace().any(|flag| flag == "hypervisor");
    let check = if nested {
        let advice = "nested VMs are slower and less tried than others; where the cloud moves this host to another processor, \
                      suspended sessions may not come back";
        Check::warning(name, "this host is a VM itself", advice)
    } else {
        Check::ok(name, "this host is no VM")
    };
    check.with(json!({"nested": nested}))
}

fn smt(active: &str) -> Check {
    let name = "smt";
    let check = if active == "1" {
        let advice = "whoever controls one session may learn from another's by their timing; where sessions do not trust each \
                      other, boot with `nosmt`";
        Check::warning(name, "on: two sessions may share a core at the same time", advice)
    } else {
        Check::ok(name, "off: no two sessions share a core at the same time")
    };
    check.with(json!({"active": active == "1"}))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::doctor::Status;

    #[rstest]
    #[case(kernel("6.1.0-40-cloud-amd64"), Status::Warning, "6.1.0")]
    #[case(kernel("6.6.99"), Status::Warning, "6.6")]
    #[case(kernel("6.7.0"), Status::Ok, "6.7")]
    #[case(kernel("7.0"), Status::Ok, "7.0")]
    #[case(kernel("6.12.48+deb13-amd64"), Status::Ok, "6.12")]
    #[case(clock("tsc"), Status::Ok, "tsc")]
    #[case(clock("hpet"), Status::Warning, "hpet, and not tsc")]
    #[case(clock(""), Status::Warning, "unknown")]
    #[case(nesting("processor: 0\nflags\t\t: fpu vmx hypervisor lahf_lm\n"), Status::Warning, "a VM itself")]
    #[case(nesting("flags\t\t: fpu vmx\nbugs: hypervisor\n"), Status::Ok, "no VM")]
    #[case(smt("1"), Status::Warning, "share a core")]
    #[case(smt("0"), Status::Ok, "off")]
    fn warns(#[case] check: Check, #[case] status: Status, #[case] found: &str) {
        assert_eq!(check.status, status, "{check:?}");
        assert!(check.found.contains(found), "{check:?}");
        assert_eq!(check.advice.is_empty(), status == Status::Ok, "{check:?}");
    }
}
