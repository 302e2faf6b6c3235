//! What an agent's program and its hooks report, on its way to the core.
//!
//! A program may report as often as it likes: what is looked at is the state of its records at that moment, no more often than
//! the pace below says, so that a flood costs a few commits a second.

use std::{ops::ControlFlow, time::Duration};

use hostd_core::{
    Input,
    profile::is_conversation,
    reports::{Report, Seen, Source, State, of_terminal},
};
use tokio::time::{Instant, sleep_until};

use super::Supervisor;
use crate::clock::now;

/// Least time between two looks.
const PACE: Duration = Duration::from_millis(200);
/// Least time between two reports that say the same state, with other words.
const WORDS: Duration = Duration::from_secs(2);

/// When reports are looked at next.
#[derive(Default)]
pub(super) struct Pace {
    /// When there is something to be looked at; None: nothing has changed.
    due: Option<Instant>,
    /// When the last look was.
    last: Option<Instant>,
    /// When words alone were last passed on.
    worded: Option<Instant>,
    /// Number of times that the program had begun to work, by its own reports, when that was last looked at.
    begun: u64,
}

impl Pace {
    /// There is something new. Whether it is looked at now; else it is when the pace allows.
    pub(super) fn news(&mut self) -> bool {
        let now = Instant::now();
        let free = self.last.map_or(now, |last| last + PACE);
        self.due = Some(self.due.map_or(free, |due| due.min(free)));
        self.due.is_some_and(|due| due <= now)
    }

    /// Until it is time to look.
    pub(super) async fn due(at: Option<Instant>) {
        match at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due
    }

    /// There is something to be looked at after this time, whatever happens until then.
    pub(super) fn again(&mut self, after: Duration) {
        let at = Instant::now() + after;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// The next look passes on all that is news.
    pub(super) fn hurry(&mut self) {
        self.worded = None;
    }

    fn begin(&mut self) -> Instant {
        let now = Instant::now();
        (self.due, self.last) = (None, Some(now));
        now
    }

    /// Whether a report may be passed on now; else it is looked at again when it may.
    fn admits(&mut self, known: Option<&Report>, new: Option<&Report>, now: Instant) -> bool {
        let same =
            |(known, new): (&Report, &Report)| (known.state, &known.id, known.asked) == (new.state, &new.id, new.asked);
        let same = known.zip(new).is_some_and(same);
        if !same {
            return true;
        }
        let free = self.worded.map_or(now, |last| last + WORDS);
        if free > now {
            self.due = Some(self.due.map_or(free, |due| due.min(free)));
            return false;
        }
        self.worded = Some(now);
        true
    }
}

impl Supervisor {
    /// Something may have been reported.
    pub(super) async fn reports_changed(&mut self) -> ControlFlow<()> {
        if self.pace.news() { self.look_at_reports().await } else { ControlFlow::Continue(()) }
    }

    /// Tells the core what is reported now, where that is something else than it knows.
    pub(super) async fn look_at_reports(&mut self) -> ControlFlow<()> {
        let began = self.pace.begin();
        // Records below the one that speaks are shown, and not kept.
        self.ctx.feed.session(self.handle.view());
        // It may be why a turn has ended.
        self.look_at_refusal(began).await?;
        self.look_at_program(began).await?;
        let shown = self.of_terminal();
        self.pass_on(Source::Terminal, shown, began, 0).await?;
        // It stays there until it is committed.
        let hook = self.handle.hooks.borrow().clone();
        if let Some(hook) = hook {
            let ours = hook.generation == self.session().generation;
            if ours {
                self.keep_conversation(&hook.conversation).await;
            }
            if !ours || self.pass_on(Source::Hook, Some(hook.said.clone()), began, hook.sequence).await? {
                self.handle.hooks.send_if_modified(|slot| {
                    slot.take_if(|newest| *newest == hook);
                    false
                });
            }
        }
        self.look_at_typed().await
    }

    /// Tells the core what the program reports. One that has worked since the last look, and rests again, has had a turn all the same.
    async fn look_at_program(&mut self, began: Instant) -> ControlFlow<()> {
        let records = self.handle.terminal.status();
        let program = Report::of_records(&records, now());
        let again = records.begun() > std::mem::replace(&mut self.pace.begun, records.begun());
        let rests = |report: &Report| report.state.is_at_rest();
        let known = self.session().reports.program.as_ref().is_some_and(rests);
        if again && known && program.as_ref().is_some_and(rests) {
            self.pass_on(Source::Program, Some(Report::new(State::Working, now())), began, 0).await?;
        }
        self.pass_on(Source::Program, program, began, 0).await?;
        ControlFlow::Continue(())
    }

