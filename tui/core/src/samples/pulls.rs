//! Pull requests, and their queue.

use super::{MINUTE, NOW, fleet, press, report};
use crate::{
    Report, State,
    pull::{Check, Pull, Review, Revision, Thread},
    report::HostReport,
};

/// A console that shows the queue of these pull requests.
pub(crate) fn review(size: (u16, u16)) -> State {
    let mut state = fleet(size);
    report(&mut state, Report::Host(super::host(0), HostReport::Queue(pulls())));
    press(&mut state, "R");
    state
}

fn pull(number: u64, title: &str, standing: &str, outcome: (&str, &str), blocked: &str) -> Pull {
    let head = format!("{number:x}b1c2d3e4f5a69788796a5b4c3d2e1f00112233");
    Pull {
        repository: "widgets".into(),
        number,
        title: title.into(),
        author: "fix-flaky-clock-test".into(),
        head_branch: "agent/fix-flaky-clock-test/work".into(),
        base_branch: "main".into(),
        head: head.clone(),
        revision: 1,
        state: "open".into(),
        standing: standing.into(),
        outcome: outcome.0.into(),
        outcome_text: outcome.1.into(),
        blocked: blocked.into(),
        merge_method: "squash".into(),
        created_at: NOW - number as i64 * 7 * MINUTE,
        updated_at: NOW - number as i64 * MINUTE,
        revisions: vec![Revision { number: 1, head, forced: false, at: NOW - number as i64 * 7 * MINUTE }],
        ..Pull::default()
    }
}

pub(crate) fn pulls() -> Vec<Pull> {
    let first =
        pull(12, "Fix the flaky clock test", "outdated", ("failed", "`integration` failed"), "`integration` failed");
    let check = |name: &str, state: &str, required, summary: &str| Check {
        name: name.into(),
        state: state.into(),
        required,
        summary: summary.into(),
    };
    vec![
        Pull {
            body: "The clock is read once now.\nSee the comment in clock.py.".into(),
            revision: 2,
            revisions: vec![
                Revision { number: 1, head: "0a1b2c3d4e5f60718293".into(), forced: false, at: NOW - 84 * MINUTE },
                Revision { number: 2, head: first.head.clone(), forced: true, at: NOW - 12 * MINUTE },
            ],
            checks: vec![
                check("integration", "failed", true, "2 of 40 failed"),
                check("lint", "passed", false, ""),
                check("unit", "passed", true, "312 passed"),
            ],
            reviews: vec![Review {
                who: "anna".into(),
                verdict: "request-changes".into(),
                revision: 1,
                body: "The empty file is not handled.".into(),
            }],
            threads: vec![Thread {
                id: 1,
                head: "0a1b2c3d4e5f60718293".into(),
                path: "src/clock.py".into(),
                line: 40,
                quote: "    now = time.time()".into(),
                revision: 1,
                comments: vec![
                    ("anna".into(), "Why not monotonic?".into()),
                    ("fix-flaky-clock-test".into(), "Because it is shown to people.".into()),
                ],
                ..Thread::default()
            }],
            ..first
        },
        pull(
            13,
            "Translate the docs",
            "waiting",
            ("pending", "1 of 2 checks passed"),
            "it is not approved (0 of 1 approvals)",
        ),
        pull(9, "Rename the widget module", "approved", ("passed", "checks passed"), ""),
        pull(8, "Add a dark mode", "changes-requested", ("none", "no checks"), "anna requested changes on revision 1"),
    ]
}
