//! What a guest notices of being suspended: its clocks, its processors' registers, its disk. Tried with as many processors as
//! sessions have, and judged here; what is measured is the guest's `session self-test`.

use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use pilothouse_proto::selftest::Standing;
use rustix::fs::{Advice, fadvise};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    circle::{Guest, Runner, SESSION, run_in, text},
    steps::Failure,
};
use crate::vm::Memory;

/// An examination of a guest, and how thorough it is.
#[derive(Clone, Copy, Debug)]
pub struct Exam {
    /// Number of the guest's processors.
    pub vcpus: u32,
    /// Time for which the guest is on disk while its clocks are watched.
    pub pause: Duration,
    /// How often the guest is suspended and resumed at once, with something written to its disk each time; two at least.
    pub rounds: u32,
    /// Whether lateness counts: not where processors are emulated, which a busy machine slows down at will.
    pub timely: bool,
}

/// Findings of an examination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Number of the guest's processors.
    pub vcpus: u32,
    /// Name of the guest kernel's clock source.
    pub clocksource: String,
    /// Registers that the guest's threads held: avx or sse.
    pub registers: String,
    /// How often each thread compared its registers.
    pub turns: Vec<u64>,
    /// Greatest error of the guest's clock of the day after a resume that is certain, in microseconds.
    pub realtime_off: u64,
    /// Longest time that the guest's sleep of 50 ms took after a resume, in microseconds.
    pub nap: u64,
    /// Bytes that a VM holds for itself after a resume whose template was in memory.
    pub private: u64,
    /// Bytes that a VM holds for itself after a resume whose template had to be read from the disk.
    pub private_cold: u64,
    /// What is wrong, in words for a person. Empty: nothing is.
    pub problems: Vec<String>,
}

/// A guest's state, with the times before the question and after the answer in nanoseconds since 1970.
#[derive(Clone, Debug)]
struct Look {
    guest: Standing,
    asked: u64,
    answered: u64,
}

/// Largest error of the clock of the day after a resume, in nanoseconds.
const REALTIME: u64 = 50_000_000;
/// Longest time that a sleep of 50 ms may take, in microseconds.
const NAP: u64 = 100_000;
/// Most that CLOCK_MONOTONIC may count beyond the time that the guest was not on disk, in nanoseconds.
const JUMP: u64 = 2_000_000_000;
/// Most bytes by which private memory may grow where the template is read from the disk.
const COLD: u64 = 16 << 20;

impl Runner {
    /// Has a guest examined, as [`Runner::run`].
    pub(super) async fn examine(self, exam: Exam, cancel: &CancellationToken) -> Result<Findings, Failure> {
        let (findings, _) = self.conclude(async |runner| runner.exam(exam).await, cancel).await?;
        Ok(findings)
    }

    async fn exam(&mut self, exam: Exam) -> Result<Findings, String> {
        let (template, snapshot) = (self.folder.join("template"), self.folder.join("snapshot"));
        self.root().await?;
        let began = self.begin("cold boot").await;
        let guest = self.wake("maker", 1, Memory::Template(self.folder.join("maker.ram")), None).await?;
        self.done(began, None);
        self.put_down("template", guest, &template).await?;
        let clone = || Memory::Clone(template.clone());
        let mut guest = self.wake("clone", 2, clone(), Some(&template)).await?;
        ask(&guest, &["watch"]).await?;
        let before = look(&guest).await?;
        self.put_down("suspend", guest, &snapshot).await?;
        let down = Instant::now();
        // The guest's clocks are to notice that time went by, and that it did not run.
        tokio::time::sleep(exam.pause).await;
        let began = self.begin("resume").await;
        let paused = down.elapsed();
        guest = self.wake("paused", 3, clone(), Some(&snapshot)).await?;
        self.done(began, None);
        let after = look(&guest).await?;
        let mut private = [0; 2];
        for round in 0..exam.rounds.max(2) {
            ask(&guest, &["disk", &round.to_string()]).await?;
            self.put_down("suspend", guest, &snapshot).await?;
            let cold = round + 1 == exam.rounds.max(2);
            if cold {
                forget(&template)?;
            }
            let began = self.begin("resume").await;
            guest = self.wake(&format!("round-{round}"), u64::from(round) + 4, clone(), Some(&snapshot)).await?;
            self.done(began, None);
            private[usize::from(cold)] = self.private();
        }
        ask(&guest, &["disk", &exam.rounds.max(2).to_string()]).await?;
        let last = look(&guest).await?;
        Ok(judge(exam, [&before, &after, &last], paused, private))
    }
}

