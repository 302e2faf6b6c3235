//! What a snapshot depends on. QEMU notices almost no mismatch, it loads most of them silently into a dead or wrong guest:
//! this comparison is the only guard, and it is made before QEMU starts.

use serde::{Deserialize, Serialize};

/// Everything that must be the same when a snapshot is loaded as it was when it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirements {
    /// Name of QEMU's accelerator: tcg or kvm.
    pub accelerator: String,
    /// blake3 of the QEMU binary, in hex.
    pub qemu: String,
    /// Version that QEMU says it has; for messages only.
    pub qemu_version: String,
    /// blake3 of the guest's kernel, in hex.
    pub kernel: String,
    /// blake3 of the guest's initramfs, in hex.
    pub initramfs: String,
    /// Name of the template whose RAM file lies below the snapshot's.
    pub template: String,
    /// QEMU's arguments with file names and descriptors taken out.
    pub arguments: Vec<String>,
    /// Rate of the guest's time stamp counter in kHz, where the accelerator takes it from the host.
    pub tsc_khz: Option<u64>,
    /// Model of the host's processor, where the accelerator passes it on.
    pub cpu: Option<String>,
    /// Hash of what QEMU makes of the host's processor for its guests, where the accelerator passes it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_model: Option<String>,
}

/// Divisor of a rate that gives the largest accepted difference between two measurements of it: its drift is then below a
/// second in three hours.
const TSC_TOLERANCE: u64 = 10_000;

impl Requirements {
    /// Why a snapshot with these requirements cannot be loaded on a machine that offers `here`: the first difference, in words
    /// for a person. `None`: it can be.
    #[must_use]
    pub fn refusal(&self, here: &Self) -> Option<String> {
        let told = [
            ("accelerator", &self.accelerator, &here.accelerator),
            ("guest kernel", &self.kernel, &here.kernel),
            ("initramfs", &self.initramfs, &here.initramfs),
            ("template", &self.template, &here.template),
        ];
        if self.qemu != here.qemu {
            return Some(format!(
                "it was made by another build of QEMU ({} {}; here: {} {})",
                self.qemu_version,
                short(&self.qemu),
                here.qemu_version,
                short(&here.qemu)
            ));
        }
        if let Some((what, then, now)) = told.iter().find(|(_, then, now)| then != now) {
            return Some(format!("its {what} was {}, and here it is {}", short(then), short(now)));
        }
        if let Some((then, now)) = first_difference(&self.arguments, &here.arguments) {
            return Some(format!("QEMU was started with {then}, and here it would be with {now}"));
        }
        if !same_rate(self.tsc_khz, here.tsc_khz) {
            return Some(format!(
                "its clock ran at {} kHz, and here it would at {}",
                rate(self.tsc_khz),
                rate(here.tsc_khz)
            ));
        }
        let name = |cpu: &Option<String>| cpu.clone().unwrap_or_else(|| "none".into());
        if self.cpu != here.cpu {
            return Some(format!("its processor was {}, and here it is {}", name(&self.cpu), name(&here.cpu)));
        }
        (self.cpu_model != here.cpu_model).then(|| {
            let changed =
                "the host's kernel, its microcode or, where it is a virtual machine, its own host has changed since";
            format!(
                "its processor could do what {} stands for, and here it is {}: {changed}",
                short(&name(&self.cpu_model)),
                short(&name(&here.cpu_model))
            )
        })
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn rate(khz: Option<u64>) -> String {
    khz.map_or_else(|| "the host's own".into(), |khz| khz.to_string())
}

fn same_rate(then: Option<u64>, now: Option<u64>) -> bool {
    match (then, now) {
        (Some(then), Some(now)) => then.abs_diff(now) <= then / TSC_TOLERANCE,
        (then, now) => then == now,
    }
}

fn first_difference(then: &[String], now: &[String]) -> Option<(String, String)> {
    let at = (0..then.len().max(now.len())).find(|&i| then.get(i) != now.get(i))?;
    let shown = |list: &[String]| list.get(at).map_or_else(|| "nothing more".into(), |word| format!("`{word}`"));
    Some((shown(then), shown(now)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn here() -> Requirements {
        Requirements {
            accelerator: "tcg".into(),
            qemu: "aaaaaaaaaaaaaaaa".into(),
            qemu_version: "7.2.22".into(),
            kernel: "k".into(),
            initramfs: "i".into(),
            template: "t".into(),
            arguments: vec!["-m".into(), "256".into()],
            tsc_khz: Some(2_000_000),
            cpu: None,
            cpu_model: None,
        }
    }

    #[rstest]
    #[case::accelerator(|r: &mut Requirements| r.accelerator = "kvm".into(), "accelerator")]
    #[case::qemu(|r: &mut Requirements| r.qemu = "b".into(), "another build of QEMU")]
    #[case::kernel(|r: &mut Requirements| r.kernel = "b".into(), "kernel")]
    #[case::initramfs(|r: &mut Requirements| r.initramfs = "b".into(), "initramfs")]
    #[case::template(|r: &mut Requirements| r.template = "b".into(), "template")]
    #[case::argument(|r: &mut Requirements| r.arguments[1] = "512".into(), "`512`")]
    #[case::more_arguments(|r: &mut Requirements| r.arguments.push("-x".into()), "`-x`")]
    #[case::clock(|r: &mut Requirements| r.tsc_khz = Some(2_100_000), "2100000 kHz")]
    #[case::no_clock(|r: &mut Requirements| r.tsc_khz = None, "clock")]
    #[case::cpu_model(|r: &mut Requirements| r.cpu_model = Some("0123".into()), "processor could do what 0123")]
    #[case::cpu(|r: &mut Requirements| r.cpu = Some("Zen".into()), "processor")]
    fn every_difference_is_refused(#[case] change: fn(&mut Requirements), #[case] said: &str) {
        let mut then = here();
        change(&mut then);
        let refusal = then.refusal(&here()).unwrap();
        assert!(refusal.contains(said), "{refusal}");
    }

    #[test]
    fn the_same_is_not_refused() {
        assert_eq!(here().refusal(&here()), None);
        let measured_again = Requirements { tsc_khz: Some(2_000_050), ..here() };
        assert_eq!(measured_again.refusal(&here()), None);
    }
}
