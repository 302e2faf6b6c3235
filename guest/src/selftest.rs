//! What `hostd doctor` has a guest do to find out whether it notices that it was suspended: `session self-test`.
//!
//! A watch with a thread on each processor keeps patterns in the vector registers and counts; a look says how it stands, and
//! what the clocks say; a disk step reads back what earlier ones wrote and writes more.

mod disk;
mod registers;

use std::{
    fs, io,
    os::unix::{fs::FileExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Subcommand;
use pilothouse_proto::selftest::{Standing, Thread};
use rustix::{
    process::{Pid, setsid},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
};

/// Folder where the threads of a watch report: a file each, named after its processor.
const WATCH: &str = "/run/pilothouse/self-test";
/// Longest wait for all threads of a watch to report.
const STARTS: Duration = Duration::from_secs(20);
/// Sleep of a thread that finds out how long it takes.
const NAP: Duration = Duration::from_millis(50);
/// Most bytes of the kernel's log that are looked at.
const LOG_MAX: usize = 1 << 20;
/// Most lines of trouble that are told.
const TROUBLE_MAX: usize = 8;

#[derive(Debug, Subcommand)]
pub(crate) enum SelfTest {
    /// Starts a thread on each processor that holds patterns in its registers and counts, and returns when all of them do.
    Watch,
    /// Is the watch itself: does not return.
    Hold,
    /// Prints how the watch and the clocks stand, as JSON.
    Look,
    /// Reads back what earlier rounds wrote to the disk, and writes this one's.
    Disk { round: u32 },
}

pub(crate) fn run(what: &SelfTest) -> io::Result<()> {
    match what {
        SelfTest::Watch => watch(),
        SelfTest::Hold => hold(),
        SelfTest::Look => {
            println!("{}", serde_json::to_string(&look()?)?);
            Ok(())
        }
        SelfTest::Disk { round } => disk::round(*round),
    }
}

#[allow(unsafe_code)]
fn watch() -> io::Result<()> {
    fs::create_dir_all(WATCH)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("session").args(["self-test", "hold"]).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: one bare system call between fork and exec.
    unsafe {
        command.pre_exec(|| setsid().map(drop).map_err(Into::into));
    }
    command.spawn()?;
    let (processors, deadline) = (processors()?, Instant::now() + STARTS);
    while !processors.iter().all(|&cpu| read(cpu).is_some_and(|thread| thread.turns > 0)) {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "not every processor runs its thread"));
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    Ok(())
}

fn hold() -> io::Result<()> {
    let threads: Vec<_> = processors()?.into_iter().map(|cpu| thread::spawn(move || hold_on(cpu))).collect();
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a thread of the watch panicked"))??;
    }
    Ok(())
}

/// Holds patterns on this processor; returns only with an error.
fn hold_on(cpu: u32) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu as usize);
    sched_setaffinity(None::<Pid>, &only)?;
    let file = fs::File::create(place(cpu))?;
    let (mut turns, mut broken) = (0_u64, 0_u64);
    loop {
        broken += u64::from(!registers::hold(cpu, turns));
        turns += 1;
        // Of one length, so that no reader finds half of it.
        file.write_all_at(format!("{turns:20} {broken:20} {}\n", registers::kind()).as_bytes(), 0)?;
    }
}

#[allow(clippy::disallowed_methods)] // what a sleep takes is what is asked
fn look() -> io::Result<Standing> {
    let threads = processors()?.into_iter().filter_map(read).collect();
    let clocksource = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let began = Instant::now();
    thread::sleep(NAP);
    let nap = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let clocksource = clocksource.unwrap_or_default().trim().to_owned();
    let trouble = trouble(&log());
    let monotonic = clock_gettime(ClockId::Monotonic);
    let nanoseconds = |since: Duration| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    let monotonic = Duration::try_from(monotonic).map(nanoseconds).unwrap_or_default();
    let realtime = SystemTime::now().duration_since(UNIX_EPOCH).map(nanoseconds).unwrap_or_default();
    Ok(Standing { realtime, monotonic, nap, clocksource, trouble, threads })
}

fn place(cpu: u32) -> PathBuf {
    Path::new(WATCH).join(cpu.to_string())
}

/// The last report of a processor's thread; None: it has not reported yet.
fn read(cpu: u32) -> Option<Thread> {
    let text = fs::read_to_string(place(cpu)).ok()?;
    let mut words = text.split_whitespace();
    let (turns, broken) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Thread { cpu, turns, broken, registers: words.next()?.to_owned() })
}

/// Numbers of the processors that this process may run on.
fn processors() -> io::Result<Vec<u32>> {
    let set = sched_getaffinity(None::<Pid>)?;
    Ok((0..).take(CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu as usize)).collect())
}

/// The kernel's log as far as it can be read.
fn log() -> String {
    use rustix::fs::{Mode, OFlags, open};
    let Ok(kmsg) = open("/dev/kmsg", OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) else {
        return String::new();
    };
    let (mut text, mut record) = (String::new(), [0; 8192]);
    // A record each; the end is EAGAIN, and a record that was overwritten meanwhile EPIPE.
    while text.len() < LOG_MAX {
        match rustix::io::read(&kmsg, &mut record) {
            Ok(length) => text.push_str(&String::from_utf8_lossy(record.get(..length).unwrap_or_default())),
            Err(rustix::io::Errno::PIPE) => {}
            Err(_) => break,
        }
    }
    text
}

fn trouble(log: &str) -> Vec<String> {
    const SIGNS: [&str; 6] = [
        "lockup",
        "rcu_preempt detected",
        "rcu_sched detected",
        "blocked for more than",
        "Marking clocksource",
        "unstable",
    ];
    let lines = log.lines().filter(|line| SIGNS.iter().any(|sign| line.contains(sign)));
    lines.map(|line| line.rsplit_once(';').map_or(line, |(_, text)| text).to_owned()).take(TROUBLE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_trouble_in_the_log() {
        let log = "6,1,0,-;Linux version 6.1\n4,2,9,-;watchdog: BUG: soft lockup - CPU#1 stuck for 22s!\n\
                   4,3,9,-;clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable\n";
        let found = trouble(log);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], "watchdog: BUG: soft lockup - CPU#1 stuck for 22s!");
    }
}
