//! How old a guest has to be before it is put down. Linux before 6.7 takes a time stamp counter that is restored while it is near
//! the one that the new VM began with for one that is to be aligned to it: the guest's clock is then another than it was.

use std::time::Duration;

/// The counter of a VM is taken for aligned within a second; the rest is for what passes between its creation and the load.
const OLD_ENOUGH: Duration = Duration::from_millis(1500);
/// The first Linux that leaves a counter alone that user space has set.
const MENDED: (u32, u32) = (6, 7);

/// Time that a guest of this age, since its boot, has still to run before it is suspended on a host with this kernel.
pub(super) fn rest(host_kernel: &str, age: Duration) -> Duration {
    let mut numbers = host_kernel.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= MENDED { Duration::ZERO } else { OLD_ENOUGH.saturating_sub(age) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_young_guests_of_old_kernels_wait() {
        let rest = |kernel, millis| rest(kernel, Duration::from_millis(millis)).as_millis();
        for old in ["6.6.99", "6.1.0-42-amd64", "5.15.0", "4.19", "garbage", ""] {
            assert_eq!((rest(old, 200), rest(old, 1500), rest(old, 99_999)), (1300, 0, 0), "{old}");
        }
        for new in ["6.7.0", "6.12.48+deb13-amd64", "6.18.44-fc-v669", "7.0.0-rc1"] {
            assert_eq!(rest(new, 0), 0, "{new}");
        }
    }
}
