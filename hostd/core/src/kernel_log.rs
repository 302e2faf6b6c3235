//! What a kernel says on its console or in its log of why something ended: panics of guests, processes that a host's kernel has killed
//! for want of memory. A guest writes to its console whatever it likes: what is read here is bounded and made safe, and believed no
//! further than that its own guest said so.

use crate::text;

/// Most lines of a panic that are kept.
pub const LINES: usize = 16;
/// Longest line that is kept, in bytes.
pub const LINE_MAX: usize = 300;
/// Lines before the panic's own that are looked at for what led to it.
const BEFORE: usize = 40;
/// Most of these that are kept.
const LED_TO_MAX: usize = 4;
/// Begin of the line by which every panic of a kernel is told.
const PANIC: &str = "Kernel panic - not syncing";
/// Lines that say what led to a panic, and what a kernel complains of that is still there.
const COMPLAINTS: [&str; 9] = [
    "BUG:",
    "Oops",
    "general protection",
    "Unable to handle",
    "soft lockup",
    "hard LOCKUP",
    "blocked for more than",
    "rcu_sched self-detected stall",
    "Out of memory",
];

/// A panic of a guest's kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// What the kernel wrote about the panic, oldest line first: what led to it, the panic's own line, and what follows. At least one
    /// line, at most [`LINES`].
    pub lines: Vec<String>,
    /// Whether the kernel panicked for want of memory.
    pub out_of_memory: bool,
}

/// A process that the host's kernel has killed for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed {
    /// Id of the process.
    pub pid: u32,
    /// Microseconds since the host's boot at which the kernel said so.
    pub at: u64,
    /// Whether it was a cgroup's memory that was used up, and not the host's.
    pub of_cgroup: bool,
}

/// The last panic that is told on a guest's serial console; None: none is.
#[must_use]
pub fn panic(serial: &[u8]) -> Option<Panic> {
    let text = String::from_utf8_lossy(serial);
    let all: Vec<&str> = text.lines().collect();
    let is_panic = |line: &&str| line.contains(PANIC) && !line.contains("end Kernel panic");
    let at = all.iter().rposition(is_panic)?;
    let safe = |line: &&str| text::one_line(&text::clean(line, LINE_MAX));
    let led_to: Vec<String> =
        all[at.saturating_sub(BEFORE)..at].iter().filter(|line| complains(line)).map(safe).collect();
    let own = all[at..].iter().map(safe).filter(|line| !line.is_empty());
    let after = own.take_while(|line| !line.contains("end Kernel panic") && !line.contains("Rebooting in"));
    let mut lines: Vec<String> = led_to[led_to.len().saturating_sub(LED_TO_MAX)..].to_vec();
    lines.extend(after.take(LINES - lines.len()));
    let of_memory = all[at].contains("ut of memory") || all[at].contains("deadlocked on memory");
    Some(Panic { lines, out_of_memory: of_memory })
}

/// What a panic's own line says, without the time and the words that every panic has; the first line where none is a panic's.
#[must_use]
pub fn headline(lines: &[String]) -> &str {
    let line = lines.iter().find(|line| line.contains(PANIC)).or(lines.first());
    let line = line.map(String::as_str).unwrap_or_default();
    line.split_once(PANIC).map_or(line, |(_, rest)| rest.trim_start_matches([':', ' ']))
}

/// The last line on a guest's serial console by which its kernel complains of itself, made safe; None: there is none.
#[must_use]
pub fn complaint(serial: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(serial);
    let line = text.lines().rev().find(|line| line.contains(PANIC) || complains(line))?;
    Some(text::one_line(&text::clean(line, LINE_MAX)))
}

fn complains(line: &str) -> bool {
    COMPLAINTS.iter().any(|words| line.contains(words))
}

