//! The report as lines on a terminal.

use std::fmt::Write as _;

use super::{Report, check::Status};

/// A line for each check with what to do below it, the steps of the circle, and a last line that sums it up.
pub(super) fn of(report: &Report, colour: bool) -> String {
    let width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in &report.checks {
        let word = painted(check.status, colour);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{word} {:width$}  {}", check.name, check.found);
        for line in check.advice.lines() {
            let _ = writeln!(text, "{:8} {:width$}  → {line}", "", "");
        }
        let steps =
            report.circle.iter().flat_map(|circle| &circle.steps).filter(|_| check.name == super::snapshots::NAME);
        for step in steps {
            let bytes = step.bytes.map(|bytes| format!("{:>10} on disk", size(bytes))).unwrap_or_default();
            let line = format!("{:8} {:width$}    {:10} {:>6} ms {bytes}", "", "", step.name, step.took.as_millis());
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text.push_str(match report.status {
        Status::Ok => "\nAll is well.\n",
        Status::Warning => "\nSessions can run here; see the warnings.\n",
        Status::Failed => "\nSessions cannot run here as it is; see what failed.\n",
    });
    text
}

fn painted(status: Status, colour: bool) -> String {
    let code = match status {
        Status::Ok => "32",
        Status::Warning => "33",
        Status::Failed => "1;31",
    };
    let word = format!("{:8}", status.word());
    if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word }
}

/// A number of bytes in words for people.
pub(super) fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // one decimal is shown
    let of = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..0x400 => format!("{bytes} B"),
        0x400..0x10_0000 => format!("{:.0} KiB", of(1 << 10)),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", of(1 << 20)),
        _ => format!("{:.1} GiB", of(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        doctor::{Check, snapshots::NAME},
        selftest::{Circle, Step},
        vm::qemu::Confinement,
    };

    fn report() -> Report {
        let confinement = Confinement { seccomp: true, no_new_privileges: true, user: 0 };
        let took = Duration::from_micros(12_345);
        let steps = vec![
            Step { name: "cold boot", took: Duration::from_millis(3210), bytes: None },
            Step { name: "suspend", took, bytes: Some(1_900_000) },
        ];
        Report {
            status: Status::Failed,
            checks: vec![
                Check::ok(NAME, "goes round"),
                Check::warning("jail", "thin", "do this\nor that"),
                Check::failed("git", "was not found", "install it"),
            ],
            circle: Some(Circle { steps, confinement }),
        }
    }

    #[test]
    fn says_what_is_and_what_to_do() {
        let want = "\
ok       snapshots  goes round
                      cold boot    3210 ms
                      suspend        12 ms    1.8 MiB on disk
warning  jail       thin
                    → do this
                    → or that
failed   git        was not found
                    → install it

Sessions cannot run here as it is; see what failed.
";
        assert_eq!(report().table(false), want);
        assert!(report().table(true).contains("\x1b[1;31mfailed  \x1b[0m git"));
    }

    #[test]
    fn scripts_get_the_same() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["status"], "failed");
        assert_eq!(json["checks"][1]["advice"], "do this\nor that");
        assert_eq!(
            json["circle"]["steps"][1],
            serde_json::json!({"name": "suspend", "micros": 12_345, "bytes": 1_900_000})
        );
    }
}
