//! Looking at changes.

use crate::{
    Effect, State,
    diff::{DiffView, Subject},
    effect::Slot,
    layout::DiffLayout,
    state::View,
};

impl State {
    /// Of the selected session or pull request.
    pub(crate) fn open_diff(&mut self) {
        let subject = match self.view {
            View::Review => self.need_pull().map(|(key, _)| Subject::Pull(key)),
            _ => self.need_session().map(|(key, _)| Subject::Session(key)),
        };
        let Some(subject) = subject else { return };
        let ticket = self.ticket(Slot::Diff);
        self.diff = Some(DiffView::new(subject.clone(), ticket));
        self.out.push(Effect::OpenDiff { ticket, subject });
    }

    pub(crate) fn close_diff(&mut self) {
        if self.diff.take().is_some() {
            self.out.push(Effect::Close(Slot::Diff));
        }
    }

    pub(crate) fn diff_rows(&self) -> usize {
        let files = self.diff.as_ref().map_or(0, |diff| diff.files().len());
        DiffLayout::of(self.size, files).rows()
    }

    pub(crate) fn scroll_diff(&mut self, by: isize) {
        let rows = self.diff_rows();
        self.diff.iter_mut().for_each(|diff| diff.step(by, rows));
    }

    pub(crate) fn step_hunk(&mut self, forward: bool) {
        self.diff.iter_mut().for_each(|diff| diff.step_hunk(forward));
    }

    pub(crate) fn step_file(&mut self, by: isize) {
        self.diff.iter_mut().for_each(|diff| diff.step_file(by));
    }
}
