//! KVM or TCG.

use std::{fs, fs::OpenOptions, io, path::Path};

/// What runs the guests' instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor, by way of /dev/kvm.
    Kvm,
    /// QEMU's translator: runs anywhere, slower.
    Tcg,
}

impl Accelerator {
    /// kvm or tcg, as QEMU names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// Which accelerator to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// KVM where it works, else TCG.
    #[default]
    Auto,
    /// This one, whatever the machine says.
    Forced(Accelerator),
}

impl std::str::FromStr for Choice {
    type Err = String;

    /// auto, kvm or tcg.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Forced(Accelerator::Kvm)),
            "tcg" => Ok(Self::Forced(Accelerator::Tcg)),
            _ => Err(format!("no accelerator is called {text:?}; use auto, kvm or tcg")),
        }
    }
}

/// The accelerator to use here, and why, for people. Looks at /dev/kvm and /proc/cpuinfo.
#[must_use]
pub(super) fn choose(choice: Choice) -> (Accelerator, String) {
    match choice {
        Choice::Forced(accelerator) => (accelerator, "asked for by an option".into()),
        Choice::Auto => {
            let device = OpenOptions::new().read(true).write(true).open(Path::new("/dev/kvm")).map(drop);
            decide(device, &fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
        }
    }
}

/// KVM only where the device opens *and* the processor has virtualization of its own: on paravirtual (PVM) machines the
/// device is there and makes VMs, yet an ordinary kernel never boots in one.
fn decide(device: io::Result<()>, cpuinfo: &str) -> (Accelerator, String) {
    let flag = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .and_then(|line| line.split_whitespace().find(|&word| word == "vmx" || word == "svm"));
    match (device, flag) {
        (Ok(()), Some(flag)) => (Accelerator::Kvm, format!("/dev/kvm opens and the processor has {flag}")),
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

/// The host's processor model, as /proc/cpuinfo names it; under KVM a guest's memory may depend on it.
pub(super) fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    line.trim_start_matches([' ', '\t', ':']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Ok(()), "processor: 0\nflags\t\t: fpu vmx sse\n", Accelerator::Kvm, "has vmx")]
    #[case(Ok(()), "flags : fpu svm\n", Accelerator::Kvm, "has svm")]
    #[case(Ok(()), "flags : fpu svm_lock vmxx\nbugs: vmx\n", Accelerator::Tcg, "neither vmx nor svm")]
    #[case(Ok(()), "", Accelerator::Tcg, "neither vmx nor svm")]
    #[case(Err(io::ErrorKind::NotFound.into()), "flags : vmx\n", Accelerator::Tcg, "no /dev/kvm")]
    #[case(Err(io::ErrorKind::PermissionDenied.into()), "flags : vmx\n", Accelerator::Tcg, "group kvm")]
    fn decides(#[case] device: io::Result<()>, #[case] cpuinfo: &str, #[case] want: Accelerator, #[case] why: &str) {
        let (accelerator, reason) = decide(device, cpuinfo);
        assert_eq!(accelerator, want);
        assert!(reason.contains(why), "{reason}");
    }

    #[test]
    fn parses_choices() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!("tcg".parse(), Ok(Choice::Forced(Accelerator::Tcg)));
        assert!("xen".parse::<Choice>().unwrap_err().contains("auto, kvm or tcg"));
        assert_eq!(choose(Choice::Forced(Accelerator::Kvm)).0, Accelerator::Kvm);
    }
}
