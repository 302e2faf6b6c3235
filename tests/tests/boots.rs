//! Fifty cold boots while six busy loops run beside them. Run alone: `tests/run.sh boots`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    hint, panic,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tests::Host;

const BOOTS: usize = 50;
const AT_ONCE: usize = 6;
const BUSY: usize = 6;

#[test]
fn fifty_cold_boots_on_a_busy_machine() {
    let host = Host::start();
    host.boot_only();
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let times = Mutex::new(Vec::new());
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..BUSY {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| boot_in_turn(&host, &next, &times))).collect();
        let outcomes: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Relaxed);
        for outcome in outcomes {
            outcome.unwrap_or_else(|panic| panic::resume_unwind(panic));
        }
    });
    let mut times = times.into_inner().unwrap();
    times.sort();
    assert_eq!(times.len(), BOOTS);
    let accelerator = host.cli(["host", "show", "--json"]).json()["accelerator"].clone();
    eprintln!(
        "{BOOTS} cold boots, {AT_ONCE} at once beside {BUSY} busy loops, accelerator {accelerator}: all came up in {:.0?}; \
         one took {:.1?} to {:.1?}, half of them less than {:.1?}",
        began.elapsed(),
        times[0],
        times[BOOTS - 1],
        times[BOOTS / 2]
    );
}

fn boot_in_turn(host: &Host, next: &AtomicUsize, times: &Mutex<Vec<Duration>>) {
    loop {
        let number = next.fetch_add(1, Relaxed);
        if number >= BOOTS {
            return;
        }
        let began = Instant::now();
        let id = host.session(&format!("boot {number}"), &["sleep", "1000000"]);
        times.lock().unwrap().push(began.elapsed());
        assert_eq!(host.exec(&id, &["echo", "up"]).text(), "up");
        let _ = host.cli(["rm", "--yes", &id]).text();
    }
}