    /// Tells the core what its model's API has refused, and what was typed since.
    pub(super) async fn look_at_refusal(&mut self, began: Instant) -> ControlFlow<()> {
        let refusal = self.refusal.borrow().clone();
        self.pass_on(Source::Gateway, refusal, began, 0).await?;
        self.look_at_typed().await
    }

    async fn look_at_typed(&mut self) -> ControlFlow<()> {
        let session = self.session();
        match self.handle.terminal.answered() {
            Some((at, entered)) if session.reports.are_answered(at, entered) => {
                self.report(Input::Answered { generation: session.generation, at, entered }).await
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Supervisor {
    /// What the terminal shows, by the marks of the agent's profile where it has one.
    fn of_terminal(&mut self) -> Option<Report> {
        let (agent, now) = (self.machine().agent, now());
        let (title, progress, progress_at) = {
            let signs = self.handle.terminal.signs();
            let signs = signs.borrow();
            (signs.title.clone(), signs.progress, signs.progress_at)
        };
        // Before the row: what is asked once a line was entered is not taken for what was asked before.
        let entered_at = self.handle.terminal.answered().filter(|(_, entered)| *entered).map_or(0, |(at, _)| at);
        let row = if self.reads_rows() { self.handle.terminal.look().map(|look| look.row) } else { None };
        let row = row.map(|(before, after)| before + &after).unwrap_or_default();
        let seen = Seen { title, row, progress, progress_at, entered_at };
        if let Some(left) = seen.progress_ends().map(|end| end.saturating_sub(now)).filter(|left| *left > 0) {
            self.pace.again(Duration::from_millis(left.unsigned_abs()));
        }
        of_terminal(agent.as_ref().map(|agent| &agent.profile), &seen, now)
    }

    /// Whether any output may be a report, since the agent's profile has patterns.
    pub(super) fn reads_rows(&self) -> bool {
        self.handle.record.borrow().machine.agent.as_ref().is_some_and(|agent| !agent.profile.patterns.is_empty())
    }

    /// Keeps which conversation the agent has, so that it goes on with that one when the session is restarted.
    async fn keep_conversation(&mut self, id: &str) {
        let mut machine = self.machine();
        let Some(agent) = machine.agent.as_mut().filter(|agent| agent.conversation != id && is_conversation(id)) else {
            return;
        };
        id.clone_into(&mut agent.conversation);
        if let Err(error) = self.keep(machine).await {
            tracing::warn!(slug = self.handle.slug, %error, "the agent's conversation is not kept");
        }
    }

    /// Passes a report on, where it is news. With it all of the guest's events up to the number `heard` are. False: it is to wait.
    async fn pass_on(
        &mut self,
        source: Source,
        report: Option<Report>,
        now: Instant,
        heard: u64,
    ) -> ControlFlow<(), bool> {
        let session = self.session();
        let known = session.reports.of(source);
        let news = match (known, &report) {
            (Some(known), Some(report)) => !report.repeats(source, known),
            (known, report) => known.is_some() || report.is_some(),
        };
        if !session.lifecycle.has_vm() || !news {
            return ControlFlow::Continue(true);
        }
        if !self.pace.admits(known, report.as_ref(), now) {
            return ControlFlow::Continue(false);
        }
        let generation = session.generation;
        let mut machine = self.machine();
        machine.heard = machine.heard.max(heard);
        self.report_with(Input::Reported { generation, source, report: report.map(Box::new) }, machine).await?;
        ControlFlow::Continue(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_news_is_looked_at_a_few_times_a_second() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let mut looks = 0;
        while Instant::now() - began < Duration::from_secs(10) {
            if pace.news() {
                pace.begin();
                looks += 1;
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!((40..=60).contains(&looks), "{looks}");
        assert!(pace.next().is_some(), "the last of it is looked at in time");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_by_itself_is_looked_at_then_and_news_before() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        pace.begin();
        pace.again(Duration::from_secs(60));
        assert_eq!(pace.next(), Some(began + Duration::from_secs(60)));
        assert!(!pace.news());
        assert_eq!(pace.next(), Some(began + PACE));
    }

    #[tokio::test(start_paused = true)]
    async fn words_alone_wait_for_longer_than_states() {
        let mut pace = Pace::default();
        let report = |state, text: &str| Report { text: text.into(), ..Report::new(state, 1) };
        let (a, b) = (report(State::Working, "a"), report(State::Working, "b"));
        let now = pace.begin();
        assert!(pace.admits(None, Some(&a), now) && pace.admits(Some(&a), Some(&b), now));
        assert!(!pace.admits(Some(&b), Some(&a), now));
        assert_eq!(pace.next(), Some(now + WORDS));
        assert!(pace.admits(Some(&b), Some(&report(State::Idle, "")), now) && pace.admits(Some(&b), None, now));
        assert!(pace.admits(Some(&b), Some(&a), now + WORDS));
    }
}