/// The process that this record of /dev/kmsg says was killed; None: it says something else, or a program has written it.
#[must_use]
pub fn killed(record: &str) -> Option<Killed> {
    let (prefix, message) = record.split_once(';')?;
    let mut fields = prefix.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let at = fields.nth(1)?.parse().ok()?;
    // Facility 0 is the kernel itself: programs may write here too.
    if priority >> 3 != 0 {
        return None;
    }
    let (why, rest) = message.split_once(": Killed process ")?;
    let pid = rest.split(' ').next()?.parse().ok()?;
    Some(Killed { pid, at, of_cgroup: why.starts_with("Memory cgroup") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CRASH: &str = "[    0.1] booting\r\n[   12.0] sysrq: Trigger a crash\r\n\
        [   12.1] BUG: kernel NULL pointer dereference, address: 0000000000000000\r\n\
        [   12.2] Kernel panic - not syncing: sysrq triggered crash\r\n[   12.3] CPU: 0 PID: 612 Comm: sh\r\n\r\n\
        [   12.4] Call Trace:\r\n[   12.5]  <TASK>\r\n[   12.6] Rebooting in 1 seconds..\r\n[   12.7] more\r\n";

    #[test]
    fn a_panic_is_found_with_what_led_to_it_and_what_follows() {
        let panic = panic(CRASH.as_bytes()).unwrap();
        assert!(!panic.out_of_memory);
        assert_eq!(
            panic.lines,
            [
                "[ 12.1] BUG: kernel NULL pointer dereference, address: 0000000000000000",
                "[ 12.2] Kernel panic - not syncing: sysrq triggered crash",
                "[ 12.3] CPU: 0 PID: 612 Comm: sh",
                "[ 12.4] Call Trace:",
                "[ 12.5] <TASK>",
            ]
        );
        assert_eq!(headline(&panic.lines), "sysrq triggered crash");
        assert_eq!(headline(&[]), "");
    }

    #[test]
    fn a_panic_for_want_of_memory_is_one() {
        for line in [
            "Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled",
            "Kernel panic - not syncing: System is deadlocked on memory",
        ] {
            assert!(panic(line.as_bytes()).unwrap().out_of_memory, "{line}");
        }
    }

    #[test]
    fn what_is_no_panic_is_none() {
        let ended = "[ 1.0] ---[ end Kernel panic - not syncing: x ]---\n[ 2.4] reboot: Restarting system\n";
        for serial in ["", "no disk\n", ended] {
            assert_eq!(panic(serial.as_bytes()), None, "{serial}");
        }
    }

    #[test]
    fn what_a_kernel_last_complained_of_is_found() {
        let hung = "[ 9.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [perl:77]\n[ 9.1] more\n";
        assert_eq!(
            complaint(hung.as_bytes()).unwrap(),
            "[ 9.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [perl:77]"
        );
        assert_eq!(complaint(b"login:"), None);
    }

    #[test]
    fn kills_of_the_hosts_kernel_are_read_and_no_others() {
        let line = "Killed process 412 (qemu-system-x86) total-vm:1000kB, anon-rss:900kB";
        let of = |why: &str| killed(&format!("3,1000,5000000,-;{why}: {line}\n"));
        assert_eq!(of("Out of memory"), Some(Killed { pid: 412, at: 5_000_000, of_cgroup: false }));
        assert_eq!(of("Memory cgroup out of memory"), Some(Killed { pid: 412, at: 5_000_000, of_cgroup: true }));
        assert_eq!(killed(&format!("12,1000,5000000,-;Out of memory: {line}\n")), None, "a program wrote it");
        for garbage in ["", "3", "3,1", "3,1,x,-;Out of memory: Killed process 1 (a)", "3,1,2,-;a: Killed process x"] {
            assert_eq!(killed(garbage), None, "{garbage}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_on_a_console_is_bounded_and_safe(lines in prop::collection::vec("(Kernel panic - not syncing|BUG:)?.{0,400}", 0..60)) {
            let serial = lines.join("\n");
            if let Some(panic) = panic(serial.as_bytes()) {
                prop_assert!(!panic.lines.is_empty() && panic.lines.len() <= LINES);
                for line in &panic.lines {
                    prop_assert!(line.len() <= LINE_MAX && !line.contains(char::is_control));
                }
            }
        }
    }
}
