//! Looking at changes.

use crate::{
    Effect, State,
    diff::{DiffReport, DiffView, Reading, Subject},
    layout::DiffLayout,
    notice::Kind,
    pull::PullKey,
    state::View,
    ticket::Slot,
};

impl State {
    /// Opens the changes of the selected session or pull request.
    pub(crate) fn open_diff(&mut self) {
        let subject = match self.view {
            View::Review => self.need_pull().map(|(key, _)| Subject::Pull(key)),
            _ => self.need_session().map(|(key, _)| Subject::Session(key)),
        };
        let Some(subject) = subject else { return };
        self.look_at(subject);
    }

    fn look_at(&mut self, subject: Subject) {
        let ticket = self.ticket(Slot::Diff);
        self.whole = None;
        self.diff = Some(DiffView::new(subject.clone(), ticket));
        self.out.push(Effect::OpenDiff { ticket, subject: subject.clone() });
        if let Some(key) = subject.pull().cloned() {
            self.read_pull(key);
        }
    }

    /// Opens what the newest revision changes since the one that was shown.
    pub(crate) fn show_newer(&mut self, pull: PullKey, old: String) {
        let Some(new) = self.fleet.pull(&pull).map(|pull| pull.head.clone()) else { return };
        self.dialog = None;
        self.look_at(Subject::Between { pull, old, new });
    }

    /// Opens the same, of the pull request that is looked at or selected.
    pub(crate) fn show_changes_since(&mut self) {
        let key = match &self.diff {
            Some(diff) => diff.subject.pull().cloned(),
            None => self.need_pull().map(|(key, _)| key),
        };
        let Some(key) = key else { return };
        let shown = self.diff.as_ref().map(|diff| &diff.commit).filter(|commit| !commit.is_empty());
        let old = shown.or(self.seen.get(&key)).cloned();
        match (old, self.fleet.pull(&key)) {
            (Some(old), Some(pull)) if pull.head != old => self.show_newer(key, old),
            _ => self.notice(Kind::Info, "There is no newer revision than the one that you have seen"),
        }
    }

    /// Number of a newer revision than the one that is looked at; None: there is none.
    #[must_use]
    pub fn newer_revision(&self) -> Option<u32> {
        let diff = self.diff.as_ref().filter(|diff| !diff.commit.is_empty())?;
        let pull = self.fleet.pull(diff.subject.pull()?)?;
        (pull.head != diff.commit).then_some(pull.revision)
    }

    pub(crate) fn diff_report(&mut self, report: DiffReport) {
        let Some(diff) = &mut self.diff else { return };
        if diff.report(report) {
            self.out.push(Effect::Close(Slot::Diff));
        }
        if let (Some(key), Reading::Done, false) = (diff.subject.pull(), &diff.reading, diff.commit.is_empty()) {
            self.seen.insert(key.clone(), diff.commit.clone());
        }
    }

    /// Places threads and drafts below the lines that they are about.
    pub(crate) fn settle_diff(&mut self) {
        let Some(diff) = &mut self.diff else { return };
        let Some(key) = diff.subject.pull().cloned() else { return };
        let whole = self.whole.as_ref().filter(|(of, _)| *of == key).map(|(_, pull)| pull);
        let threads = whole.or(self.fleet.pull(&key)).map_or(&[][..], |pull| &pull.threads);
        let draft = self.drafts.get(&key);
        diff.set_notes(threads, draft);
        // Something was said since it was read.
        let now = self.fleet.pull(&key).map(|pull| pull.updated_at);
        if now.is_some() && now > whole.map(|pull| pull.updated_at) && self.reading_pull.is_none() {
            self.read_pull(key);
        }
    }

    pub(crate) fn close_diff(&mut self) {
        if self.diff.take().is_some() {
            self.out.push(Effect::Close(Slot::Diff));
        }
    }

    /// Columns and rows of the lines that are shown.
    pub(crate) fn diff_area(&self) -> (usize, usize) {
        let files = self.diff.as_ref().map_or(0, |diff| diff.files().len());
        DiffLayout::of(self.size, files).area()
    }

    pub(crate) fn scroll_diff(&mut self, by: isize) {
        let area = self.diff_area();
        self.diff.iter_mut().for_each(|diff| diff.step(by, area));
    }

    pub(crate) fn step_hunk(&mut self, forward: bool) {
        self.diff.iter_mut().for_each(|diff| diff.step_hunk(forward));
    }

    pub(crate) fn step_file(&mut self, by: isize) {
        self.diff.iter_mut().for_each(|diff| diff.step_file(by));
    }

    pub(crate) fn wrap_diff(&mut self) {
        let area = self.diff_area();
        if let Some(diff) = &mut self.diff {
            diff.window.wrapped = !diff.window.wrapped;
            diff.window.pan = 0;
            diff.show_cursor(area);
        }
    }

    pub(crate) fn pan_diff(&mut self, right: isize) {
        let columns = self.diff_area().0;
        match &mut self.diff {
            Some(diff) if diff.window.wrapped => {
                self.notice(Kind::Info, "Long lines go on in the next row; w shows each in a row of its own");
            }
            Some(diff) => diff.pan(right, columns),
            None => {}
        }
    }
}
