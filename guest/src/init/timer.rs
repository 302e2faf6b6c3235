//! Whether the kernel measured the timer of its processor right.
//!
//! Linux times 100 ms of the local APIC's timer by the time stamp counter, once, while it boots. An emulated processor that
//! its host lets wait in just that time gets it wrong. Late by 100 ms, the timer seems to stand, and the kernel does without
//! ("APIC frequency too slow, disabling apic timer"): such a guest answers what comes to it, and whatever waits for time or
//! for RCU waits for ever. Late by less, every timeout is long by as much, in its template's clones too.

use std::fs;

/// The timer's rate is 1 GHz for QEMU as for KVM; Linux lets 16 of these be one count.
const COUNTS_PER_NANOSECOND: f64 = 1.0 / 16.0;
/// Measured parts of the right rate with which the timer is believed. A timer that is thought to be slower than it is rings
/// early, and is set again.
const BELIEVED: std::ops::RangeInclusive<f64> = 0.5..=1.1;

/// Why the timer cannot be relied on. A kernel that tells nothing is believed.
pub(super) fn fault() -> Option<String> {
    fault_in(&fs::read_to_string("/proc/timer_list").ok()?)
}

/// Why the first processor's tick device cannot be relied on, by the text of /proc/timer_list; None: it can.
fn fault_in(list: &str) -> Option<String> {
    let (_, processor) = list.split_once("Per CPU device: 0\n")?;
    let (_, device) = processor.split_once("Clock Event Device: ")?;
    let mut lines = device.lines();
    match lines.next()?.trim() {
        "<NULL>" => return Some("the kernel found no timer".into()),
        "lapic" => {}
        // Measured otherwise, or not at all.
        _ => return None,
    }
    let mut field = |name: &str| lines.find_map(|line| line.trim().strip_prefix(name)?.trim().parse::<u32>().ok());
    let (mult, shift) = (field("mult:")?, field("shift:")?);
    let measured = f64::from(mult) * f64::exp2(-f64::from(shift)) / COUNTS_PER_NANOSECOND;
    let percent = measured * 100.0;
    (!BELIEVED.contains(&measured)).then(|| format!("the kernel measured its timer at {percent:.0} % of its rate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(device: &str) -> String {
        format!(
            "Timer List Version: v0.9\nHRTIMER_MAX_CLOCK_BASES: 8\n\nTick Device: mode:     1\nBroadcast device\n\
             Clock Event Device: <NULL>\ntick_broadcast_mask: 0\n\nTick Device: mode:     1\nPer CPU device: 0\n{device}"
        )
    }

    fn lapic(mult: u32) -> String {
        list(&format!(
            "Clock Event Device: lapic\n max_delta_ns:   34359730177\n min_delta_ns:   1000\n mult:           {mult}\n \
             shift:          32\n mode:           3\n"
        ))
    }

    #[test]
    fn a_timer_is_believed_near_its_rate() {
        for mult in [268_435_456, 287_594_231, 246_797_410, 150_000_000] {
            assert_eq!(fault_in(&lapic(mult)), None);
        }
        assert!(fault_in(&lapic(322_122_547)).unwrap().contains("120 %"));
        assert!(fault_in(&lapic(70_000)).unwrap().contains(" 0 %"));
    }

    #[test]
    fn no_timer_is_none() {
        assert!(fault_in(&list("Clock Event Device: <NULL>\n")).unwrap().contains("no timer"));
    }

    #[test]
    fn what_was_not_measured_so_is_believed() {
        assert_eq!(fault_in(&list("Clock Event Device: lapic-deadline\n mult: 1\n shift: 32\n")), None);
        assert_eq!(fault_in(""), None);
        assert_eq!(fault_in(&list("Clock Event Device: lapic\n mult: x\n")), None);
    }
}
