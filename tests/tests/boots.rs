//! Cold boots while six busy loops run beside them: a dozen, or as many as `PILOTHOUSE_BOOTS` says. Run alone:
//! `tests/run.sh boots`, or `just soak` for fifty.
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

const BOOTS: usize = 12;
const AT_ONCE: usize = 6;
const BUSY: usize = 6;

#[test]
fn every_cold_boot_on_a_busy_machine_comes_up() {
    let boots: usize = std::env::var("PILOTHOUSE_BOOTS").map_or(BOOTS, |boots| boots.parse().expect("a number"));
    assert!(boots > 0, "PILOTHOUSE_BOOTS");
    let host = Host::start();
    host.boot_only();
    let (left, over) = (AtomicUsize::new(boots), AtomicBool::new(false));
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
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| boot_in_turn(&host, &left, &times))).collect();
        let outcomes: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Relaxed);
        for outcome in outcomes {
            outcome.unwrap_or_else(|panic| panic::resume_unwind(panic));
        }
    });
    let mut times = times.into_inner().unwrap();
    times.sort();
    assert_eq!(times.len(), boots);
    let accelerator = host.cli(["host", "show", "--json"]).json()["accelerator"].clone();
    eprintln!(
        "{boots} cold boots, {AT_ONCE} at once beside {BUSY} busy loops, accelerator {accelerator}: all came up in {:.0?}; \
         one took {:.1?} to {:.1?}, half of them less than {:.1?}",
        began.elapsed(),
        times[0],
        times[boots - 1],
        times[boots / 2]
    );
}

/// Takes numbers from those that are left until there is none.
fn boot_in_turn(host: &Host, left: &AtomicUsize, times: &Mutex<Vec<Duration>>) {
    while let Ok(number) = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
        let began = Instant::now();
        let id = host.session(&format!("boot {number}"), &["sleep", "1000000"]);
        times.lock().unwrap().push(began.elapsed());
        assert_eq!(host.exec(&id, &["echo", "up"]).text(), "up");
        let _ = host.cli(["rm", "--yes", &id]).text();
    }
}
