//! The end of the agent's process.

use super::{Activity, Effect, Session, deliver, how_it_ended};
use crate::{
    UnixMillis,
    reports::{Report, Reports},
    signs::Sign,
    text,
};

/// Longest last line of an agent that ended badly that is kept, in bytes.
const LAST_LINE_MAX: usize = 256;
/// Most milliseconds between the refusal of a limit that is over and the end of a program that ends because of it.
const SOON: UnixMillis = 60_000;

/// The agent's process ended.
pub(super) fn exited(s: &mut Session, code: i32, last: &str, now: UnixMillis) -> Vec<Effect> {
    s.exited = Some(code);
    s.reports = Reports { gateway: refusal(s, now).cloned(), ..Reports::default() };
    s.sign = Sign::Nothing;
    s.unread = false;
    if code == 0 {
        if !s.activity.is_over() {
            s.set_activity(Activity::Done, String::new());
        }
    } else if s.activity != Activity::Failed {
        let last = text::one_line(&text::clean(last, LAST_LINE_MAX));
        let said = if last.is_empty() { String::new() } else { format!(": {last}") };
        s.set_activity(Activity::Failed, format!("the agent {}{said}", how_it_ended(code)));
    }
    s.choices.clear();
    deliver::forget(s);
    vec![]
}

/// The refusal of its model's API that may be why the agent has ended: it came in its last turn and not long ago, or lasts still, and
/// nobody has typed since.
fn refusal(s: &Session, now: UnixMillis) -> Option<&Report> {
    let refusal = s.reports.refusal().filter(|_| s.reports.typed_at == 0)?;
    let lasts = refusal.until.is_some_and(|until| until > now) || now.saturating_sub(refusal.at) <= SOON;
    (s.reports.in_turn(refusal) && lasts).then_some(refusal)
}