/// Runs the guest's self-test with these arguments; returns what it printed once it has ended well.
async fn ask(guest: &Guest, what: &[&str]) -> Result<Vec<u8>, String> {
    let command = [SESSION, "self-test"].into_iter().chain(what.iter().copied()).map(Into::into);
    run_in(guest, command.collect()).await.map_err(|why| format!("`session self-test {}`: {why}", what.join(" ")))
}

async fn look(guest: &Guest) -> Result<Look, String> {
    let asked = now();
    let said = ask(guest, &["look"]).await?;
    let answered = now();
    let guest =
        serde_json::from_slice(&said).map_err(|error| format!("the guest's self-test says nonsense: {error}"))?;
    Ok(Look { guest, asked, answered })
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Has the kernel drop a template's memory, so that the next clone reads it from the disk.
fn forget(template: &Path) -> Result<(), String> {
    for entry in template.read_dir().map_err(text)?.flatten() {
        let file = File::open(entry.path()).map_err(text)?;
        file.sync_all().map_err(text)?;
        fadvise(&file, 0, None, Advice::DontNeed).map_err(text)?;
    }
    Ok(())
}

/// Judges three looks: before the pause, after it, and after all rounds.
fn judge(exam: Exam, [before, after, last]: [&Look; 3], paused: Duration, private: [u64; 2]) -> Findings {
    let mut problems = Vec::new();
    let realtime_off = [after, last].map(off).into_iter().max().unwrap_or_default();
    if exam.timely && realtime_off > REALTIME {
        problems.push(format!("its clock of the day is off by {} ms after a resume", realtime_off / 1_000_000));
    }
    problems.extend(jump(before, after, paused));
    let nap = after.guest.nap.max(last.guest.nap);
    if exam.timely && nap >= NAP {
        problems.push(format!("a sleep of 50 ms takes {} ms after a resume", nap / 1000));
    }
    for line in last.guest.trouble.iter().filter(|line| !before.guest.trouble.contains(line)) {
        problems.push(format!("its kernel says: {}", hostd_core::text::clean(line, 200)));
    }
    problems.extend(broken(exam.vcpus, [before, after, last]));
    if private[1] > private[0] + COLD {
        let [warm, cold] = private.map(|bytes| bytes >> 20);
        problems.push(format!(
            "a VM whose template is read from the disk holds {cold} MiB for itself, and {warm} MiB where it is in memory"
        ));
    }
    let guest = &last.guest;
    Findings {
        vcpus: exam.vcpus,
        clocksource: hostd_core::text::clean(&guest.clocksource, 32),
        registers: guest.threads.first().map_or_else(String::new, |t| hostd_core::text::clean(&t.registers, 8)),
        turns: guest.threads.iter().map(|thread| thread.turns).collect(),
        realtime_off: realtime_off / 1000,
        nap,
        private: private[0],
        private_cold: private[1],
        problems,
    }
}

/// Least error of the guest's clock of the day, in nanoseconds: it was read between question and answer.
fn off(look: &Look) -> u64 {
    let guest = look.guest.realtime;
    look.asked.saturating_sub(guest).max(guest.saturating_sub(look.answered))
}

/// Trouble with CLOCK_MONOTONIC: that it went back, or counted time on disk as its own; None: there is none.
fn jump(before: &Look, after: &Look, paused: Duration) -> Option<String> {
    let Some(counted) = after.guest.monotonic.checked_sub(before.guest.monotonic) else {
        return Some("its CLOCK_MONOTONIC went back over a suspend".into());
    };
    let paused = u64::try_from(paused.as_nanos()).unwrap_or(u64::MAX);
    let ran = after.answered.saturating_sub(before.asked).saturating_sub(paused);
    let beyond = counted.saturating_sub(ran);
    // Of a pause that is short itself, all of it is a jump.
    (beyond > JUMP.min(paused / 2)).then(|| {
        format!("its CLOCK_MONOTONIC jumped by {} ms over {} ms on disk", beyond / 1_000_000, paused / 1_000_000)
    })
}

/// Trouble with the guest's threads: those that are missing, that stand still, or whose registers changed.
fn broken(vcpus: u32, looks: [&Look; 3]) -> Vec<String> {
    let thread = |look: &Look, cpu| look.guest.threads.iter().find(|thread| thread.cpu == cpu).cloned();
    let of = |cpu| match looks.map(|look| thread(look, cpu)) {
        [Some(before), Some(after), Some(last)] => {
            if last.broken > 0 {
                let kind = hostd_core::text::clean(&last.registers, 8);
                Some(format!("{kind} registers of its processor {cpu} changed {} times by themselves", last.broken))
            } else if !(before.turns < after.turns && after.turns < last.turns) {
                Some(format!("its processor {cpu} stands still after a resume"))
            } else {
                None
            }
        }
        _ => Some(format!("its processor {cpu} is missing")),
    };
    (0..vcpus).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use pilothouse_proto::selftest::Thread;

    use rstest::rstest;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const PAUSE: Duration = Duration::from_secs(20);
    const EXAM: Exam = Exam { vcpus: 2, pause: PAUSE, rounds: 2, timely: true };

    /// A look at `host` seconds of the host's clock, after `ran` seconds that the guest has run.
    fn look(host: u64, ran: u64) -> Look {
        let threads = (0..2).map(|cpu| Thread { cpu, turns: 10 + host, broken: 0, registers: "avx".into() }).collect();
        let guest = Standing {
            realtime: host * SECOND,
            monotonic: ran * SECOND,
            nap: 50_100,
            clocksource: "kvm-clock".into(),
            trouble: vec!["an old one".into()],
            threads,
        };
        Look { guest, asked: host * SECOND - SECOND / 10, answered: host * SECOND + SECOND / 10 }
    }

    fn judged(change: impl FnOnce(&mut [Look; 3])) -> Vec<String> {
        // Twenty seconds of it on disk.
        let mut looks = [look(100, 5), look(122, 7), look(130, 15)];
        change(&mut looks);
        let [before, after, last] = &looks;
        judge(EXAM, [before, after, last], PAUSE, [8 << 20, 9 << 20]).problems
    }

    #[test]
    fn a_guest_that_noticed_nothing_is_well() {
        assert_eq!(judged(|_| ()), Vec::<String>::new());
    }

    #[rstest]
    #[case::day(|l: &mut [Look; 3]| l[1].guest.realtime -= SECOND, "clock of the day is off by 900 ms")]
    #[case::ahead(|l: &mut [Look; 3]| l[2].guest.realtime += SECOND, "clock of the day is off by 900 ms")]
    #[case::jump(|l: &mut [Look; 3]| l[1].guest.monotonic += 20 * SECOND, "jumped by")]
    #[case::back(|l: &mut [Look; 3]| l[1].guest.monotonic = 0, "went back")]
    #[case::sleep(|l: &mut [Look; 3]| l[1].guest.nap = 100_000, "takes 100 ms")]
    #[case::lockup(|l: &mut [Look; 3]| l[2].guest.trouble.push("soft lockup".into()), "says: soft lockup")]
    #[case::register(|l: &mut [Look; 3]| l[2].guest.threads[1].broken = 3, "avx registers of its processor 1 changed 3 times")]
    #[case::still(|l: &mut [Look; 3]| l[1].guest.threads[0].turns = 0, "processor 0 stands still")]
    #[case::gone(|l: &mut [Look; 3]| drop(l[2].guest.threads.pop()), "processor 1 is missing")]
    fn whatever_a_guest_notices_is_told(#[case] change: fn(&mut [Look; 3]), #[case] said: &str) {
        let problems = judged(change);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(said), "{problems:?}");
    }

    #[test]
    fn a_cold_template_that_is_copied_is_told() {
        let looks = [look(100, 5), look(122, 7), look(130, 15)];
        let found = judge(EXAM, [&looks[0], &looks[1], &looks[2]], PAUSE, [8 << 20, 200 << 20]);
        assert!(found.problems[0].contains("holds 200 MiB for itself, and 8 MiB"), "{found:?}");
        assert_eq!((found.clocksource.as_str(), found.turns), ("kvm-clock", vec![140, 140]));
    }
}
