//! The sign that a command waits: what for, for how long already, and that it is alive. Only where people look, on a terminal.

use std::{
    io::{self, IsTerminal},
    pin::pin,
    time::Duration,
};

use pilothouse_proto::hostd::v1::Session;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{format::plain, output};

/// Time up to which a wait is not spoken of.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two pictures of the mark.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Pictures of the mark.
const PICTURES: [char; 4] = ['|', '/', '-', '\\'];

/// Whether there is anybody to see a line that moves.
pub(crate) fn is_seen() -> bool {
    io::stderr().is_terminal() && output::is_smart()
}

/// Waits for `work`; the words `what` stand on the terminal while it takes more than a second.
pub(crate) async fn shown<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !is_seen() {
        return work.await;
    }
    let done = told(what, work, output::draw_line).await;
    output::clear_line();
    done
}

/// What comes of `work`; while it takes more than a second, `tell` gets a line that says so, again and again.
pub(crate) async fn told<T>(what: &str, work: impl Future<Output = T>, tell: impl Fn(&str)) -> T {
    let mut work = pin!(work);
    let begun = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = ticks.tick() => {
                let elapsed = begun.elapsed();
                if elapsed >= PATIENCE {
                    tell(&sign(elapsed, what));
                }
            }
        }
    }
}

/// What a session is yet to do before it can be used, in words; None: nothing, or nothing that comes by itself.
pub(crate) fn before_it_runs(session: &Session) -> Option<String> {
    let what = match &*session.lifecycle {
        "queued" => "waits for a place to start",
        "starting" => "starts",
        "suspending" => "is put to disk, then resumed",
        "suspended" | "resuming" => "is being resumed",
        _ => return None,
    };
    Some(format!("{} {what}", plain(&session.slug)))
}

/// A line that says for how long `what` has gone on; its mark moves with time.
pub(crate) fn sign(elapsed: Duration, what: &str) -> String {
    let picture = elapsed.as_millis() / TICK.as_millis() % PICTURES.len() as u128;
    let picture = usize::try_from(picture).ok().and_then(|at| PICTURES.get(at)).unwrap_or(&PICTURES[0]);
    format!("{picture} {} s  {what}", elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_moves_and_the_seconds_count() {
        let at = |millis| sign(Duration::from_millis(millis), "starts");
        assert_eq!((at(1000), at(1250)), ("| 1 s  starts".into(), "/ 1 s  starts".into()));
        assert_eq!(at(61_999), "\\ 61 s  starts");
    }
}
