//! The cold boot in parts: what the host took for each, and how the guest's own part went.

use tests::Host;

const BOOTS: usize = 5;

/// Boots a few times, one after the other, and prints the medians of every part.
pub(crate) fn measure() {
    let host = Host::start();
    host.boot_only();
    let mut parts: Vec<(String, Vec<u64>)> = Vec::new();
    for number in 0..BOOTS {
        let id = host.session(&format!("cold {number}"), &["sleep", "1000000"]);
        let session = host.show(&id);
        for phase in session["phases"].as_array().expect("show --json has phases") {
            let name = phase["name"].as_str().unwrap();
            let micros = phase["micros"].as_u64().unwrap();
            match parts.iter_mut().find(|(known, _)| known == name) {
                Some((_, times)) => times.push(micros),
                None => parts.push((name.into(), vec![micros])),
            }
        }
        let _ = host.cli(["rm", "--yes", &id]).text();
    }
    println!("cold boot in parts, median of {BOOTS}");
    let medians: Vec<(String, u64)> = parts.into_iter().map(|(name, times)| (name, median(times))).collect();
    let all: u64 = medians.iter().map(|(_, micros)| micros).sum();
    for (name, micros) in medians {
        println!("  {name:20} {:6} ms  {:3} %", micros / 1000, micros * 100 / all.max(1));
    }
    println!("  {:20} {:6} ms\n", "together", all / 1000);
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times[times.len() / 2]
}
