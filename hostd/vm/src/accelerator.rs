//! KVM or TCG.

use std::{fs, io, sync::OnceLock};

use super::kvm;

/// What executes the guests' instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor, by way of /dev/kvm.
    Kvm,
    /// QEMU's translator, which runs anywhere and is slower.
    Tcg,
}

impl Accelerator {
    /// The accelerator's name as QEMU has it: kvm or tcg.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// Which accelerator is to be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// KVM is used where it works, else TCG.
    #[default]
    Auto,
    /// This accelerator is used, whatever the machine says.
    Forced(Accelerator),
}

impl std::str::FromStr for Choice {
    type Err = String;

    /// Parses auto, kvm or tcg.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Forced(Accelerator::Kvm)),
            "tcg" => Ok(Self::Forced(Accelerator::Tcg)),
            _ => Err(format!("no accelerator is called {text:?}; use auto, kvm or tcg")),
        }
    }
}

/// What was found out about /dev/kvm. It is tried once: a VM takes milliseconds to create, and what is asked for at each start
/// is not to change its mind while a hostd runs.
#[derive(Debug, Default)]
pub(super) struct Tried(OnceLock<Result<(), String>>);

/// The accelerator to use here, and why, for people. Looks at /dev/kvm and /proc/cpuinfo.
#[must_use]
pub(super) fn choose(choice: Choice, tried: &Tried) -> (Accelerator, String) {
    match choice {
        Choice::Forced(accelerator) => (accelerator, "asked for by an option".into()),
        Choice::Auto => {
            let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
            decide(kvm::open().map(drop), &cpuinfo, || tried.0.get_or_init(kvm::probe).clone())
        }
    }
}

/// KVM only where the device opens, the processor has virtualization of its own, *and* a VM can be created: on paravirtual
/// (PVM) machines the device is there and makes VMs, yet an ordinary kernel never boots in one.
fn decide(device: io::Result<()>, cpuinfo: &str, probe: impl FnOnce() -> Result<(), String>) -> (Accelerator, String) {
    let flag = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .and_then(|line| line.split_whitespace().find(|&word| word == "vmx" || word == "svm"));
    match (device, flag) {
        (Ok(()), Some(flag)) => match probe() {
            Ok(()) => (Accelerator::Kvm, format!("the processor has {flag}, and /dev/kvm creates VMs")),
            Err(why) => (Accelerator::Tcg, why),
        },
        (Ok(()), None) => {
            let why = "/dev/kvm opens, but the processor shows neither vmx nor svm: ordinary kernels do not boot there";
            (Accelerator::Tcg, why.into())
        }
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => (Accelerator::Tcg, "there is no /dev/kvm".into()),
        (Err(error), _) if error.kind() == io::ErrorKind::PermissionDenied => {
            (Accelerator::Tcg, "/dev/kvm may not be opened; join the group kvm to use it".into())
        }
        (Err(error), _) => (Accelerator::Tcg, format!("/dev/kvm does not open: {error}")),
    }
}

/// Model of the host's processor, as /proc/cpuinfo names it; under KVM a guest's memory may depend on it.
pub(super) fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    line.trim_start_matches([' ', '\t', ':']).to_owned()
}

/// Release of the host's kernel, as `uname -r` says it.
pub(super) fn host_kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const NO_VM: &str = "/dev/kvm creates no VM: Device or resource busy";

    #[rstest]
    #[case(Ok(()), "processor: 0\nflags\t\t: fpu vmx sse\n", Accelerator::Kvm, Ok(()), "has vmx")]
    #[case(Ok(()), "flags : fpu svm\n", Accelerator::Kvm, Ok(()), "has svm")]
    #[case(Ok(()), "flags : fpu svm\n", Accelerator::Tcg, Err(NO_VM.into()), "resource busy")]
    #[case(Ok(()), "flags : fpu svm_lock vmxx\nbugs: vmx\n", Accelerator::Tcg, Ok(()), "neither vmx nor svm")]
    #[case(Ok(()), "", Accelerator::Tcg, Ok(()), "neither vmx nor svm")]
    #[case(Err(io::ErrorKind::NotFound.into()), "flags : vmx\n", Accelerator::Tcg, Ok(()), "no /dev/kvm")]
    #[case(Err(io::ErrorKind::PermissionDenied.into()), "flags : vmx\n", Accelerator::Tcg, Ok(()), "group kvm")]
    fn decides(
        #[case] device: io::Result<()>,
        #[case] cpuinfo: &str,
        #[case] want: Accelerator,
        #[case] probed: Result<(), String>,
        #[case] why: &str,
    ) {
        let (accelerator, reason) = decide(device, cpuinfo, || probed);
        assert_eq!(accelerator, want);
        assert!(reason.contains(why), "{reason}");
    }

    #[test]
    fn parses_choices() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!("tcg".parse(), Ok(Choice::Forced(Accelerator::Tcg)));
        assert!("xen".parse::<Choice>().unwrap_err().contains("auto, kvm or tcg"));
        assert_eq!(choose(Choice::Forced(Accelerator::Kvm), &Tried::default()).0, Accelerator::Kvm);
    }
}
