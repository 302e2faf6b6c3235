//! The end of the agent's process.

use super::{Activity, Effect, Session, deliver, how_it_ended};
use crate::{reports::Reports, signs::Sign, text};

/// Longest last line of an agent that ended badly that is kept, in bytes.
const LAST_LINE_MAX: usize = 256;

/// The agent's process ended.
pub(super) fn exited(s: &mut Session, code: i32, last: &str) -> Vec<Effect> {
    s.exited = Some(code);
    // Why its model answered it no more may be why it has ended.
    s.reports = Reports { gateway: s.reports.gateway.take(), ..Reports::default() };
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
